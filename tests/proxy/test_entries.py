"""
The entries of a cache: filled, read, found again and removed, on real files.
"""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from glance_cache.catalog import CHUNK_BYTES
from glance_cache.entries import EntryStore
from glance_cache.entry import EntryInfo, EntryState
from glance_cache.errors import FolderUnusable
from glance_cache.eviction import LeastFrequentlyUsed
from glance_cache.files import FileOps
from glance_cache.folder import CacheFolder
from glance_cache.interfaces import ImageFacts
from glance_cache.keptopen import KEEP_SECONDS
from glance_cache.names import EntryName
from glance_cache.space import SpaceAccount
from glance_tx.streaming.growth import GrowingFile
from glance_tx.streaming.interfaces import IFileBody
from glance_tx.streaming.lanes import Lanes
from glance_tx.streaming.units import GiB
from tests.doubles.pools import SteppedPool
from tests.proxy.folders import (
    DATA,
    IMAGE,
    OTHER,
    EntriesTestCase,
    SlowReader,
    UnsyncedFiles,
    World,
    absolute,
    body_bytes,
    facts_of,
    open_files,
)


class ReadTests(EntriesTestCase):
    """
    Reading complete entries.
    """

    async def test_what_was_filled_is_read(self) -> None:
        """A reader gets what a fill wrote, whole or any range of it, by an `IFileBody`."""
        world = await self.started()
        facts = await world.fill()
        self.assertEqual(await world.read(facts), DATA)
        for begin, end in ((0, 1), (5, CHUNK_BYTES + 5), (CHUNK_BYTES, 2 * CHUNK_BYTES), (len(DATA) - 1, len(DATA))):
            self.assertEqual(await world.read(facts, begin, end - begin), DATA[begin:end])
        self.assertEqual(await world.read(facts, 7), DATA[7:])
        body = await world.store.open(facts)
        assert body is not None
        verifyObject(IFileBody, body)
        body.close()
        body.close()
        self.assert_tidy(world)

    async def test_what_is_not_there_is_not_read(self) -> None:
        """There is no body of an image that was never filled, of other data, or of a fill under way."""
        world = await self.started()
        await world.fill()
        self.assertIsNone(await world.store.open(facts_of(DATA, OTHER)))
        self.assertIsNone(await world.store.open(facts_of(b"other")))
        writer = await world.store.begin(facts_of(DATA, OTHER))
        self.assertIsNone(await world.store.open(facts_of(DATA, OTHER)))
        await writer.abort()

    async def test_the_same_data_is_not_shared(self) -> None:
        """Two images with the same data are two entries."""
        world = await self.started()
        await world.fill()
        await world.fill(image_id=OTHER)
        await world.store.remove(IMAGE)
        self.assertEqual(await world.read(facts_of(DATA, OTHER)), DATA)

    async def test_a_hash_that_only_begins_the_same_is_not_the_same(self) -> None:
        """An entry is not given out for data whose hash differs from it anywhere."""
        world = await self.started()
        facts = await world.fill()
        assert facts.os_hash_value is not None
        self.assertIsNone(await world.store.open(evolve(facts, os_hash_value=facts.os_hash_value[:-1] + "x")))

    async def test_a_range_that_cannot_be(self) -> None:
        """A range that is not in the data is a mistake."""
        world = await self.started()
        facts = await world.fill()
        for offset, length in ((-1, 1), (0, len(DATA) + 1), (len(DATA), 1), (5, -1)):
            with self.assertRaises(ValueError):
                await world.store.open(facts, offset, length)

    async def test_images_without_a_hash(self) -> None:
        """An image without any hash is kept by its length, and said to be unverified."""
        world = await self.started()
        facts = ImageFacts(IMAGE, len(DATA))
        writer = await world.store.begin(facts)
        await writer.append(DATA)
        await writer.commit()
        self.assertEqual(await world.read(facts), DATA)
        self.assertFalse(world.store.inventory()[0].verified)

    def test_a_reader_that_leaves_before_it_has_its_body(self) -> None:
        """A cancelled opening closes what it opened."""
        world = World(self.path, pool=SteppedPool())
        self.finish(world, world.start())
        facts = self.finish(world, world.fill())
        before = open_files(self.path)
        for steps in (0, 1):
            opening = Deferred.fromCoroutine(world.store.open(facts))
            for _ in range(steps):
                world.pool.step()
            opening.cancel()
            if not steps:
                self.failureResultOf(opening, CancelledError)
            else:
                body = self.successResultOf(opening)
                assert body is not None
                body.close()
            world.pool.run_all()
            self.assertEqual(world.store.inventory()[0].users, 0)
            world.clock.advance(KEEP_SECONDS)
            world.pool.run_all()
            self.assertEqual(open_files(self.path), before)
        self.finish(world, world.stop())

    async def test_too_many_open_files(self) -> None:
        """Where no file can be opened that is said, and the entry stays."""

        class Exhausted(UnsyncedFiles):
            exhausted = False

            def duplicate(self, descriptor: int) -> int:
                if self.exhausted:
                    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
                return super().duplicate(descriptor)

        files = Exhausted()
        world = await self.started(files)
        facts = await world.fill()
        files.exhausted = True
        with self.assertRaises(FolderUnusable):
            await world.store.open(facts)
        files.exhausted = False
        self.assertEqual(await world.read(facts), DATA)


