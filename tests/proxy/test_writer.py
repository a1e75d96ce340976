"""
Filling the entries of a cache, and going on with that, on real files.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred

from glance_cache.catalog import CHUNK_BYTES
from glance_cache.entry import EntryState
from glance_cache.errors import EntryBusy
from glance_cache.interfaces import ImageFacts
from glance_tx.streaming.digest import Digests
from glance_tx.streaming.errors import BodyTooShort
from glance_tx.streaming.growth import GrowingFile, WholeFile
from tests.doubles.pools import SteppedPool
from tests.proxy.folders import (
    DATA,
    IMAGE,
    OTHER,
    BadSectors,
    EntriesTestCase,
    SlowReader,
    World,
    body_bytes,
    facts_of,
    open_files,
)
from tests.streaming.files import drop_from_memory


class FillTests(EntriesTestCase):
    """
    Filling entries.
    """

    async def test_followers_read_the_growing_file(self) -> None:
        """A body of a fill has what is written, as far as its growth lets it, and reads on after the commit."""
        world = await self.started()
        writer = await world.store.begin(facts_of(DATA))
        growth = GrowingFile()
        follower = SlowReader(writer.open_body(0, len(DATA), growth))
        reading = Deferred.fromCoroutine(body_bytes(writer.open_body(3, len(DATA) - 3, growth)))
        await writer.append(DATA[:CHUNK_BYTES])
        growth.grow(writer.written)
        follower.take()
        self.assertTrue(DATA.startswith(follower.value()))
        await writer.append(DATA[CHUNK_BYTES:])
        self.assertTrue(await writer.commit())
        growth.grow(writer.written)
        self.assertEqual(await reading, DATA[3:])
        self.assertEqual(world.store.inventory()[0].users, 1)
        while not follower.ended.called:
            follower.take()
        self.assertEqual(follower.value(), DATA)
        self.assertEqual(world.store.inventory()[0].users, 0)

    def test_a_follower_far_behind(self) -> None:
        """What left the memory before a follower came to it is read in a thread, not in the reactor."""
        world = World(self.path, pool=SteppedPool())
        self.finish(world, world.start())
        writer = self.finish(world, world.store.begin(facts_of(DATA)))
        self.finish(world, writer.append(DATA))
        with world.data_path(facts_of(DATA)).open("rb") as file:
            drop_from_memory(self, file.fileno())
        follower = SlowReader(writer.open_body(0, len(DATA), WholeFile(len(DATA))))
        follower.take()
        self.assertEqual((follower.value(), world.pool.waiting), (b"", 1))
        while not follower.ended.called:
            world.pool.run_all()
            follower.take()
        self.assertEqual(follower.value(), DATA)
        self.finish(world, writer.abort())
        self.finish(world, world.stop())

    async def test_there_is_no_moment_between_fill_and_entry(self) -> None:
        """As soon as the commit is done the entry can be opened, and the writer gives no bodies any more."""
        world = await self.started()
        facts = facts_of(DATA)
        writer = await world.store.begin(facts)
        await writer.append(DATA)
        await writer.commit()
        with self.assertRaises(RuntimeError):
            writer.open_body(0, 1, GrowingFile())
        self.assertEqual(await world.read(facts), DATA)

    async def test_an_aborted_fill_leaves_nothing(self) -> None:
        """After an abort there are no files and no room is taken, once its followers have gone."""
        world = await self.started()
        writer = await world.store.begin(facts_of(DATA))
        await writer.append(DATA)
        growth = GrowingFile(len(DATA))
        body = writer.open_body(0, len(DATA), growth)
        await writer.abort()
        await writer.abort()
        await writer.suspend()
        self.assertEqual(world.file_names(), [])
        self.assertGreater(world.account.taken_bytes, len(DATA))
        self.assertEqual(await body_bytes(body), DATA)
        self.assertEqual(world.account.taken_bytes, 0)
        self.assertEqual(await world.read(await world.fill()), DATA)

    async def test_bytes_that_are_missing_keep_it_from_being_committed(self) -> None:
        """A fill that is short cannot be committed, and can be gone on with."""
        world = await self.started()
        writer = await world.store.begin(facts_of(DATA))
        await writer.append(DATA[:-1])
        with self.assertRaises(BodyTooShort):
            await writer.commit()
        await writer.append(DATA[-1:])
        self.assertTrue(await writer.commit())

    async def test_one_writer_at_a_time(self) -> None:
        """An image that is being filled, or complete, cannot be filled; other images can."""
        world = await self.started()
        facts = facts_of(DATA)
        writer = await world.store.begin(facts)
        other = await world.store.begin(facts_of(DATA, OTHER))
        with self.assertRaises(EntryBusy):
            await world.store.begin(facts)
        await writer.append(DATA)
        await writer.commit()
        with self.assertRaises(EntryBusy):
            await world.store.begin(facts)
        await other.abort()

    def test_two_that_begin_at_once(self) -> None:
        """Of two fills of one image that begin at the same time one is refused."""
        world = World(self.path, pool=SteppedPool())
        self.finish(world, world.start())
        first, second = (Deferred.fromCoroutine(world.store.begin(facts_of(DATA))) for _ in range(2))
        self.failureResultOf(second, EntryBusy)
        world.pool.run_all()
        self.finish(world, self.successResultOf(first).abort())
        self.finish(world, world.stop())

    def test_a_fill_that_is_given_up_while_it_begins(self) -> None:
        """A cancelled beginning leaves nothing behind, whichever step it was at."""
        world = World(self.path, pool=SteppedPool())
        self.finish(world, world.start())
        before = open_files(self.path)
        steps = 0
        while True:
            beginning = Deferred.fromCoroutine(world.store.begin(facts_of(DATA)))
            for _ in range(steps):
                world.pool.step()
            if beginning.called:
                self.finish(world, self.successResultOf(beginning).abort())
                break
            beginning.cancel()
            self.failureResultOf(beginning, CancelledError)
            world.pool.run_all()
            self.assertEqual(open_files(self.path), before)
            self.assertEqual((world.file_names(), world.account.taken_bytes), ([], 0))
            steps += 1
        self.assertGreater(steps, 2)
        self.finish(world, world.stop())

    async def test_what_was_just_written_is_not_read_again(self) -> None:
        """The chunks of a new entry count as found right: readers get them without another look."""
        world = await self.started(BadSectors())
        self.assertEqual(await world.read(await world.fill()), DATA)

    def test_an_image_that_is_removed_during_the_commit(self) -> None:
        """A removal that comes while the entry is being published wins."""
        world = World(self.path, pool=SteppedPool())
        self.finish(world, world.start())
        writer = self.finish(world, world.store.begin(facts_of(DATA)))
        self.finish(world, writer.append(DATA))
        committing = Deferred.fromCoroutine(writer.commit())
        self.assertEqual(self.finish(world, world.store.remove(IMAGE)), 1)
        self.assertFalse(self.successResultOf(committing))
        self.assertEqual((world.file_names(), world.store.inventory(), world.account.taken_bytes), ([], [], 0))
        self.finish(world, world.stop())

    def test_a_commit_goes_on_without_its_fill(self) -> None:
        """A commit whose fill is cancelled comes to its end; ending the writer once more does no harm."""
        world = World(self.path, pool=SteppedPool())
        self.finish(world, world.start())
        writer = self.finish(world, world.store.begin(facts_of(DATA)))
        self.finish(world, writer.append(DATA))
        committing = Deferred.fromCoroutine(writer.commit())
        committing.cancel()
        self.failureResultOf(committing, CancelledError)
        self.successResultOf(Deferred.fromCoroutine(writer.suspend()))
        self.successResultOf(Deferred.fromCoroutine(writer.abort()))
        world.pool.run_all()
        self.assertEqual([info.state for info in world.store.inventory()], [EntryState.COMPLETE])
        self.finish(world, world.stop())

    async def test_an_image_needs_data(self) -> None:
        """There is nothing to fill where there is no data."""
        world = await self.started()
        with self.assertRaises(ValueError):
            await world.store.begin(ImageFacts(IMAGE, 0))


class ResumeTests(EntriesTestCase):
    """
    Going on with a fill.
    """

    async def test_a_fill_goes_on_where_it_stopped(self) -> None:
        """What an earlier daemon wrote is taken over by whole chunks, and given to whoever hashes the image."""
        await self.left_behind(DATA[: CHUNK_BYTES * 2 + 5])
        world = await self.started()
        self.assertEqual(
            [(info.state, info.present_bytes) for info in world.store.inventory()],
            [(EntryState.PARTIAL, CHUNK_BYTES * 2)],
        )
        facts = facts_of(DATA)
        digests = Digests(world.lanes, ["sha512"])
        writer = await world.store.begin(facts, [digests.update])
        self.assertEqual(writer.written, CHUNK_BYTES * 2)
        rest = DATA[writer.written :]
        await digests.update(rest)
        await writer.append(rest)
        self.assertEqual(digests.hexdigests()["sha512"], facts.os_hash_value)
        await writer.commit()
        self.assertEqual(await world.read(facts), DATA)
        self.assert_tidy(world)

    async def test_in_the_same_daemon(self) -> None:
        """A fill that was suspended can go on at once; nothing of it is kept before its first whole chunk."""
        world = await self.started()
        for count, written in ((5, 0), (CHUNK_BYTES, CHUNK_BYTES), (CHUNK_BYTES + 9, CHUNK_BYTES)):
            writer = await world.store.begin(facts_of(DATA))
            await writer.append(DATA[writer.written : count])
            await writer.suspend()
            self.assertEqual([info.present_bytes for info in world.store.inventory()], [written] if written else [])
            self.assert_tidy(world)
        self.assertEqual(await world.read(await world.fill()), DATA)

    async def test_bad_chunks_are_not_taken_over(self) -> None:
        """What was damaged since, and all after it, is to be fetched anew."""
        await self.left_behind(DATA[: CHUNK_BYTES * 2])
        world = await self.started()
        world.overwrite(facts_of(DATA), CHUNK_BYTES + 4096)
        seen: list[bytes] = []

        async def see(data: bytes) -> None:
            seen.append(data)

        writer = await world.store.begin(facts_of(DATA), [see])
        self.assertEqual((b"".join(seen), writer.written), (DATA[:CHUNK_BYTES], CHUNK_BYTES))
        await writer.append(DATA[CHUNK_BYTES:])
        await writer.commit()
        self.assertEqual(await world.read(facts_of(DATA)), DATA)

    async def test_a_damaged_header_begins_anew(self) -> None:
        """A fill whose catalog cannot be read any more begins at the first byte."""
        await self.left_behind(DATA[: CHUNK_BYTES * 2])
        world = await self.started()
        (part,) = world.paths("*.part")
        with part.open("r+b") as file:
            file.write(b"\0\0\0")
        writer = await world.store.begin(facts_of(DATA))
        self.assertEqual(writer.written, 0)
        await writer.append(DATA)
        await writer.commit()
        self.assertEqual(await world.read(facts_of(DATA)), DATA)
        self.assert_tidy(world)

    async def test_a_sink_that_fails(self) -> None:
        """Where what is taken over cannot be hashed, the fill does not begin, and is kept for later."""
        await self.left_behind(DATA[: CHUNK_BYTES * 2])
        world = await self.started()

        async def fail(_: bytes) -> None:
            raise ZeroDivisionError

        with self.assertRaises(ZeroDivisionError):
            await world.store.begin(facts_of(DATA), [fail])
        self.assertEqual([info.state for info in world.store.inventory()], [EntryState.PARTIAL])
