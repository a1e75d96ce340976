"""
Cached images are read anew, little by little, before anybody asks for them.
"""

from __future__ import annotations

import os

from twisted.internet.defer import Deferred

from glance_cache.catalog import CHUNK_BYTES
from glance_cache.entry import EntryState
from glance_cache.scrub import Scrubber
from tests.proxy.folders import DATA, IMAGE, OTHER, Chunks, EntriesTestCase, World, facts_of

FACTS = facts_of(DATA)
WEEK = 7 * 86400.0


class ScrubTests(EntriesTestCase):
    """
    A folder with two entries, and a scrub of a MiB a second.
    """

    async def filled(self, **options: Chunks) -> World:
        """A daemon that has just started on two entries."""
        world = World(self.path)
        await world.start()
        await world.fill()
        await world.fill(DATA, OTHER)
        await world.stop()
        return await self.begun(**options)

    async def begun(self, **options: Chunks) -> World:
        world = World(self.path, chunks=options.get("chunks"))
        await world.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(world.stop()))
        return world

    async def scrubber(self, world: World) -> Scrubber:
        scrubber = world.store.scrubber(CHUNK_BYTES, WEEK)
        await scrubber.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(scrubber.stop()))
        return scrubber

    def go_on(self, world: World, seconds: float, step: float = 0.5) -> None:
        world.clock.pump([step] * int(seconds / step))

    def last_verified(self, world: World) -> dict[str, float | None]:
        return {info.image_id: info.last_verified for info in world.store.inventory()}

    async def test_what_is_due(self) -> None:
        """Entries are read when they were not for a week, at the pace that was set, and again a week later."""
        world = await self.filled()
        scrubber = await self.scrubber(world)
        self.go_on(world, 120)
        self.assertEqual(scrubber.counts.size_bytes, 0)
        world.clock.advance(WEEK)
        due_at = world.clock.seconds()
        self.go_on(world, 2)
        self.assertLessEqual(scrubber.counts.size_bytes, 4 * CHUNK_BYTES)
        self.go_on(world, 120)
        self.assertEqual((scrubber.counts.size_bytes, scrubber.counts.entries), (2 * len(DATA), 2))
        for at in self.last_verified(world).values():
            assert at is not None
            self.assertGreaterEqual(at, due_at)
        self.assertEqual((scrubber.counts.wrong_chunks, world.corrupt), (0, []))
        world.clock.advance(WEEK)
        self.go_on(world, 120)
        self.assertEqual(scrubber.counts.entries, 4)

    async def test_a_restart(self) -> None:
        """What was verified is known to the next daemon, which does not begin anew; no entry counts as used by it."""
        world = await self.filled()
        scrubber = await self.scrubber(world)
        (catalog, _) = world.paths("*.catalog")
        os.utime(catalog, (5.0, 5.0))
        world.clock.advance(WEEK)
        self.go_on(world, 120)
        verified = self.last_verified(world)
        now = world.clock.seconds()
        await scrubber.stop()
        await world.stop()
        self.assertEqual(catalog.stat().st_mtime, 5.0)
        world = await self.begun()
        scrubber = await self.scrubber(world)
        world.clock.advance(now - world.clock.seconds())
        self.go_on(world, 120)
        self.assertEqual(scrubber.counts.size_bytes, 0)
        self.assertEqual(self.last_verified(world), {image: int(at or 0) for image, at in verified.items()})

    async def test_damage_is_found_and_repaired(self) -> None:
        """A chunk that went bad is found without a client, repaired, and right the next time."""
        chunks = Chunks(DATA)
        world = await self.filled(chunks=chunks)
        world.overwrite(FACTS, CHUNK_BYTES + 5)
        scrubber = await self.scrubber(world)
        world.clock.advance(WEEK)
        self.go_on(world, 120)
        self.assertEqual((scrubber.counts.wrong_chunks, chunks.asked), (1, [CHUNK_BYTES]))
        self.assertEqual([info.state for info in world.store.inventory()], [EntryState.COMPLETE] * 2)
        self.assertEqual(await world.read(FACTS), DATA)
        world.clock.advance(WEEK)
        self.go_on(world, 120)
        self.assertEqual((scrubber.counts.wrong_chunks, len(world.corrupt)), (1, 1))

    async def test_damage_that_cannot_be_repaired(self) -> None:
        """Where nothing can be fetched again the entry is removed, and the other one scrubbed all the same."""
        world = await self.filled()
        world.overwrite(FACTS, 5)
        scrubber = await self.scrubber(world)
        world.clock.advance(WEEK)
        self.go_on(world, 120)
        self.assertEqual([info.image_id for info in world.store.inventory()], [OTHER])
        self.assertEqual([error.image_id for error in world.corrupt], [IMAGE])
        self.assertEqual(scrubber.counts.entries, 1)
        self.assert_tidy(world)

    async def test_a_damaged_catalog(self) -> None:
        """An entry whose catalog tells nothing any more is removed."""
        world = await self.filled()
        catalog = world.data_path(FACTS).with_suffix(".catalog")
        catalog.write_bytes(bytes(catalog.stat().st_size))
        os.utime(world.data_path(FACTS), (5.0, 5.0))
        world = await self.begun_anew(world)
        await self.scrubber(world)
        self.go_on(world, 120)
        self.assertEqual([info.image_id for info in world.store.inventory()], [OTHER])
        self.assert_tidy(world)

    async def begun_anew(self, world: World) -> World:
        await world.stop()
        return await self.begun()

    async def test_one_process_does_it(self) -> None:
        """Of two that scrub one folder, one does; when it ends the other one takes over."""
        world = await self.filled()
        first = await self.scrubber(world)
        second = await self.scrubber(world)
        world.clock.advance(WEEK)
        self.go_on(world, 120)
        self.assertEqual((first.counts.entries, second.counts.entries), (2, 0))
        self.assertEqual((first.counts.running, second.counts.running), (True, False))
        await first.stop()
        world.clock.advance(WEEK)
        self.go_on(world, 120)
        self.assertEqual((first.counts.entries, second.counts.entries), (2, 2))

    async def test_an_eviction_is_not_kept_waiting(self) -> None:
        """Between two chunks an entry is as free to go as any other."""
        world = await self.filled()
        await self.scrubber(world)
        world.clock.advance(WEEK)
        self.go_on(world, 61)
        self.assertEqual(await world.store.remove(IMAGE), 1)
        self.assertEqual(await world.store.remove(OTHER), 1)
        self.go_on(world, 120)
        self.assertEqual((world.file_names(), world.corrupt), ([], []))
