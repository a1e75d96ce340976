"""
A life of a cache folder in which everything that changes it is done, and what must be so after whatever cut it off.
"""

from __future__ import annotations

import contextlib  # trial takes a name "suppress" in a module for its own
from collections.abc import Mapping
from pathlib import Path

from twisted.trial.unittest import TestCase

from glance_cache.catalog import CHUNK_BYTES
from glance_cache.entry import EntryState
from glance_cache.errors import EntryCorrupt
from glance_cache.interfaces import ImageFacts
from tests.proxy import folders
from tests.proxy.folders import IMAGE, OTHER, World, facts_of, open_files

DATA = folders.DATA[: CHUNK_BYTES + 70_000]
FACTS = facts_of(DATA)
PIECE = CHUNK_BYTES + 10


class LifeTestCase(TestCase):
    """
    Tests that disturb one life of a cache folder.
    """

    damaged = False
    """Whether something spoiled a chunk that is not repaired yet."""

    def acknowledged(self, what: str, *, is_so: bool | None) -> None:
        """Somebody was told that something is done; ``None`` while that is about to change."""

    async def live(self, world: World) -> None:
        """Use every operation that changes the folder."""
        await world.start()
        await self.fill(world, FACTS, stop_at=CHUNK_BYTES + 5)
        await self.fill(world, FACTS)
        with contextlib.suppress(OSError):  # a file that cannot be read resets its reader by what the system says
            self.assertEqual(await world.read(FACTS), DATA)
        self.acknowledged("pin", is_so=None)
        await world.store.pin(IMAGE)
        self.acknowledged("pin", is_so=True)
        await self.fill(world, facts_of(DATA, OTHER))
        await self.damage_and_repair(world)
        self.acknowledged("pin", is_so=None)
        await world.store.unpin(IMAGE)
        self.acknowledged("pin", is_so=False)
        await self.remove_while_it_is_read(world)
        await self.fill(world, FACTS, stop_at=5)
        await world.stop()

    async def damage_and_repair(self, world: World) -> None:
        """Something spoils a chunk, which is found and repaired."""
        self.acknowledged(IMAGE, is_so=None)
        self.damaged = True
        with contextlib.suppress(OSError):  # then it is spoiled less, or not at all
            self.spoil(world)
        await world.store.housekeeping.verify(IMAGE)
        if EntryState.COMPLETE in (info.state for info in world.store.inventory() if info.image_id == IMAGE):
            self.damaged = False
            self.acknowledged(IMAGE, is_so=True)

    def spoil(self, world: World) -> None:
        files = world.folder.files
        descriptor = files.open_for_writing(world.data_path(FACTS))
        try:
            files.write(descriptor, b"damage", 5000)
            files.sync(descriptor)
        finally:
            files.close(descriptor)

    async def remove_while_it_is_read(self, world: World) -> None:
        """Its data outlives its name, until the reader is through."""
        self.acknowledged(IMAGE, is_so=None)
        with contextlib.suppress(OSError):
            body = await world.store.open(FACTS)
            try:
                await world.store.remove(IMAGE)
            finally:
                if body is not None:
                    body.close()

    async def fill(self, world: World, facts: ImageFacts, stop_at: int | None = None) -> None:
        """Fill an entry, or go on with that, as a fill does that stops when something goes wrong."""
        writer = await world.store.begin(facts)
        try:
            for offset in range(writer.written, len(DATA), PIECE):
                await writer.append(DATA[offset : offset + PIECE][:stop_at])
                if stop_at is not None:
                    await writer.suspend()
                    return
            if await writer.commit():
                self.acknowledged(facts.image_id, is_so=True)
        finally:
            await writer.suspend()

    async def assert_right(
        self, path: str, kept: Mapping[str, bool | None] | None = None, *, may_be_damaged: bool = False
    ) -> set[EntryState]:
        """
        A new daemon finds nothing wrong, and can do all that is left to do; tells what it found.

        :param kept: What must be as somebody was told it is.
        :param may_be_damaged: Whether files may be wrong, so that the first reader is reset.
        """
        kept = kept or {}
        world = World(path)
        await world.start()
        if may_be_damaged:  # a catalog that is cut off is counted as long as the fill will make it
            self.assertGreaterEqual(world.account.taken_bytes, world.disk_bytes())
        else:
            self.assertEqual(world.account.taken_bytes, world.disk_bytes())
        found = {info.state for info in world.store.inventory() if info.image_id == IMAGE}
        if kept.get("pin") is not None:
            self.assertEqual(world.store.is_pinned(IMAGE), kept["pin"])
        for image_id in (IMAGE, OTHER):
            if kept.get(image_id):
                self.assertEqual(await world.read(facts_of(DATA, image_id)), DATA)
            else:
                await self.serve(world, image_id, may_be_damaged=may_be_damaged)
        self.assertEqual(self.left_over(world.path), set())
        self.assertEqual(len(world.file_names()), 4)
        self.assertEqual(world.account.taken_bytes, world.disk_bytes())
        await world.stop()
        self.assertEqual(open_files(path), [])
        return found

    async def serve(self, world: World, image_id: str, *, may_be_damaged: bool) -> None:
        """A client gets the right bytes, and nobody gets others."""
        facts = facts_of(DATA, image_id)
        try:
            data = await world.read(facts)
        except EntryCorrupt:
            self.assertTrue(may_be_damaged)
            data = None
        if data is None:
            data = await world.read(await world.fill(DATA, image_id))
        self.assertEqual(data, DATA)
        if not may_be_damaged:
            self.assertEqual(world.corrupt, [])

    def left_over(self, path: Path) -> set[str]:
        """What lies in a folder that has no business there."""
        names = {str(found.relative_to(path)) for found in path.rglob("*") if found.is_file()}
        return {name for name in names - {"format", "lock", "books"} if not name.startswith(("entries/", "pins/"))}
