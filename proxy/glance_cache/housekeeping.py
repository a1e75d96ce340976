"""
What an operator can have done to the entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

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
    """

    def __init__(
        self, keeper: Keeper, room: RoomMaker, clock: IReactorTime, unusable: Callable[[OSError], FolderUnusable]
    ) -> None:
        self._keeper = keeper
        self._room = room
        self._clock = clock
        self._unusable = unusable

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
        right before. Data that is not right is removed, and told of as damaged.

        :return: Whether it is right; ``None`` where there is none.
        :raises FolderUnusable: The disk cannot be read.
        """
        entries = [e for e in self._keeper if e.name.image_id == image_id and e.state is EntryState.COMPLETE]
        verdicts = [await self._verify(entry) for entry in entries]
        return all(verdicts) if verdicts else None

    async def _verify(self, entry: Entry) -> bool:
        entry.enter()
        try:
            files = self._keeper.reading(entry).files
            for chunk in range(chunk_count(entry.size_bytes)):
                # One job for each: those who read the entry get their turn between them.
                if not await entry.lane.run(files.matches, chunk, chunk_length(entry.size_bytes, chunk)):
                    self._keeper.give_up(entry, EntryCorrupt(entry.name.image_id, chunk))
                    return False
        except (CatalogDamaged, FileNotFoundError):
            self._keeper.give_up(entry, EntryCorrupt(entry.name.image_id, 0))
            return False
        except OSError as error:
            raise self._unusable(error) from error
        finally:
            self._keeper.leave(entry)
        return True

    async def _remove(self, entries: Iterable[Entry]) -> Removed:
        chosen = list(entries)
        removed = _removed(chosen)
        await settle([self._keeper.discard(entry) for entry in chosen])
        return removed


def _removed(entries: Sequence[Entry]) -> Removed:
    return Removed(len(entries), sum(entry.room.size_bytes for entry in entries))
