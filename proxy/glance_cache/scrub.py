"""
Reading cached images anew, little by little, to find damage before a client does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import define, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from glance_cache.catalog import CatalogDamaged, chunk_count, chunk_length
from glance_cache.entry import Entry, EntryState
from glance_cache.folder import CacheFolder
from glance_cache.keeper import Keeper
from glance_cache.pace import Bandwidth
from glance_cache.scrubfile import ScrubFile, take_scrub
from glance_cache.space import SpaceAccount
from glance_tx.streaming.interfaces import ILane

__all__ = ["ScrubCounts", "ScrubTools", "Scrubber"]

_LOOK_AGAIN_SECONDS: Final = 60.0
"""Between two looks for what is due, unless it is due more often."""

_PAUSE_SECONDS: Final = 0.01
"""Between two entries of which only the last scrub is read: a hundred a second."""


@define
class ScrubCounts:
    """
    What was scrubbed so far.

    :ivar size_bytes: Read and held against digests.
    :ivar entries: Looked through to the end.
    :ivar wrong_chunks: Found.
    :ivar running: Whether it is this process that scrubs.
    """

    size_bytes: int = 0
    entries: int = 0
    wrong_chunks: int = 0
    running: bool = False


@frozen
class ScrubTools:
    """
    What a scrub works with.

    :param lane: Where the folder is touched; each entry's own files are in the entry's lane.
    """

    folder: CacheFolder
    keeper: Keeper
    account: SpaceAccount
    lane: ILane
    clock: IReactorTime


class Scrubber:
    """
    Scrubs all complete entries of a folder, the one that was verified longest ago first, chunk by chunk. Of several
    processes that use the folder one does it; another one takes over when it ends.

    :param bytes_per_second: To be read.
    :param interval_seconds: After which an entry is due again.
    """

    _log = Logger()

    def __init__(self, tools: ScrubTools, bytes_per_second: float, interval_seconds: float) -> None:
        self.counts: Final = ScrubCounts()
        self._tools = tools
        self._bandwidth = Bandwidth(tools.clock, bytes_per_second)
        self._interval_seconds = interval_seconds
        self._task: Deferred[None] | None = None
        self._lock: int | None = None

    async def start(self) -> None:
        """
        Begin to scrub, once it is known what there is.
        """
        self._task = Deferred.fromCoroutine(self._run())
        self._task.addErrback(lambda failure: self._log.failure("the scrub broke", failure))

    async def stop(self) -> None:
        """
        Scrub no more.
        """
        if self._task is not None:
            self._task.cancel()
            await self._task
        lock, self._lock = self._lock, None
        if lock is not None:
            await self._tools.lane.run(self._tools.folder.files.close, lock)

    async def _run(self) -> None:
        try:
            await self._tools.account.when_settled()
            while True:
                if await self._is_ours():
                    await self._pass()
                await self._sleep(min(_LOOK_AGAIN_SECONDS, self._interval_seconds))
        except CancelledError:
            pass

    async def _is_ours(self) -> bool:
        if self._lock is None:
            try:
                self._lock = await self._tools.lane.run(take_scrub, self._tools.folder)
            except OSError as error:
                self._log.warn("cached images cannot be scrubbed: {error}", error=str(error))
        self.counts.running = self._lock is not None
        return self.counts.running

    async def _pass(self) -> None:
        for entry in self._complete():
            if entry.verified_at is None:
                await self._learn(entry)
        for entry in self._complete():
            if entry.verified_at is not None and self._is_due(entry.verified_at):
                await self._scrub(entry)

    def _complete(self) -> Sequence[Entry]:
        entries = (entry for entry in self._tools.keeper if entry.state is EntryState.COMPLETE)
        return sorted(entries, key=lambda entry: entry.verified_at or 0.0)

    def _is_due(self, verified_at: float) -> bool:
        now = self._tools.clock.seconds()
        # A moment that is still to come was written while the clock was wrong.
        return verified_at + self._interval_seconds <= now or verified_at > now

    async def _learn(self, entry: Entry) -> None:
        try:
            verified_at = await entry.lane.run(ScrubFile(self._tools.folder, entry.name).verified_at)
        except OSError:
            return  # it went away, or its first reader will find out
        # Before the first scrub it was right when it came.
        entry.verified_at = entry.modified_at if verified_at is None else verified_at
        await self._sleep(_PAUSE_SECONDS)

    async def _scrub(self, entry: Entry) -> None:
        file = ScrubFile(self._tools.folder, entry.name)
        try:
            if await self._look_through(entry, file):
                entry.verified_at = self._tools.clock.seconds()
                await entry.lane.run(file.note_verified, entry.verified_at)
        except FileNotFoundError:
            pass  # removed meanwhile; if by hand, its next reader finds out
        except CatalogDamaged as error:
            self._log.error("entry {entry} is removed: {error}", entry=entry.key, error=str(error))
            self._tools.keeper.discard_soon(entry)
        except OSError as error:
            self._log.warn("entry {entry} cannot be scrubbed: {error}", entry=entry.key, error=str(error))

    async def _look_through(self, entry: Entry, file: ScrubFile) -> bool:
        """
        Hold each chunk of an entry against its digest.

        :return: Whether all of it was right.
        """
        wrong = 0
        for chunk in range(chunk_count(entry.size_bytes)):
            if entry.state not in {EntryState.COMPLETE, EntryState.DAMAGED}:
                return False
            length = chunk_length(entry.size_bytes, chunk)
            # One job for each, and a pause between them: those who read the entry get their turn first.
            right = await entry.lane.read(file.matches, chunk, length, keep_cached=entry.users > 0)
            self.counts.size_bytes += length
            if not right:
                wrong += 1
                self.counts.wrong_chunks += 1
                self._tools.keeper.reading(entry).verifier.spoil(chunk)
            await self._sleep(self._bandwidth.take(length))
        self.counts.entries += 1
        return not wrong

    async def _sleep(self, seconds: float) -> None:
        await deferLater(self._tools.clock, seconds, lambda: None)
