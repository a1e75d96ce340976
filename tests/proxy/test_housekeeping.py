"""
Tests of pins, and of what an operator can have done to the entries.
"""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from glance_cache.catalog import CHUNK_BYTES
from glance_cache.entry import EntryState
from glance_cache.errors import CacheFull, FolderUnusable
from glance_cache.folder import footprint_bytes
from glance_cache.housekeeping import Removed
from tests.proxy.folders import DATA, IMAGE, OTHER, World, facts_of

ROOM = footprint_bytes(len(DATA))


class HousekeepingTestCase(TestCase):
    """
    A cache folder.
    """

    def make(self, **options: object) -> World:
        return World(self.path, **options)  # type: ignore[arg-type]

    def setUp(self) -> None:
        self.path = self.mktemp()

    def flip(self, world: World, offset: int, image_id: str = IMAGE) -> None:
        """
        Change one byte of an image behind the daemon's back, and the file's time not at all.
        """
        (path,) = world.store._folder.path.glob(f"entries/*/{image_id}-*.data")
        data = bytearray(path.read_bytes())
        data[offset] ^= 1
        path.write_bytes(data)


class PinTests(HousekeepingTestCase):
    """
    Pinned images stay.
    """

    async def test_durable(self) -> None:
        """
        What was pinned is pinned after a restart, whether it is cached or not; what was unpinned is not.
        """
        world = self.make()
        await world.start()
        for image_id in (IMAGE, OTHER, IMAGE):
            await world.store.pin(image_id)
        await world.store.unpin(OTHER)
        await world.store.unpin(OTHER)
        await world.stop()
        world = self.make()
        await world.start()
        self.assertEqual([world.store.is_pinned(image_id) for image_id in (IMAGE, OTHER)], [True, False])
        await world.stop()

    async def test_by_others(self) -> None:
        """
        What somebody else pinned in the folder is not evicted, and what he unpinned may be; other files are left alone.
        """
        world = self.make(max_bytes=ROOM)
        await world.start()
        await world.fill()
        pins = world.store._folder.path / "pins"
        pins.mkdir(mode=0o700)
        (pins / "README").touch()
        (pins / IMAGE).touch()
        with self.assertRaises(CacheFull):
            await world.store.begin(facts_of(DATA, OTHER))
        (pins / IMAGE).unlink()
        writer = await world.store.begin(facts_of(DATA, OTHER))
        await writer.abort()
        self.assertEqual((world.store.inventory(), [path.name for path in pins.iterdir()]), ([], ["README"]))
        await world.stop()

    async def test_disk(self) -> None:
        """
        A disk that cannot take the pin is told of, and nothing is pinned.
        """
        world = self.make()
        await world.start()
        (world.store._folder.path / "pins").touch()
        with self.assertRaises(FolderUnusable):
            await world.store.pin(IMAGE)
        self.assertFalse(world.store.is_pinned(IMAGE))
        (world.store._folder.path / "pins").unlink()
        await world.stop()


class RoomTests(HousekeepingTestCase):
    """
    What goes, and what would.
    """

    async def test_would_go(self) -> None:
        """
        What would be evicted for a fill is told, and stays.
        """
        world = self.make(max_bytes=2 * ROOM)
        await world.start()
        await world.fill()
        self.assertEqual(await world.store.housekeeping.would_go(ROOM), [])
        self.assertEqual(await world.store.housekeeping.would_go(2 * ROOM), [IMAGE])
        await world.store.pin(IMAGE)
        with self.assertRaises(CacheFull):
            await world.store.housekeeping.would_go(2 * ROOM)
        self.assertEqual(len(world.store.inventory()), 1)
        await world.stop()

    async def test_prune(self) -> None:
        """
        A cache that is within its limit loses nothing; one above it as much as needed.
        """
        world = self.make()
        await world.start()
        await world.fill()
        await world.fill(DATA, OTHER)
        self.assertEqual(await world.store.housekeeping.prune(), Removed(0, 0))
        world.account.max_bytes = ROOM
        self.assertEqual(await world.store.housekeeping.prune(), Removed(1, ROOM))
        self.assertEqual([info.image_id for info in world.store.inventory()], [OTHER])
        await world.stop()

    async def test_clean(self) -> None:
        """
        A fill that was left goes when it is old enough; complete images and fills under way stay.
        """
        world = self.make()
        await world.start()
        await world.fill(DATA, OTHER)
        writer = await world.store.begin(facts_of(DATA))
        await writer.append(DATA[: CHUNK_BYTES + 1])
        self.assertEqual(await world.store.housekeeping.clean(0), Removed(0, 0))
        await writer.suspend()
        self.assertEqual(await world.store.housekeeping.clean(60), Removed(0, 0))
        # The file's time is the machine's, which has gone on since this clock began.
        world.clock.advance(3600)
        self.assertEqual(await world.store.housekeeping.clean(60), Removed(1, ROOM))
        self.assertEqual(world.store.states(), dict.fromkeys(world.store.states(), EntryState.COMPLETE))
        self.assertEqual(len(world.store.states()), 1)
        await world.stop()


class VerifyTests(HousekeepingTestCase):
    """
    All of an image's data is read again.
    """

    async def test_right(self) -> None:
        """
        Data that is right stays; where there is none, nothing can be told.
        """
        world = self.make()
        await world.start()
        await world.fill()
        self.assertTrue(await world.store.housekeeping.verify(IMAGE))
        self.assertIsNone(await world.store.housekeeping.verify(OTHER))
        self.assertEqual(await world.read(facts_of(DATA)), DATA)
        await world.stop()

    async def test_damaged(self) -> None:
        """
        Data with one wrong bit anywhere is found out, even where it was found right before, and removed.
        """
        for offset in (0, len(DATA) - 1):
            world = self.make()
            await world.start()
            await world.fill()
            self.assertEqual(await world.read(facts_of(DATA)), DATA)
            self.flip(world, offset)
            self.assertEqual(await world.store.housekeeping.verify(IMAGE), 0)
            self.assertIsNone(await world.store.housekeeping.verify(IMAGE))
            self.assertEqual((len(world.corrupt), world.disk_bytes()), (1, 0))
            await world.stop()

    async def test_after_a_restart(self) -> None:
        """
        An image that nobody has read since the start is verified like any other, and one without its files is damaged.
        """
        world = self.make()
        await world.start()
        await world.fill()
        await world.stop()
        world = self.make()
        await world.start()
        self.assertTrue(await world.store.housekeeping.verify(IMAGE))
        (path,) = world.store._folder.path.glob("entries/*/*.catalog")
        path.write_bytes(bytes(path.stat().st_size))
        self.assertEqual(await world.store.housekeeping.verify(IMAGE), 0)
        await world.stop()
