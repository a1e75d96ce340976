"""
How fills begin: with nothing, with what an earlier one left, or by following one of another process.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from glance_cache.catalog import CatalogDamaged, Header
from glance_cache.chores import Chores
from glance_cache.content import footprint_bytes
from glance_cache.entry import Entry, EntryState
from glance_cache.errors import CacheFull, EntryBusy, FilledElsewhere, FolderUnusable
from glance_cache.fillfile import FillFile
from glance_cache.fillwatch import FillWatch
from glance_cache.finder import Finder
from glance_cache.folder import CacheFolder
from glance_cache.interfaces import ImageFacts
from glance_cache.keeper import Keeper
from glance_cache.names import EntryName
from glance_cache.room import RoomMaker
from glance_cache.space import Reservation, SpaceAccount
from glance_cache.watched import Watched
from glance_cache.writer import EntryWriter
from glance_tx.streaming.pump import Sink

__all__ = ["Beginnings"]

_TRIES: Final = 4


class Beginnings:
    """
    Begins fills, one for each entry at a time, over all processes.

    :param changed: Told of each entry whose files were created.
    """

    _log = Logger()

    def __init__(
        self,
        folder: CacheFolder,
        keeper: Keeper,
        room: RoomMaker,
        account: SpaceAccount,
        finder: Finder,
        clock: IReactorTime,
        chores: Chores,
        changed: Callable[[EntryName], object],
    ) -> None:
        self._folder = folder
        self._keeper = keeper
        self._room = room
        self._account = account
        self._finder = finder
        self._clock = clock
        self._chores = chores
        self._tell = changed
        self._beginning: set[str] = set()

    async def begin(self, facts: ImageFacts, sinks: Sequence[Sink] = ()) -> EntryWriter:
        """
        Begin to fill an entry, or go on where an earlier fill stopped; waits for the end of the scan.

        :param facts: What the data is to be; at least one byte.
        :param sinks: Get what is still good of an earlier fill, so that the image's hashes can be computed.
        :return: A writer whose ``written`` says where to go on.
        :raises FilledElsewhere: Another process fills it.
        :raises EntryBusy: The entry is complete, or another fill writes it.
        :raises CacheFull: There is no room, and none can be made.
        :raises FolderUnusable: The disk cannot be written, or could not be looked through.
        """
        if facts.size < 1:
            raise ValueError("there is no data to keep")
        await self._account.when_settled()
        writer = await self._chores.run(self._begin(facts), unwanted=self._suspend_later)
        try:
            await writer.take_over(sinks)
        except OSError as error:
            self._suspend_later(writer)
            raise self._folder.unusable(error) from error
        except BaseException:
            self._suspend_later(writer)
            raise
        return writer

    async def watch(self, facts: ImageFacts) -> Watched | None:
        """
        See `EntryStore.watch`. Must come to its end: run it as a chore.
        """
        entry = await self._finder.look(EntryName.of(facts))
        if entry is None or entry.state is not EntryState.PARTIAL:
            return None
        watch = FillWatch(self._folder, entry.name, facts)
        entry.enter()
        try:
            await entry.lane.run(watch.open)
        except BaseException as error:
            self._keeper.leave(entry)
            if isinstance(error, FileNotFoundError | BlockingIOError | CatalogDamaged):
                return None
            if isinstance(error, OSError):
                raise self._folder.unusable(error) from error
            raise
        return Watched(facts, entry, watch, self._keeper)

    def _suspend_later(self, writer: EntryWriter) -> None:
        self._chores.start(writer.suspend())

    async def _begin(self, facts: ImageFacts) -> EntryWriter:
        name = EntryName.of(facts)
        if name.stem in self._beginning:
            raise EntryBusy(name.image_id)
        self._beginning.add(name.stem)
        try:
            return await self._reopen_or_create(name, facts)
        except OSError as error:
            raise self._keeper.refusal(error, facts.size) from error
        finally:
            self._beginning.discard(name.stem)

    async def _reopen_or_create(self, name: EntryName, facts: ImageFacts) -> EntryWriter:
        for _ in range(_TRIES):
            try:
                return await self._reopen(name, facts) or await self._create(name, facts)
            except BlockingIOError as error:
                raise FilledElsewhere(name.image_id) from error
            except FileExistsError:
                await self._finder.look(name)
        raise FilledElsewhere(name.image_id)

    async def _reopen(self, name: EntryName, facts: ImageFacts) -> EntryWriter | None:
        entry = await self._finder.look_up(name)
        if entry is None:
            return None
        if entry.state is EntryState.PARTIAL:
            writer = await self._go_on(entry, facts)
            if writer is not None:
                return writer
        if entry.state is not EntryState.GONE:
            raise EntryBusy(name.image_id)
        await self._keeper.discard(entry)
        if self._keeper.get(name) is not None:
            raise FolderUnusable(str(self._folder.path), f"{name.stem} cannot be removed")
        return None

    async def _go_on(self, entry: Entry, facts: ImageFacts) -> EntryWriter | None:
        file = self._fill_file(entry.name, facts)
        entry.state = EntryState.FILLING
        entry.enter()
        try:
            entry.inode = await entry.lane.run(file.reopen)
        except BaseException as error:
            if entry.state is EntryState.FILLING:
                entry.state = EntryState.PARTIAL
            self._keeper.leave(entry)
            if isinstance(error, FileNotFoundError):
                # Another process completed it, or removed it.
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
            if not isinstance(error, CatalogDamaged):
                raise
            self._log.warn("the fill {entry} cannot go on: {error}", entry=entry.key, error=error)
            await self._keeper.discard(entry)
            return None
        return EntryWriter(facts, entry, file, self._keeper, self._chores)

    async def _create(self, name: EntryName, facts: ImageFacts) -> EntryWriter:
        for _ in range(_TRIES):
            room = await self._room.make(footprint_bytes(facts.size))
            try:
                return await self._create_in(room, name, facts)
            except CacheFull:
                # What was made free went to another process.
                continue
        raise CacheFull(footprint_bytes(facts.size), 0)

    async def _create_in(self, room: Reservation, name: EntryName, facts: ImageFacts) -> EntryWriter:
        entry = self._keeper.begin(name, facts.size, room)
        file = self._fill_file(name, facts)
        try:
            entry.inode = await entry.lane.run(file.create)
        except BaseException:
            self._keeper.leave(entry)
            self._keeper.forget(entry)
            raise
        self._tell(name)
        return EntryWriter(facts, entry, file, self._keeper, self._chores)

    def _fill_file(self, name: EntryName, facts: ImageFacts) -> FillFile:
        return FillFile(self._folder, name, Header(facts, self._clock.seconds()), self._account.max_bytes)
