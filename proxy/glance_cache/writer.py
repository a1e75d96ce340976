"""
The one who fills an entry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from twisted.internet.defer import Deferred
from zope.interface import implementer

from glance_cache.chores import Chores
from glance_cache.entry import Entry, EntryState
from glance_cache.errors import CacheError
from glance_cache.fillfile import FillFile
from glance_cache.interfaces import ImageFacts
from glance_cache.stamps import Stamp
from glance_tx.streaming.interfaces import IBodyReader, IFileBody, IGrowth
from glance_tx.streaming.pump import Sink, pump

__all__ = ["EntryKeeper", "EntryWriter"]


class EntryKeeper(Protocol):
    """
    Where entries belong to.
    """

    def published(self, entry: Entry, stamp: Stamp) -> None:
        """
        Take over an entry that has just become complete.
        """

    def suspended(self, entry: Entry, recorded_bytes: int) -> None:
        """
        Take over a fill that may go on later.
        """

    def discard(self, entry: Entry) -> Deferred[None]:
        """
        Remove an entry.
        """

    def lend(
        self,
        entry: Entry,
        descriptor: int,
        offset: int,
        length: int,
        growth: IGrowth,
        closed: Callable[[], object],
    ) -> IFileBody:
        """
        Make a body of an entry's file, which uses the entry from now on until it is closed.

        :param closed: Called then.
        """

    def leave(self, entry: Entry) -> None:
        """
        End one use of an entry.
        """

    def refusal(self, error: OSError, size_bytes: int) -> CacheError:
        """
        Say in our words why something could not be written.
        """


@implementer(IBodyReader)
class _Recorded:
    """
    What an earlier fill left, as a body: each piece is a chunk that matches its record.
    """

    def __init__(self, writer: EntryWriter) -> None:
        self.length: int | None = None
        self._writer = writer

    async def read(self, at_least: int) -> bytes:
        """
        Take the next chunk over (see `IBodyReader`).
        """
        return await self._writer.take_over_chunk()


class EntryWriter:
    """
    Writes the data of one image, in order, from where an earlier fill stopped.

    It is ended by one of `commit`, `abort` and `suspend`. Each of these goes on to its end when its caller is
    cancelled; repeating `abort` or `suspend`, or calling them after another end, does nothing.

    :param facts: What the data is to be.
    :param entry: In use by the writer until its end.
    """

    def __init__(self, facts: ImageFacts, entry: Entry, file: FillFile, keeper: EntryKeeper, chores: Chores) -> None:
        self.facts = facts
        self.written = 0
        self._entry = entry
        self._file = file
        self._keeper = keeper
        self._chores = chores
        self._ending = False
        self._left = False

    @property
    def is_wanted(self) -> bool:
        """
        Whether there is still something to fill: ``False`` once the entry was removed under the writer.
        """
        return self._entry.state is EntryState.FILLING

    async def take_over(self, sinks: Sequence[Sink]) -> None:
        """
        Find out how much of an earlier fill is still good, and go on after it.

        :param sinks: Each gets all of that, in order, as `pump` gives it.
        """
        await pump(_Recorded(self), sinks)
        await self._entry.lane.run(self._file.settle_mark)

    async def take_over_chunk(self) -> bytes:
        """
        Take over one chunk; ``b""`` when there is none, or none that is good.
        """
        data = await self._entry.lane.run(self._file.read_recorded)
        self._advance(len(data))
        return data

    def _advance(self, count: int) -> None:
        self.written += count
        self._entry.present_bytes = self.written

    async def append(self, data: bytes) -> None:
        """
        Write the next bytes; returns when they can be read from the file.

        A piece may be of any size. After one that failed, or was cancelled, the entry can only be suspended or
        aborted: what is missing shows when it is committed.

        :raises CacheFull: The disk is full.
        :raises FolderUnusable: The disk cannot be written.
        :raises BodyTooLong: There are more bytes than the image has.
        """
        self._require_unended()
        try:
            await self._entry.lane.run(self._file.append, data)
        except OSError as error:
            raise self._keeper.refusal(error, self.facts.size) from error
        self._advance(len(data))

    async def show_all(self) -> None:
        """
        Let other processes send what is there to its end: it was held against the image's hashes.

        :raises FolderUnusable: The disk cannot be written.
        """
        try:
            await self._entry.lane.run(self._file.show_all)
        except OSError as error:
            raise self._keeper.refusal(error, self.facts.size) from error

    def open_body(
        self, offset: int, length: int, growth: IGrowth, closed: Callable[[], object] = lambda: None
    ) -> IFileBody:
        """
        Make a body of the file as it grows. The entry is in use until that is closed, whatever becomes of the fill.

        :param growth: Says how far the file may be sent by now; nothing else holds the body back.
        :param closed: Called when it is closed.
        :raises FolderUnusable: There are too many open files.
        """
        if self._left:
            raise RuntimeError("the writer was ended already")
        try:
            descriptor = self._file.duplicate()
        except OSError as error:
            raise self._keeper.refusal(error, self.facts.size) from error
        return self._keeper.lend(self._entry, descriptor, offset, length, growth, closed)

    async def commit(self) -> bool:
        """
        Make the entry complete: durable, and there for everyone. All of its chunks count as found right.

        The data must be whole, and have been held against the image's hashes. When this returns, the writer gives no
        more bodies and the entry does, without a moment in between.

        :return: ``False`` where the entry was removed under the writer, so that there is nothing to keep.
        :raises BodyTooShort: Bytes are missing; the writer is not ended.
        :raises FolderUnusable: The disk failed; nothing is left of the entry.
        """
        self._require_unended()
        self._ending = True
        return await self._chores.run(self._commit())

    async def _commit(self) -> bool:
        stamp = None
        if self.is_wanted:
            try:
                stamp = await self._entry.lane.run(self._file.publish)
            except OSError as error:
                await self._discard()
                raise self._keeper.refusal(error, self.facts.size) from error
            except BaseException:
                self._ending = False
                raise
        if stamp is None or not self.is_wanted:
            self._leave()
            return False
        self._keeper.published(self._entry, stamp)
        self._leave()
        return True

    async def abort(self) -> None:
        """
        Remove the entry. Who reads it can read on.
        """
        if not self._ending:
            self._ending = True
            await self._chores.run(self._discard())

    async def _discard(self) -> None:
        # In this order: as long as the fill has its catalog nobody else goes on with it.
        try:
            await self._keeper.discard(self._entry)
        finally:
            self._leave()
        await self._entry.lane.run(lambda: None)  # until the files are closed

    async def suspend(self) -> None:
        """
        Stop here, and keep what is there for a later fill to go on with.
        """
        if not self._ending:
            self._ending = True
            await self._chores.run(self._suspend())

    async def _suspend(self) -> None:
        # Asked in the lane: a write that nobody waits for may still be under way.
        try:
            recorded = await self._entry.lane.run(self._file.suspend)
        except OSError as error:
            await self._discard()
            raise self._keeper.refusal(error, self.facts.size) from error
        if recorded and self.is_wanted:
            self._keeper.suspended(self._entry, recorded)
            self._leave()
        else:
            await self._discard()

    def _leave(self) -> None:
        self._left = True
        self._entry.ended_fills.append(self._file)
        self._keeper.leave(self._entry)

    def _require_unended(self) -> None:
        if self._ending:
            raise RuntimeError("the writer was ended already")
