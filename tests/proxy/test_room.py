"""
The cache keeps to its limit, and makes room by letting go of what is worth least.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from twisted.trial.unittest import TestCase

from glance_cache.catalog import CHUNK_BYTES
from glance_cache.content import footprint_bytes
from glance_cache.errors import CacheFull
from glance_cache.interfaces import HitTotals, ImageFacts
from tests.proxy.folders import UnsyncedFiles, World, body_bytes, facts_of, open_files

DATA = bytes(range(256)) * (CHUNK_BYTES // 512)
ROOM = footprint_bytes(len(DATA))


def image(number: int) -> str:
    return f"{number:08x}-d94f-49cd-a114-e12490b328d9"


class SmallDisk(UnsyncedFiles):
    """
    A disk with as much room as a test says.
    """

    def __init__(self) -> None:
        self.free = 2**40
        self.allocatable = 2**40

    def free_bytes(self, path: Path) -> int:
        return self.free

    def allocate(self, descriptor: int, size_bytes: int) -> None:
        if size_bytes > self.allocatable:
            # As the real call does: it may leave a part of what was asked for.
            super().allocate(descriptor, size_bytes // 2)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().allocate(descriptor, size_bytes)

    def write(self, descriptor: int, data: bytes | memoryview, offset: int) -> None:
        if self.free < len(data) and len(data) > 64:  # what is that small lies in blocks that are there
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().write(descriptor, data, offset)


class RoomTests(TestCase):
    """
    Making room for fills, in a cache with room for four entries.
    """

    def setUp(self) -> None:
        self.path = self.mktemp()
        self.disk = SmallDisk()
        self.addCleanup(lambda: self.assertEqual(open_files(self.path), []))

    async def started(self, room: int = 4 * ROOM, low_water_bytes: int | None = None) -> World:
        world = World(self.path, self.disk, room, low_water_bytes)
        await world.start()
        return world

    async def fill(self, world: World, *numbers: int) -> None:
        for number in numbers:
            world.clock.advance(1)
            await world.fill(DATA, image(number))
            self.assertLessEqual(world.account.taken_bytes, world.account.max_bytes)
            self.assertEqual(world.account.taken_bytes, world.disk_bytes())

    def there(self, world: World) -> list[int]:
        return sorted(int(info.image_id[:8], 16) for info in world.store.inventory())

    async def test_the_least_recently_used_goes(self) -> None:
        """A fill that does not fit takes the place of what was not used for longest, and no more than that."""
        world = await self.started()
        await self.fill(world, 1, 2, 3, 4)
        world.clock.advance(1)
        await world.read(facts_of(DATA, image(1)))
        await self.fill(world, 5)
        self.assertEqual(self.there(world), [1, 3, 4, 5])
        await world.stop()

    async def test_a_scan_leaves_what_is_used(self) -> None:
        """Many images that are asked for once take each other's room, and none of what is used more often."""
        world = await self.started()
        await self.fill(world, 1, 2, 3)
        for number in (1, 2, 3):
            world.clock.advance(1)
            await world.read(facts_of(DATA, image(number)))
        await self.fill(world, *range(10, 40))
        self.assertEqual(self.there(world), [1, 2, 3, 39])
        await world.stop()

    async def test_hits_of_before_count_after_a_restart(self) -> None:
        """What was served often before the restart stays, though others were used later."""
        world = await self.started()
        await self.fill(world, 1, 2, 3, 4)
        await world.stop()
        world = await self.started()
        world.store.refine({image(1): HitTotals(8, 8, 1.0), image(9): HitTotals(5, 5, 5.0)})
        await self.fill(world, 5, 6, 7, 8)
        self.assertEqual(self.there(world), [1, 6, 7, 8])
        await world.stop()

    async def test_the_order_survives_a_restart(self) -> None:
        """A new daemon knows in which order entries were used."""
        world = await self.started()
        await self.fill(world, 1, 2, 3, 4)
        await world.stop()
        for at, number in enumerate((3, 1, 4, 2)):
            (catalog,) = world.paths(f"{image(number)}*.catalog")
            os.utime(catalog, (at, at))
        world = await self.started()
        await self.fill(world, 5, 6)
        self.assertEqual(self.there(world), [2, 4, 5, 6])
        await world.stop()

    async def test_reading_counts_across_a_restart(self) -> None:
        """That an entry was read is known to the next daemon."""
        world = await self.started()
        await self.fill(world, 1, 2, 3, 4)
        await world.stop()
        for path in world.paths("*.catalog"):
            os.utime(path, (5, 5))
        world = await self.started()
        await world.read(facts_of(DATA, image(1)))
        await world.stop()
        world = await self.started()
        await self.fill(world, 5, 6, 7)
        self.assertEqual(self.there(world), [1, 5, 6, 7])
        await world.stop()

    async def test_counted_hits_refine_the_order(self) -> None:
        """Uses that were counted elsewhere keep an entry as if they were seen here."""
        world = await self.started()
        await self.fill(world, 1, 2, 3, 4)
        world.clock.advance(1)
        world.store.refine({image(1): HitTotals(1, 1, world.clock.seconds()), image(9): HitTotals()})
        await self.fill(world, 5)
        self.assertEqual(self.there(world), [1, 3, 4, 5])
        await world.stop()

    async def test_what_is_being_read_stays(self) -> None:
        """An entry is not evicted while anybody reads it, and can be as soon as nobody does."""
        world = await self.started()
        await self.fill(world, 1, 2, 3, 4)
        body = await world.store.open(facts_of(DATA, image(1)))
        assert body is not None
        await self.fill(world, 5, 6, 7, 8)
        self.assertEqual(self.there(world), [1, 6, 7, 8])
        self.assertEqual(await body_bytes(body), DATA)
        for number in (6, 7, 8):
            world.clock.advance(1)
            await world.read(facts_of(DATA, image(number)))
        await self.fill(world, 9)
        self.assertEqual(self.there(world), [6, 7, 8, 9])
        await world.stop()

    async def test_what_is_pinned_stays(self) -> None:
        """A pinned image is not evicted until it is unpinned, whenever it was pinned."""
        world = await self.started()
        await world.store.pin(image(2))
        await self.fill(world, 1, 2, 3, 4)
        await self.fill(world, 5, 6, 7, 8)
        self.assertEqual(self.there(world), [2, 6, 7, 8])
        await world.store.unpin(image(2))
        await self.fill(world, 9)
        self.assertEqual(self.there(world), [6, 7, 8, 9])
        await world.stop()

    async def test_fills_under_way_stay(self) -> None:
        """What is being filled is not evicted; a fill that was left is."""
        world = await self.started()
        left = await world.store.begin(facts_of(DATA, image(1)))
        await left.append(DATA)
        await left.suspend()
        writers = [await world.store.begin(facts_of(DATA, image(number))) for number in (2, 3, 4, 5)]
        self.assertEqual(self.there(world), [2, 3, 4, 5])
        with self.assertRaises(CacheFull):
            await world.store.begin(facts_of(DATA, image(6)))
        for writer in writers:
            await writer.abort()
        self.assertEqual(world.account.taken_bytes, 0)
        await world.stop()

    async def test_nothing_goes_for_what_cannot_come(self) -> None:
        """A fill for which there can never be room is refused, and nothing is evicted in vain."""
        world = await self.started()
        await self.fill(world, 1, 2)
        for size in (5 * len(DATA), 2**62):
            with self.assertRaises(CacheFull) as caught:
                await world.store.begin(ImageFacts(image(3), size))
            self.assertEqual(caught.exception.available, 4 * ROOM)
        self.assertEqual(self.there(world), [1, 2])
        await world.stop()

    async def test_going_on_needs_no_more_room(self) -> None:
        """A fill that goes on has its room already, however full the cache is."""
        world = await self.started()
        left = await world.store.begin(facts_of(DATA, image(1)))
        await left.append(DATA)
        await left.suspend()
        await self.fill(world, 2, 3, 4)
        self.disk.free = 0
        writer = await world.store.begin(facts_of(DATA, image(1)))
        self.assertEqual(writer.written, len(DATA))
        await writer.commit()
        self.assertEqual(self.there(world), [1, 2, 3, 4])
        await world.stop()

    async def test_down_to_the_low_water_mark(self) -> None:
        """Where a low-water mark is set, eviction goes on to it; a fill above it evicts just what it needs."""
        world = await self.started(low_water_bytes=2 * ROOM)
        await self.fill(world, 1, 2, 3, 4, 5)
        self.assertEqual(self.there(world), [4, 5])
        await self.fill(world, 6)
        big = DATA * 3
        await world.fill(big, image(7))
        self.assertEqual(self.there(world), [6, 7])
        await world.stop()

    async def test_above_the_high_water_mark(self) -> None:
        """Where a high-water mark is set, eviction begins at it; what must stay may take the cache to the limit."""
        world = World(self.path, self.disk, 4 * ROOM, 2 * ROOM, high_water_bytes=3 * ROOM)
        await world.start()
        await self.fill(world, 1, 2, 3)
        self.assertEqual(self.there(world), [1, 2, 3])
        await self.fill(world, 4)
        self.assertEqual(self.there(world), [3, 4])
        for number in (3, 4, 5, 6):
            await world.store.pin(image(number))
        await self.fill(world, 5, 6)
        self.assertEqual(self.there(world), [3, 4, 5, 6])
        with self.assertRaises(CacheFull):
            await world.store.begin(facts_of(DATA, image(7)))
        await world.stop()

    async def test_a_limit_that_was_lowered(self) -> None:
        """A folder that is fuller than the limit is brought below it at the start, oldest first."""
        world = await self.started()
        await self.fill(world, 1, 2, 3, 4)
        await world.stop()
        for path in world.paths("*.catalog"):
            at = int(path.name[:8], 16)
            os.utime(path, (at, at))
        world = await self.started(2 * ROOM + 5)
        self.assertEqual(self.there(world), [3, 4])
        self.assertEqual(world.account.taken_bytes, world.disk_bytes())
        await world.stop()

    async def test_a_disk_that_others_filled(self) -> None:
        """Where the disk has no room a fill is refused, and the cache is not emptied for it."""
        world = await self.started()
        await self.fill(world, 1)
        self.disk.free = ROOM - 1
        with self.assertRaises(CacheFull):
            await world.store.begin(facts_of(DATA, image(2)))
        self.assertEqual(self.there(world), [1])
        await world.stop()

    async def test_a_full_disk_shows(self) -> None:
        """That the disk is full is known from the first fill it refuses, until it has room for that again."""
        world = await self.started()
        disk = world.account.disk
        self.assertFalse(disk.full)
        self.disk.free = ROOM - 1
        for refusals in (1, 2):
            with self.assertRaises(CacheFull):
                await world.store.begin(facts_of(DATA, image(2)))
            self.assertEqual((disk.full, disk.free_bytes, disk.refusals), (True, ROOM - 1, refusals))
        with self.assertRaises(CacheFull):
            await world.store.housekeeping.would_go(ROOM)
        self.assertEqual(disk.refusals, 2)
        await world.store.housekeeping.free_bytes()
        self.assertTrue(disk.full)
        self.disk.free = ROOM
        await world.store.housekeeping.free_bytes()
        self.assertEqual((disk.full, disk.free_bytes, disk.refusals), (False, ROOM, 2))
        await world.stop()

    async def test_what_goes_anyway_counts_as_free(self) -> None:
        """On a full disk a fill can take the place of what it evicts."""
        world = await self.started()
        await self.fill(world, 1, 2, 3, 4)
        free_bytes = self.disk.free_bytes
        self.disk.free_bytes = lambda path: 0  # type: ignore[method-assign]
        await self.fill(world, 5)
        self.disk.free_bytes = free_bytes  # type: ignore[method-assign]
        self.assertEqual(self.there(world), [2, 3, 4, 5])
        await world.stop()

    async def test_a_disk_that_says_no_at_last(self) -> None:
        """Where allocation fails all the same, a fill is refused before its first byte, with nothing left behind."""
        world = await self.started()
        for allocatable in (0, len(DATA) - 1):
            self.disk.allocatable = allocatable
            with self.assertRaises(CacheFull):
                await world.store.begin(facts_of(DATA, image(1)))
            self.assertEqual((world.file_names(), world.account.taken_bytes), ([], 0))
            self.assertEqual(self.there(world), [])
            self.assertTrue(world.account.disk.full)
        await world.stop()

    async def test_a_disk_that_fills_up_under_a_fill(self) -> None:
        """On a file system that cannot promise room, a fill is told when there is none left."""
        world = await self.started()
        writer = await world.store.begin(facts_of(DATA, image(1)))
        self.disk.free = 0
        with self.assertRaises(CacheFull):
            await writer.append(DATA)
        self.assertEqual(writer.written, 0)
        await writer.abort()
        self.assertEqual((world.file_names(), world.account.taken_bytes), ([], 0))
        await world.stop()
