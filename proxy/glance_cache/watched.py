"""
The one who follows a fill of another process.
"""

from __future__ import annotations

from collections.abc import Callable

from glance_cache.entry import Entry
from glance_cache.fillwatch import FillWatch, Sight
from glance_cache.interfaces import ImageFacts
from glance_cache.writer import EntryKeeper
from glance_tx.streaming.interfaces import IFileBody, IGrowth

__all__ = ["Watched"]


class Watched:
    """
    A fill of another process, with bodies for clients of this one. It does for readers what an `EntryWriter` does.

    :param facts: What the data is to be.
    :param entry: In use until `close`.
    :param watch: Open.
    """

    def __init__(self, facts: ImageFacts, entry: Entry, watch: FillWatch, keeper: EntryKeeper) -> None:
        self.facts = facts
        self._entry = entry
        self._watch = watch
        self._keeper = keeper
        self._closed = False

    async def look(self) -> Sight:
        """
        See how far the fill is.

        :raises FolderUnusable: The disk cannot be read.
        """
        try:
            sight = await self._entry.lane.run(self._watch.look)
        except OSError as error:
            raise self._keeper.refusal(error, self.facts.size) from error
        if sight.limit is not None:
            self._entry.present_bytes = max(self._entry.present_bytes, sight.limit)
        return sight

    def open_body(
        self, offset: int, length: int, growth: IGrowth, closed: Callable[[], object] = lambda: None
    ) -> IFileBody:
        """
        Make a body of the file as it grows (see `EntryWriter.open_body`).

        :raises FolderUnusable: There are too many open files.
        """
        try:
            descriptor = self._watch.duplicate()
        except OSError as error:
            raise self._keeper.refusal(error, self.facts.size) from error
        return self._keeper.lend(self._entry, descriptor, offset, length, growth, closed)

    def close(self) -> None:
        """
        Look no more. Bodies go on. Harmless when repeated.
        """
        if not self._closed:
            self._closed = True
            self._entry.ended_fills.append(self._watch)
            self._keeper.leave(self._entry)
