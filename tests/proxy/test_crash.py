"""
Whatever step a daemon dies at, and whichever one fails: the next one finds entries that are right, or none.
"""

from __future__ import annotations

import contextlib  # trial takes a name "suppress" in a module for its own
import errno
import os

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from glance_cache.catalog import CHUNK_BYTES
from glance_cache.entry import EntryState
from glance_cache.errors import CacheError
from glance_cache.interfaces import ImageFacts
from tests.proxy import folders
from tests.proxy.folders import IMAGE, OTHER, Died, FailingFiles, World, close_files, facts_of, open_files

DATA = folders.DATA[: CHUNK_BYTES + 70_000]
FACTS = facts_of(DATA)
PIECE = CHUNK_BYTES + 10


class CrashTests(TestCase):
    """
    The life of a cache folder, cut off or disturbed at each of its steps.
    """

    async def live(self, world: World) -> None:
        """Use every operation that changes the folder."""
        await world.start()
        await self.fill(world, FACTS, stop_at=CHUNK_BYTES + 5)
        await self.fill(world, FACTS)
        with contextlib.suppress(OSError):  # a file that cannot be read resets its reader by what the system says
            self.assertEqual(await world.read(FACTS), DATA)
        await self.fill(world, facts_of(DATA, OTHER))
        await world.store.pin(IMAGE)
        await world.store.unpin(IMAGE)
        await world.store.remove(IMAGE)
        await self.fill(world, FACTS, stop_at=5)
        await world.stop()

    async def fill(self, world: World, facts: ImageFacts, stop_at: int | None = None) -> None:
        """Fill an entry, or go on with that, as a fill does that stops when something goes wrong."""
        writer = await world.store.begin(facts)
        try:
            for offset in range(writer.written, len(DATA), PIECE):
                await writer.append(DATA[offset : offset + PIECE][:stop_at])
                if stop_at is not None:
                    await writer.suspend()
                    return
            await writer.commit()
        finally:
            await writer.suspend()

    async def assert_right(self, path: str) -> set[EntryState]:
        """A new daemon finds nothing wrong, and can do all that is left to do; tells what it found."""
        world = World(path)
        await world.start()
        self.assertEqual(world.account.taken_bytes, world.disk_bytes())
        found = {info.state for info in world.store.inventory() if info.image_id == IMAGE}
        for image_id in (IMAGE, OTHER):
            data = await world.read(facts_of(DATA, image_id))
            if data is None:
                data = await world.read(await world.fill(DATA, image_id))
            self.assertEqual(data, DATA)
        self.assertEqual(world.corrupt, [])
        self.assertEqual(len(world.file_names()), 4)
        self.assertEqual(world.account.taken_bytes, world.disk_bytes())
        await world.stop()
        self.assertEqual(open_files(path), [])
        return found

    async def die(self, step: int, *, torn: bool) -> tuple[FailingFiles, set[EntryState]]:
        path = self.mktemp()
        files = FailingFiles(step, Died, for_good=True, torn=torn)
        living = Deferred.fromCoroutine(self.live(World(path, files)))
        living.addErrback(lambda failure: failure.trap(Died))
        await living
        close_files(path)
        self.flushLoggedErrors(Died)
        return files, await self.assert_right(path)

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

    async def disturb(self, step: int, number: int) -> FailingFiles:
        path = self.mktemp()
        files = FailingFiles(step, lambda: OSError(number, os.strerror(number)))
        world = World(path, files)
        living = Deferred.fromCoroutine(self.live(world))
        living.addErrback(lambda failure: failure.trap(CacheError))
        await living
        await world.stop()
        self.assertEqual(open_files(path), [])
        await self.assert_right(path)
        return files

    async def test_an_error_at_any_step(self) -> None:
        """A step that fails with an I/O error spoils nothing and leaves nothing open."""
        step = 0
        while (await self.disturb(step, errno.EIO)).failed:
            step += 1
        self.assertGreater(step, 60)

    async def test_no_room_at_any_step(self) -> None:
        """So does one for which there is no room."""
        files = await self.disturb(10_000, errno.ENOSPC)
        for step, call in enumerate(files.calls):
            if call in {"create", "allocate", "write", "make_folder", "rename", "sync", "sync_data"}:
                await self.disturb(step, errno.ENOSPC)