class RestartTests(EntriesTestCase):
    """
    What a new daemon finds.
    """

    async def test_entries_are_served_before_the_scan(self) -> None:
        """A complete entry is found by its name alone; a fill waits until the folder is known."""
        world = World(self.path)
        await world.start()
        facts = await world.fill()
        await world.stop()
        world = World(self.path)
        await world.store.start()
        self.assertEqual(await world.read(facts), DATA)
        self.assertIsNone(await world.store.open(facts_of(DATA, OTHER)))
        beginning = Deferred.fromCoroutine(world.store.begin(facts_of(DATA, OTHER)))
        self.assertNoResult(beginning)
        await world.store.scan()
        await self.successResultOf(beginning).abort()
        self.assertEqual(await world.read(facts), DATA)
        self.assert_tidy(world)
        await world.stop()

    async def test_many_readers_leave_threads(self) -> None:
        """However many entries are being verified for their readers, other work finds a thread."""
        ids = [f"{number:08x}-d94f-49cd-a114-e12490b328d9" for number in range(12)]
        world = World(self.path)
        await world.start()
        for image_id in ids:
            await world.fill(b"data", image_id)
        await world.stop()
        world = World(self.path, pool=SteppedPool())
        self.finish(world, world.start())
        readers = []
        for image_id in ids:
            body = self.finish(world, world.store.open(facts_of(b"data", image_id)))
            assert body is not None
            readers.append(SlowReader(body))
        for reader in readers:
            reader.take()
        self.assertLess(world.pool.waiting, world.pool.max)
        world.pool.run_all()
        for reader in readers:
            reader.take()
            self.successResultOf(reader.ended)
        self.finish(world, world.stop())

    async def test_what_is_removed_before_the_scan_stays_removed(self) -> None:
        """An image that is deleted early is gone, and is not taken for there by the scan."""
        world = World(self.path)
        await world.start()
        await world.fill()
        await world.stop()
        world = World(self.path, pool=SteppedPool())
        self.finish(world, world.store.start())
        scanning = Deferred.fromCoroutine(world.store.scan())
        world.pool.step()
        self.assertEqual(self.finish(world, world.store.remove(IMAGE)), 1)
        self.successResultOf(scanning)
        self.assertEqual((world.file_names(), world.account.taken_bytes, world.store.inventory()), ([], 0, []))
        self.finish(world, world.stop())

    async def test_garbage_is_removed(self) -> None:
        """What cannot be used is removed by the scan, and takes no room."""
        world = World(self.path)
        await world.start()
        facts = await world.fill()
        await world.stop()
        world.paths("*.catalog")[0].unlink()
        world = await self.started()
        self.assertEqual((world.file_names(), world.account.taken_bytes), ([], 0))
        self.assertIsNone(await world.store.open(facts))

    async def test_a_folder_that_cannot_be_read(self) -> None:
        """Where the folder cannot be looked through, no fill begins; each is told why."""

        class Unlistable(UnsyncedFiles):
            def list(self, path: Path) -> object:  # type: ignore[override]
                raise OSError(errno.EIO, os.strerror(errno.EIO))

        world = World(self.path, Unlistable())
        await world.store.start()
        with self.assertRaises(FolderUnusable):
            await world.store.scan()
        with self.assertRaises(FolderUnusable):
            await world.store.begin(facts_of(DATA))
        self.assertIsNone(await world.store.open(facts_of(DATA)))
        await world.stop()

    async def test_a_folder_that_is_in_use(self) -> None:
        """A second daemon does not get the folder until the first one has stopped."""
        world = World(self.path)
        await world.start()
        with self.assertRaises(FolderUnusable):
            await World(self.path).start()
        await world.stop()
        await self.started()


