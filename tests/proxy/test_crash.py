"""
Whatever step a daemon dies at, and whichever one fails: the next one finds entries that are right, or none.
"""

from __future__ import annotations

import errno
import os

from twisted.internet.defer import Deferred

from glance_cache.entry import EntryState
from glance_cache.errors import CacheError
from glance_cache.files import FileOps
from tests.proxy.folders import Chunks, Died, FailingFiles, ShortWrites, World, absolute, close_files, open_files
from tests.proxy.lives import DATA, LifeTestCase
from tests.proxy.powerloss import RecordedFiles, what_is_left

SEEDS = 3
"""Ways to lose the power at each step."""


class CrashTests(LifeTestCase):
    """
    The life of a cache folder, cut off or disturbed at each of its steps.
    """

    def world(self, path: str, files: FileOps) -> World:
        self.damaged = False
        return World(path, files, chunks=Chunks(DATA))

    async def die(self, step: int, *, torn: bool) -> tuple[FailingFiles, set[EntryState]]:
        path = self.mktemp()
        files = FailingFiles(step, Died, for_good=True, torn=torn)
        living = Deferred.fromCoroutine(self.live(self.world(path, files)))
        living.addErrback(lambda failure: failure.trap(Died))
        await living
        close_files(path)
        self.flushLoggedErrors(Died)
        return files, await self.assert_right(path, may_be_damaged=self.damaged)

    async def test_dying_at_any_step(self) -> None:
        """After a death at any step the entry is complete and right, or goes on, or is gone."""
        found: list[EntryState] = []
        step = 0
        while True:
            files, states = await self.die(step, torn=False)
            if not files.failed:
                break
            found += states
            step += 1
        self.assertGreater(step, 60)
        self.assertEqual(set(found), {EntryState.COMPLETE, EntryState.PARTIAL})

    async def test_dying_in_the_middle_of_a_write(self) -> None:
        """The same when half of the last write was done."""
        files, _ = await self.die(10_000, torn=True)
        writes = [step for step, call in enumerate(files.calls) if call == "write"]
        self.assertGreater(len(writes), 10)
        for step in writes:
            await self.die(step, torn=True)

    async def disturb(self, files: FileOps) -> None:
        path = self.mktemp()
        world = self.world(path, files)
        living = Deferred.fromCoroutine(self.live(world))
        living.addErrback(lambda failure: failure.trap(CacheError))
        await living
        await world.stop()
        self.assertEqual(open_files(path), [])
        await self.assert_right(path, may_be_damaged=self.damaged)

    async def fail_at(self, step: int, number: int) -> FailingFiles:
        files = FailingFiles(step, lambda: OSError(number, os.strerror(number)))
        await self.disturb(files)
        return files

    async def test_an_error_at_any_step(self) -> None:
        """A step that fails with an I/O error spoils nothing and leaves nothing open."""
        step = 0
        while (await self.fail_at(step, errno.EIO)).failed:
            step += 1
        self.assertGreater(step, 60)

    async def test_no_room_at_any_step(self) -> None:
        """So does one for which there is no room."""
        step = 0
        while (await self.fail_at(step, errno.ENOSPC)).failed:
            step += 1
        self.assertGreater(step, 60)

    async def test_short_writes(self) -> None:
        """A write of which the system takes a part is gone on with, wherever that is, and nobody notices."""
        files = ShortWrites(range(10_000))
        path = self.mktemp()
        await self.live(self.world(path, files))
        self.assertGreater(files.writes, 20)
        await self.assert_right(path)

    async def test_no_room_for_the_rest_of_a_write(self) -> None:
        """A write of which a part is done, and for the rest there is no room, spoils nothing, wherever that is."""
        step = 0
        while True:
            files = ShortWrites([step], OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
            await self.disturb(files)
            if not files.shortened:
                break
            step += 1
        self.assertGreater(step, 20)


class PowerLossTests(LifeTestCase):
    """
    The life of a cache folder, on a machine that loses its power after each of its steps.
    """

    def setUp(self) -> None:
        self.files = RecordedFiles()
        self.told: list[tuple[int, str, bool | None]] = []

    def acknowledged(self, what: str, *, is_so: bool | None) -> None:
        self.told.append((len(self.files.done), what, is_so))

    async def test_losing_power_at_any_step(self) -> None:
        """
        What was acknowledged is there, and right. What else is found is right, or goes on, or is given up: no reader
        gets wrong bytes to the end, and nothing wrong turns complete.
        """
        world = World(self.mktemp(), self.files, chunks=Chunks(DATA))
        await self.live(world)
        found: list[EntryState] = []
        for step in range(len(self.files.done) + 1):
            for seed in range(SEEDS):
                found += await self.lose_power(world, step, f"{step} {seed}")
        self.assertGreater(len(self.files.done), 60)
        self.assertEqual(set(found), {EntryState.COMPLETE, EntryState.PARTIAL})

    async def test_losing_power_at_the_first_start(self) -> None:
        """A folder that was about to be made can be taken."""
        world = World(self.mktemp(), self.files)
        await world.start()
        await world.stop()
        for step in range(len(self.files.done) + 1):
            for seed in range(40):
                path = self.mktemp()
                what_is_left(self.files.done[:step], f"{step} {seed}", world.path, absolute(path))
                again = World(path)
                await again.start()
                await again.stop()
                self.assertEqual(self.left_over(again.path), set())

    async def lose_power(self, world: World, step: int, seed: str) -> set[EntryState]:
        path = self.mktemp()
        what_is_left(self.files.done[:step], seed, world.path, absolute(path))
        kept = {what: is_so for told, what, is_so in self.told if told <= step}
        try:
            return await self.assert_right(path, kept, may_be_damaged=True)
        except BaseException:
            print(f"the power was lost with seed {seed!r}, where {kept} were acknowledged")
            raise
