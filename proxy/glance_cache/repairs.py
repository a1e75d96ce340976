"""
Damaged chunks, fetched again and put back into their place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from attrs import define
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from glance_cache.catalog import CHUNK_BYTES, CatalogDamaged, chunk_length
from glance_cache.entry import Entry, EntryState
from glance_cache.errors import CacheError, ChunkUnavailable
from glance_cache.interfaces import IChunkSource
from glance_cache.keeper import Keeper

__all__ = ["MOST_CHUNKS", "RepairCounts", "Repairs"]

MOST_CHUNKS: Final = 64
"""Where more than this of an entry is wrong, somebody did that: it is removed, and fetched anew in one piece."""

# Note [Repairs in their place]
# A chunk is put back into the file it belongs to. A crash in the middle leaves it as wrong as it was: it does not match
# its digest, and nothing that does not is sent. What is written is what everybody who reads the chunk is to get, so
# those who are past it, or before it, need not know. Who comes to it while it is wrong is reset.


@define
class RepairCounts:
    """
    What was done so far.

    :ivar chunks: That were put right.
    :ivar failures: Entries that were removed, as that was not possible.
    """

    chunks: int = 0
    failures: int = 0


class Repairs:
    """
    Repairs entries, one task for each that is damaged.

    :param source: Brings chunks.
    :param changed: Told of an entry that is whole again.
    """

    _log = Logger()

    def __init__(self, keeper: Keeper, source: IChunkSource, changed: Callable[[Entry], object]) -> None:
        self.counts: Final = RepairCounts()
        self._keeper = keeper
        self._source = source
        self._changed = changed
        self._running: set[Deferred[None]] = set()
        self._stopped = False

    def begin(self, entry: Entry) -> bool:
        """
        Begin to repair an entry of which some chunks were found wrong, or have a repair that runs see to them, too.
        It is not opened for anybody until it is whole.

        :return: ``False`` where there is nothing to be repaired any more.
        """
        if entry.state is EntryState.DAMAGED:
            return True
        if entry.state is not EntryState.COMPLETE or self._stopped:
            return False
        entry.state = EntryState.DAMAGED
        task = Deferred.fromCoroutine(self._repair(entry))
        self._running.add(task)
        task.addErrback(lambda failure: self._log.failure("a repair broke", failure))
        task.addBoth(lambda _: self._running.discard(task))
        return True

    async def stop(self) -> None:
        """
        Stop all repairs; what is wrong will be found again.
        """
        self._stopped = True
        for task in tuple(self._running):
            task.cancel()
            await task

    async def _repair(self, entry: Entry) -> None:
        try:
            count = await self._mend_all(entry)
        except CancelledError:
            return
        except (CacheError, CatalogDamaged, OSError) as error:
            self.counts.failures += 1
            self._log.error(
                "entry {entry} is removed, as it cannot be repaired: {error}", entry=entry.key, error=str(error)
            )
            self._keeper.discard_soon(entry)
            return
        if entry.state is EntryState.DAMAGED:
            entry.state = EntryState.COMPLETE
            self._log.info("entry {entry} is whole again: {count} chunks were fetched", entry=entry.key, count=count)
            self._changed(entry)

    async def _mend_all(self, entry: Entry) -> int:
        image_id = entry.name.image_id
        count = 0
        bad = self._keeper.reading(entry).verifier.bad
        while bad and entry.state is EntryState.DAMAGED:
            if count + len(bad) > MOST_CHUNKS:
                raise ChunkUnavailable(image_id, f"more than {MOST_CHUNKS} chunks are wrong")
            chunk = min(bad)
            length = chunk_length(entry.size_bytes, chunk)
            if await self._is_right(entry, chunk, length):
                bad.discard(chunk)
                continue
            data = await self._source.fetch(image_id, chunk * CHUNK_BYTES, length)
            if entry.state is EntryState.DAMAGED:  # and not removed meanwhile
                await self._mend(entry, chunk, data)
                bad.discard(chunk)
                count += 1
        return count

    async def _is_right(self, entry: Entry, chunk: int, length: int) -> bool:
        # Another process may have repaired it meanwhile.
        with self._using(entry):
            return await entry.lane.run(self._keeper.reading(entry).files.matches, chunk, length)

    async def _mend(self, entry: Entry, chunk: int, data: bytes) -> None:
        with self._using(entry):
            if not await entry.lane.run(self._keeper.reading(entry).files.mend, chunk, data):
                raise ChunkUnavailable(entry.name.image_id, f"what came is not chunk {chunk} as it was recorded")
        self.counts.chunks += 1

    @contextmanager
    def _using(self, entry: Entry) -> Iterator[None]:
        entry.enter()
        try:
            yield
        finally:
            self._keeper.leave(entry)