class RemoveTests(EntriesTestCase):
    """
    Removing entries by image.
    """

    async def test_an_image_is_removed_with_all_its_data(self) -> None:
        """All entries of an image go, complete or not, and no other image's."""
        world = await self.started()
        await world.fill()
        await world.fill(DATA[:-1])
        writer = await world.store.begin(facts_of(DATA[:-2]))
        await writer.append(DATA[:CHUNK_BYTES])
        await writer.suspend()
        await world.fill(image_id=OTHER)
        self.assertEqual(await world.store.remove(IMAGE), 3)
        self.assertEqual(await world.store.remove(IMAGE), 0)
        self.assertEqual([info.image_id for info in world.store.inventory()], [OTHER])
        self.assertIsNone(await world.store.open(facts_of(DATA)))
        self.assert_tidy(world)

    async def test_readers_read_on(self) -> None:
        """Who reads a removed entry gets all of it; its room is free when the last of them has gone."""
        world = await self.started()
        facts = await world.fill()
        bodies = [await world.store.open(facts) for _ in range(2)]
        self.assertEqual(await world.store.remove(IMAGE), 1)
        self.assertEqual(world.file_names(), [])
        for body in bodies:
            self.assertGreater(world.account.used_bytes, len(DATA))
            assert body is not None
            self.assertEqual(await body_bytes(body), DATA)
        self.assertEqual(world.account.taken_bytes, 0)

    async def test_a_removed_image_can_come_back_at_once(self) -> None:
        """An image can be filled anew while readers still have its removed entry."""
        world = await self.started()
        facts = await world.fill()
        old = await world.store.open(facts)
        assert old is not None
        await world.store.remove(IMAGE)
        await world.fill()
        self.assertEqual(await world.read(facts), DATA)
        self.assertEqual(await body_bytes(old), DATA)
        self.assert_tidy(world)

    async def test_a_fill_finds_out_when_it_commits(self) -> None:
        """The entry of a fill can be removed: the fill is told, followers get everything, nothing is kept."""
        world = await self.started()
        writer = await world.store.begin(facts_of(DATA))
        await writer.append(DATA[:CHUNK_BYTES])
        self.assertTrue(writer.is_wanted)
        self.assertEqual(await world.store.remove(IMAGE), 1)
        self.assertFalse(writer.is_wanted)
        await writer.append(DATA[CHUNK_BYTES:])
        body = writer.open_body(0, len(DATA), GrowingFile(len(DATA)))
        successor = await world.store.begin(facts_of(DATA))
        self.assertFalse(await writer.commit())
        self.assertEqual(await body_bytes(body), DATA)
        await successor.append(DATA)
        self.assertTrue(await successor.commit())
        self.assertEqual(await world.read(facts_of(DATA)), DATA)
        self.assert_tidy(world)

    async def test_everything_is_removed(self) -> None:
        """The cache can be emptied."""
        world = await self.started()
        await world.fill()
        await world.fill(image_id=OTHER)
        self.assertEqual(await world.store.clear(), 2)
        self.assertEqual((world.file_names(), world.account.taken_bytes, world.store.inventory()), ([], 0, []))

    async def test_what_cannot_be_removed(self) -> None:
        """An entry whose files cannot be removed is not served any more, its room is not free, nothing replaces it."""

        class Sticky(UnsyncedFiles):
            def remove(self, path: Path) -> bool:
                if path.suffix == ".catalog" and path.exists():
                    raise OSError(errno.EROFS, os.strerror(errno.EROFS))
                return super().remove(path)

        world = await self.started(Sticky())
        facts = await world.fill()
        await world.store.remove(IMAGE)
        self.assertIsNone(await world.store.open(facts))
        with self.assertRaises(FolderUnusable):
            await world.store.begin(facts)
        self.assert_tidy(world)
        self.assertEqual(await world.read(await world.fill(image_id=OTHER)), DATA)

    async def test_what_could_not_be_removed_at_first(self) -> None:
        """Once the disk can be written again such an entry is removed, by the next fill of its image."""

        class Sticky(UnsyncedFiles):
            sticks = True

            def remove(self, path: Path) -> bool:
                if self.sticks and path.suffix == ".catalog" and path.exists():
                    raise OSError(errno.EROFS, os.strerror(errno.EROFS))
                return super().remove(path)

        files = Sticky()
        world = await self.started(files)
        await world.fill()
        await world.store.remove(IMAGE)
        files.sticks = False
        self.assertEqual(await world.read(await world.fill()), DATA)
        self.assert_tidy(world)


