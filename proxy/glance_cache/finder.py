"""
Looking for entries one by one.
"""

from __future__ import annotations

from glance_cache.entry import Entry, EntryState
from glance_cache.folder import CacheFolder
from glance_cache.keeper import Keeper
from glance_cache.names import EntryName
from glance_cache.space import SpaceAccount
from glance_tx.streaming.interfaces import ILane

__all__ = ["Finder"]


class Finder:
    """
    Finds entries that the keeper does not know yet, or knows as they were.

    :param lane: Where the folder is looked through.
    :param shared: Whether other processes change the folder as well.
    """

    def __init__(
        self, folder: CacheFolder, keeper: Keeper, account: SpaceAccount, lane: ILane, *, shared: bool
    ) -> None:
        self._folder = folder
        self._keeper = keeper
        self._account = account
        self._lane = lane
        self._shared = shared

    async def look_up(self, name: EntryName) -> Entry | None:
        """
        Tell what is known of an entry; looks for it where that may be too little.

        :raises FolderUnusable: The disk cannot be read.
        """
        entry = self._keeper.get(name)
        # What another process did need not be known yet; what is complete shows when it is opened.
        current = self._account.settled and not self._shared
        if current or (entry is not None and entry.state is not EntryState.PARTIAL):
            return entry
        return await self.look(name)

    async def look(self, name: EntryName) -> Entry | None:
        """
        Look for an entry on the disk, whatever is known of it.

        :raises FolderUnusable: The disk cannot be read.
        """
        known = self._keeper.known(name)
        try:
            found = await self._lane.run(self._folder.find, name)
        except OSError as error:
            raise self._folder.unusable(error) from error
        return self._keeper.reconcile(name, found, known)
