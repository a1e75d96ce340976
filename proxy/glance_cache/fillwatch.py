"""
A fill that another process of this node makes, as it looks from here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from attrs import frozen

from glance_cache.catalog import HEADER_BYTES, CatalogDamaged, Header
from glance_cache.fillfile import read_mark
from glance_cache.folder import CacheFolder
from glance_cache.interfaces import ImageFacts
from glance_cache.names import EntryName

__all__ = ["FillWatch", "Sight", "WatchedState"]

_CLOSED: Final = -1


class WatchedState(StrEnum):
    """
    What became of a fill.
    """

    FILLING = "filling"
    COMPLETE = "complete"
    """All of the data is there, and was found right; the entry may have been removed since."""
    LEFT = "left"
    """Nobody fills it any more: anybody may go on."""
    GONE = "gone"


@frozen
class Sight:
    """
    One look at a fill.

    :param limit: How far the data may be sent; ``None`` where that could not be read just now.
    """

    state: WatchedState
    limit: int | None


class FillWatch:
    """
    Data and catalog of a fill, open for reading. Every method but `duplicate` blocks, and is called in one lane.

    :param folder: Where the files lie.
    :param name: What they are called.
    :param facts: What the data is to be.
    """

    def __init__(self, folder: CacheFolder, name: EntryName, facts: ImageFacts) -> None:
        self._folder = folder
        self._files = folder.files
        self._name = name
        self._facts = facts
        self._run = b""
        self._data = _CLOSED
        self._catalog = _CLOSED

    def open(self) -> None:
        """
        Open the files.

        :raises FileNotFoundError: There is no such fill any more.
        :raises BlockingIOError: It is being removed just now.
        :raises CatalogDamaged: It is a fill of other data.
        :raises OSError: As the system says.
        """
        try:
            with self._folder.books.turn() as page:
                self._run = page.run
                self._catalog = self._files.open(self._folder.part_path(self._name))
                self._data = self._files.open(self._folder.data_path(self._name))
                self._files.share(self._data)
            self._require_this_data()
        except BaseException:
            self.close()
            raise

    def _require_this_data(self) -> None:
        if Header.decode(self._files.read(self._catalog, HEADER_BYTES, 0)).facts != self._facts:
            raise CatalogDamaged("the catalog is that of other data")

    def look(self) -> Sight:
        """
        See how far it is.
        """
        # In this order: whoever lets go has written the last mark before.
        held = self._is_held()
        limit = read_mark(self._files, self._catalog, self._run)
        if held:
            return Sight(WatchedState.FILLING, limit)
        return Sight(self._outcome(limit), limit)

    def _is_held(self) -> bool:
        try:
            self._files.share(self._catalog)
        except BlockingIOError:
            return True
        self._files.unlock(self._catalog)
        return False

    def _outcome(self, limit: int | None) -> WatchedState:
        inode = self._files.stat(self._catalog).st_ino
        catalog = self._files.stat_path(self._folder.catalog_path(self._name))
        part = self._files.stat_path(self._folder.part_path(self._name))
        if catalog is not None and catalog.st_ino == inode:
            return WatchedState.COMPLETE
        if part is not None and part.st_ino == inode:
            return WatchedState.LEFT
        return WatchedState.COMPLETE if limit == self._facts.size else WatchedState.GONE

    def duplicate(self) -> int:
        """
        Make a descriptor of the data for somebody who reads what is written; the one call made in the reactor.
        """
        return self._files.duplicate(self._data)

    def close(self) -> None:
        """
        Close the files. Harmless when repeated.
        """
        data, catalog, self._data, self._catalog = self._data, self._catalog, _CLOSED, _CLOSED
        self._files.close(data, catalog)