class InventoryTests(EntriesTestCase):
    """
    What can be told of entries.
    """

    async def test_what_there_is(self) -> None:
        """Each entry is listed with its size, how much of it is there, and when it was written."""
        world = await self.started()
        await world.fill()
        writer = await world.store.begin(facts_of(DATA, OTHER))
        await writer.append(DATA[:5])
        await world.store.pin(OTHER)
        complete = EntryInfo(
            key=EntryName.of(facts_of(DATA)).stem,
            image_id=IMAGE,
            size_bytes=len(DATA),
            present_bytes=len(DATA),
            state=EntryState.COMPLETE,
            verified=True,
            pinned=False,
            last_verified=world.clock.seconds(),
            last_modified=world.clock.seconds(),
            users=0,
            readers=0,
        )
        filling = evolve(
            complete,
            key=EntryName.of(facts_of(DATA, OTHER)).stem,
            image_id=OTHER,
            present_bytes=5,
            state=EntryState.FILLING,
            pinned=True,
            last_verified=None,
            users=1,
        )
        self.assertEqual(world.store.inventory(), [complete, filling])
        await writer.abort()

    async def test_it_survives_a_restart(self) -> None:
        """A new daemon lists what the one before had; when it was verified the scrub finds out."""
        world = World(self.path)
        await world.start()
        await world.fill()
        (before,) = world.store.inventory()
        await world.stop()
        world = await self.started()
        (after,) = world.store.inventory()
        self.assertApproximates(after.last_modified, before.last_modified, 60)
        self.assertEqual(after, evolve(before, last_modified=after.last_modified, last_verified=None))


class ThreadTests(TestCase):
    """
    The same with threads, as in a daemon.
    """

    async def test_many_readers_follow_a_fill_and_then_read_the_entry(self) -> None:
        """Eight readers of the growing file, and eight of the entry, get the data; so do those of a new daemon."""
        path = absolute(self.mktemp())
        pool = ThreadPool(2, 4)
        pool.start()
        self.addCleanup(pool.stop)
        lanes = Lanes(reactor, pool)  # type: ignore[arg-type]
        facts = facts_of(DATA)

        async def read_all(store: EntryStore, count: int) -> None:
            bodies = [await store.open(facts) for _ in range(count)]
            reading = [Deferred.fromCoroutine(body_bytes(body)) for body in bodies if body is not None]
            self.assertEqual(
                [hashlib.sha512(await data).hexdigest() for data in reading], [facts.os_hash_value] * count
            )

        store = self.store(path, lanes)
        await store.start()
        scanning = Deferred.fromCoroutine(store.scan())
        writer = await store.begin(facts)
        await scanning
        growth = GrowingFile()
        following = [Deferred.fromCoroutine(body_bytes(writer.open_body(0, len(DATA), growth))) for _ in range(8)]
        for offset in range(0, len(DATA), 100_000):
            await writer.append(DATA[offset : offset + 100_000])
            growth.grow(writer.written)
        await writer.commit()
        for follower in following:
            self.assertEqual(await follower, DATA)
        await read_all(store, 8)
        await store.stop()
        store = self.store(path, lanes)
        await store.start()
        await read_all(store, 8)
        await store.stop()
        self.assertEqual(open_files(path), [])

    def store(self, path: Path, lanes: Lanes) -> EntryStore:
        return EntryStore(
            CacheFolder(path, FileOps()),
            SpaceAccount(GiB),
            LeastFrequentlyUsed(),
            lanes,
            reactor,  # type: ignore[arg-type]
            lambda error: self.fail(str(error)),
        )
