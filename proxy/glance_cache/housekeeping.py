"""
What an operator can have done to the entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from glance_cache.catalog import CatalogDamaged, chunk_count, chunk_length
from glance_cache.entry import Entry, EntryState
from glance_cache.errors import EntryCorrupt, FolderUnusable
from glance_cache.keeper import Keeper
from glance_cache.room import RoomMaker
from glance_tx.streaming.settle import settle

__all__ = ["Housekeeping", "Removed"]


@frozen
class Removed:
    """
    What was removed.

    :param size_bytes: The room that it had.
    """

    entries: int
    size_bytes: int


class Housekeeping:
    """
    Cleans, prunes and verifies.

    :param unusable: Says in our words what the system says of the folder.
    :param on_corrupt: Told of entries whose catalog is damaged.
    """

    _log = Logger()

    def __init__(
        self,
        keeper: Keeper,
        room: RoomMaker,
        clock: IReactorTime,
        unusable: Callable[[OSError], FolderUnusable],
        on_corrupt: Callable[[EntryCorrupt], object],
    ) -> None:
        self._keeper = keeper
        self._room = room
        self._clock = clock
        self._unusable = unusable
        self._on_corrupt = on_corrupt

    async def clean(self, older_than_seconds: float) -> Removed:
        """
        Remove fills that were left, and not gone on with for this long.
        """
        limit = self._clock.seconds() - older_than_seconds
        return await self._remove(
            entry
            for entry in self._keeper
            if entry.state is EntryState.PARTIAL and entry.at_rest and entry.modified_at <= limit
        )

    async def prune(self) -> Removed:
        """
        Get below the limit, as far as that can be: entries that are used or pinned stay.

        :raises FolderUnusable: The folder cannot be read.
        """
        try:
            evicted = await self._room.trim()
        except OSError as error:
            raise self._unusable(error) from error
        return _removed(evicted)

    async def free_bytes(self) -> int:
        """
        Tell how much room the disk has left, whoever takes the rest.

        :raises FolderUnusable: The disk cannot be asked.
        """
        try:
            return await self._room.free_bytes()
        except OSError as error:
            raise self._unusable(error) from error

    async def would_go(self, size_bytes: int) -> Sequence[str]:
        """
        Tell which images would be evicted for a fill, the first one first; nothing is done.

        :param size_bytes: Room that the fill would take.
        :raises CacheFull: There is not enough that may go.
        :raises FolderUnusable: The disk cannot be asked.
        """
        try:
            return [entry.name.image_id for entry in await self._room.would_go(size_bytes)]
        except OSError as error:
            raise self._unusable(error) from error

    async def verify(self, image_id: str) -> bool | None:
        """
        Read all of an image's complete data, and hold it against what was recorded when it came, whatever was found
        right before. Chunks that are not right are told of, and repaired where that can be; else the data is removed.

        :return: Whether it is right; ``None`` where there is none.
        :raises FolderUnusable: The disk cannot be read.
        """
        whole = {EntryState.COMPLETE, EntryState.DAMAGED}
        entries = [e for e in self._keeper if e.name.image_id == image_id and e.state in whole]
        verdicts = [await self._verify(entry) for entry in entries]
        return all(verdicts) if verdicts else None

    async def _verify(self, entry: Entry) -> bool:
        entry.enter()
        try:
            reading = self._keeper.reading(entry)
            right = True
            for chunk in range(chunk_count(entry.size_bytes)):
                # One job for each: those who read the entry get their turn between them.
                if not await entry.lane.run(reading.files.matches, chunk, chunk_length(entry.size_bytes, chunk)):
                    right = False
                    reading.verifier.spoil(chunk)
                    if entry.state is EntryState.GONE:
                        break
            return right
        except (CatalogDamaged, FileNotFoundError) as error:
            self._log.error("entry {entry} is removed: {error}", entry=entry.key, error=str(error))
            self._keeper.discard_soon(entry)
            self._on_corrupt(EntryCorrupt(entry.name.image_id, 0))
            return False
        except OSError as error:
            raise self._unusable(error) from error
        finally:
            self._keeper.leave(entry)

    async def _remove(self, entries: Iterable[Entry]) -> Removed:
        chosen = list(entries)
        removed = _removed(chosen)
        await settle([self._keeper.discard(entry) for entry in chosen])
        return removed


def _removed(entries: Sequence[Entry]) -> Removed:
    return Removed(len(entries), sum(entry.room.size_bytes for entry in entries))
