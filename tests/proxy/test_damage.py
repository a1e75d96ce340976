"""
Damaged entries: no reader completes a wrong body, and the entry is given up.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from twisted.trial.unittest import TestCase

from glance_cache.catalog import CHUNK_BYTES, HEADER_BYTES, RECORD_BYTES
from glance_cache.errors import EntryChanged, EntryCorrupt
from tests.proxy.folders import DATA, IMAGE, BadSectors, SlowReader, UnsyncedFiles, World, facts_of, open_files

LAST = len(DATA) // CHUNK_BYTES


class DamageTests(TestCase):
    """
    What becomes of damage that somebody, or the disk, did.
    """

    def setUp(self) -> None:
        self.path = self.mktemp()
        self.addCleanup(lambda: self.assertEqual(open_files(self.path), []))

    async def filled(self) -> World:
        world = World(self.path)
        await world.start()
        await world.fill()
        return world

    async def restarted(self, world: World) -> World:
        await world.stop()
        world = World(self.path)
        await world.start()
        return world

    async def assert_given_up(self, world: World, chunk: int) -> None:
        """The entry is not there any more, was reported, and can be filled again."""
        self.assertEqual([(error.image_id, error.chunk) for error in world.corrupt], [(IMAGE, chunk)])
        self.assertEqual((world.file_names(), world.account.taken_bytes), ([], 0))
        self.assertEqual(await world.read(await world.fill()), DATA)
        await world.stop()

    async def test_four_overwritten_kilobytes(self) -> None:
        """4 KiB overwritten anywhere, in a running daemon's entry or before it started, reach no reader's end."""
        for restart in (False, True):
            for offset in (0, CHUNK_BYTES - 2048, CHUNK_BYTES, len(DATA) - 4096):
                self.path = self.mktemp()
                world = await self.filled()
                world.overwrite(facts_of(DATA), offset)
                if restart:
                    world = await self.restarted(world)
                with self.assertRaises(EntryCorrupt):
                    await world.read(facts_of(DATA))
                await self.assert_given_up(world, offset // CHUNK_BYTES)

    async def test_one_flipped_bit(self) -> None:
        """A single wrong bit is enough."""
        world = await self.filled()
        world.overwrite(facts_of(DATA), 12345, bytes([DATA[12345] ^ 1]))
        with self.assertRaises(EntryCorrupt):
            await world.read(facts_of(DATA))
        await self.assert_given_up(world, 0)

    async def test_ranges_beside_the_damage(self) -> None:
        """A range that does not touch the bad chunk is right and goes out; one that does, does not."""
        world = await self.filled()
        world.overwrite(facts_of(DATA), CHUNK_BYTES)
        self.assertEqual(await world.read(facts_of(DATA), 0, CHUNK_BYTES), DATA[:CHUNK_BYTES])
        self.assertEqual(await world.read(facts_of(DATA), 2 * CHUNK_BYTES), DATA[2 * CHUNK_BYTES :])
        with self.assertRaises(EntryCorrupt):
            await world.read(facts_of(DATA), CHUNK_BYTES - 1, 2)
        await self.assert_given_up(world, 1)

    async def test_a_reader_under_way(self) -> None:
        """A reader that was under way when the file changed never gets its end, whatever was changed."""
        for restart in (False, True):
            # The last one is the very byte that was there, so every chunk is still right.
            for offset, data in ((0, b"\0\xff"), (len(DATA) - 2, b"\0\xff"), (5, DATA[5:6])):
                self.path = self.mktemp()
                world = await self.filled()
                if restart:
                    world = await self.restarted(world)
                body = await world.store.open(facts_of(DATA))
                assert body is not None
                reader = SlowReader(body)
                reader.take()
                self.assertGreater(len(reader.value()), 0)
                world.overwrite(facts_of(DATA), offset, data)
                while not reader.ended.called:
                    reader.take()
                self.failureResultOf(reader.ended, EntryChanged)
                self.assertTrue(DATA.startswith(reader.value()))
                self.assertLessEqual(len(reader.value()), LAST * CHUNK_BYTES)
                await world.stop()

    async def test_a_change_that_leaves_the_data_right(self) -> None:
        """After a change that changed nothing the entry is read as before."""
        world = await self.filled()
        world.overwrite(facts_of(DATA), 5, DATA[5:6])
        self.assertEqual(await world.read(facts_of(DATA)), DATA)
        self.assertEqual(world.corrupt, [])
        await world.stop()

    async def test_the_file_s_time_is_settled_before_the_first_look(self) -> None:
        """Before a file is looked at for the first time its time is in the past, so that later changes show."""
        world = await self.restarted(await self.filled())
        path = world.data_path(facts_of(DATA))
        os.utime(path)
        written_at = path.stat().st_mtime
        self.assertEqual(await world.read(facts_of(DATA)), DATA)
        self.assertLess(path.stat().st_mtime, written_at - 2)
        await world.stop()

    async def test_readers_that_passed_go_on(self) -> None:
        """A reader that does not come to the damage is not disturbed when another one does."""
        world = await self.restarted(await self.filled())
        world.overwrite(facts_of(DATA), 0)
        body = await world.store.open(facts_of(DATA), CHUNK_BYTES)
        assert body is not None
        reader = SlowReader(body)
        reader.take()
        with self.assertRaises(EntryCorrupt):
            await world.read(facts_of(DATA))
        self.assertEqual(world.file_names(), [])
        while not reader.ended.called:
            reader.take()
        self.successResultOf(reader.ended)
        self.assertEqual(reader.value(), DATA[CHUNK_BYTES:])
        await self.assert_given_up(world, 0)

    async def test_everyone_who_waits_for_the_bad_chunk_is_reset(self) -> None:
        """All readers of a damaged entry are reset, and it is reported once."""
        world = await self.restarted(await self.filled())
        world.overwrite(facts_of(DATA), 2 * CHUNK_BYTES)
        bodies = [await world.store.open(facts_of(DATA)) for _ in range(4)]
        readers = [SlowReader(body) for body in bodies if body is not None]
        while not all(reader.ended.called for reader in readers):
            for reader in readers:
                if not reader.ended.called:
                    reader.take()
        for reader in readers:
            self.failureResultOf(reader.ended, EntryCorrupt)
            self.assertTrue(DATA.startswith(reader.value()))
        await self.assert_given_up(world, 2)

    async def test_an_entry_that_is_given_up_during_the_scan(self) -> None:
        """What the scan saw of an entry just before it was given up is not taken for there."""
        readers: list[SlowReader] = []

        class Interrupted(UnsyncedFiles):
            looked = False

            def list(self, path: Path) -> Iterator[os.DirEntry[str]]:
                yield from super().list(path)
                self.looked = path.parent.name == "entries"

            def close(self, *descriptors: int) -> None:
                super().close(*descriptors)
                looked, self.looked = self.looked, False  # the turn to look is over
                for reader in readers if looked else ():
                    while not reader.ended.called:
                        reader.take()

        await (await self.filled()).stop()
        world = World(self.path, Interrupted())
        await world.store.start()
        world.overwrite(facts_of(DATA), 0)
        body = await world.store.open(facts_of(DATA))
        assert body is not None
        readers.append(SlowReader(body))
        await world.store.scan()
        self.failureResultOf(readers[0].ended, EntryCorrupt)
        self.assertEqual(world.store.inventory(), [])
        await self.assert_given_up(world, 0)

    async def test_a_damaged_record(self) -> None:
        """A flipped bit in the record of a chunk is as bad as one in the chunk."""
        world = await self.restarted(await self.filled())
        self.change_catalog(world, HEADER_BYTES + RECORD_BYTES)
        with self.assertRaises(EntryCorrupt):
            await world.read(facts_of(DATA))
        await self.assert_given_up(world, 1)

    def change_catalog(self, world: World, offset: int) -> None:
        (catalog,) = world.paths("*.catalog")
        with catalog.open("r+b") as file:
            file.seek(offset)
            (byte,) = file.read(1)
            file.seek(offset)
            file.write(bytes([byte ^ 4]))

    async def assert_not_found(self, damage: Callable[[World], object], *, restart: bool) -> None:
        world = await self.filled()
        damage(world)
        if restart:
            world = await self.restarted(world)
        self.assertIsNone(await world.read(facts_of(DATA)))
        self.assertEqual((world.file_names(), world.account.taken_bytes), ([], 0))
        self.assertEqual(await world.read(await world.fill()), DATA)
        await world.stop()

    async def test_damage_that_shows_at_once(self) -> None:
        """An entry with a damaged header, without its files, or of the wrong length, is a miss from the start."""

        def truncate(world: World) -> None:
            os.truncate(world.data_path(facts_of(DATA)), CHUNK_BYTES)

        def shorten(world: World) -> None:
            os.truncate(world.data_path(facts_of(DATA)), len(DATA) - 1)

        def lengthen(world: World) -> None:
            os.truncate(world.data_path(facts_of(DATA)), len(DATA) + 1)

        def tear(world: World) -> None:
            os.truncate(world.paths("*.catalog")[0], HEADER_BYTES // 2)

        damages: list[Callable[[World], object]] = [
            truncate,
            shorten,
            lengthen,
            tear,
            lambda world: self.change_catalog(world, 50),
            lambda world: world.data_path(facts_of(DATA)).unlink(),
            lambda world: world.paths("*.catalog")[0].unlink(),
        ]
        for damage in damages:
            for restart in (False, True):
                self.path = self.mktemp()
                await self.assert_not_found(damage, restart=restart)

    async def test_a_file_cut_off_under_a_reader(self) -> None:
        """A reader whose file is truncated is reset."""
        world = await self.filled()
        body = await world.store.open(facts_of(DATA))
        assert body is not None
        reader = SlowReader(body)
        reader.take()
        os.truncate(world.data_path(facts_of(DATA)), CHUNK_BYTES // 2)
        while not reader.ended.called:
            reader.take()
        self.assertLess(len(reader.value()), len(DATA))
        self.assertIsNotNone(self.failureResultOf(reader.ended))
        await world.stop()

    async def test_a_catalog_cut_off_under_a_reader(self) -> None:
        """Chunks without a record any more are not let go."""
        world = await self.restarted(await self.filled())
        body = await world.store.open(facts_of(DATA))
        assert body is not None
        os.truncate(world.paths("*.catalog")[0], HEADER_BYTES + RECORD_BYTES)
        reader = SlowReader(body)
        while not reader.ended.called:
            reader.take()
        self.failureResultOf(reader.ended, EntryCorrupt)
        await self.assert_given_up(world, 1)

    async def test_a_disk_that_cannot_read(self) -> None:
        """A chunk that the disk cannot read is as bad as a wrong one."""
        world = await self.filled()
        await world.stop()
        world = World(self.path, BadSectors())
        await world.start()
        with self.assertRaises(EntryCorrupt):
            await world.read(facts_of(DATA))
        self.assertEqual([error.chunk for error in world.corrupt], [0])
        await world.stop()

    async def test_data_of_another_image_in_its_place(self) -> None:
        """Files that were copied over from another entry are not served as this one."""
        world = await self.filled()
        other = facts_of(bytes(len(DATA)))
        await world.fill(bytes(len(DATA)))
        world.data_path(other).rename(world.data_path(facts_of(DATA)))
        with self.assertRaises(EntryCorrupt):
            await world.read(facts_of(DATA))
        await world.stop()
