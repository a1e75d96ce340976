"""
Entries whose files stay open between one reader and the next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from glance_cache.entry import Entry, EntryState

__all__ = ["KEEP_ENTRIES", "KEEP_SECONDS", "KeptOpen"]

KEEP_SECONDS: Final = 2.0
"""
How long an entry's files stay open for the next reader, counted from when they were opened.

Opening and closing take two trips to a thread, which cost more than a small range does. Whoever reads ranges is back in
far less time; and every so often an entry's time of use, which opening it notes, has to be noted anew.
"""

KEEP_ENTRIES: Final = 128
"""Most entries of which that is so: two files each, little of what a process may have open."""


class KeptOpen:
    """
    Knows which entries' files are open and stay so for now. They can be asked for one more descriptor without a thread,
    for no job closes them meanwhile.

    :param clock: Ends the time of each.
    :param let_go: Ends the hold of an entry's room that each has, and has its files closed if nobody uses it.
    """

    def __init__(self, clock: IReactorTime, let_go: Callable[[Entry], None]) -> None:
        self._clock = clock
        self._let_go = let_go
        self._kept: dict[Entry, IDelayedCall] = {}
        self._most = KEEP_ENTRIES

    def __contains__(self, entry: Entry) -> bool:
        return entry in self._kept

    def add(self, entry: Entry) -> None:
        """
        Keep the files of an entry open that were just opened, by one who uses it, for those who come soon.
        """
        if entry.state is EntryState.COMPLETE and entry not in self._kept and len(self._kept) < self._most:
            entry.room.hold()
            self._kept[entry] = self._clock.callLater(KEEP_SECONDS, self.end, entry)

    def end(self, entry: Entry) -> None:
        """
        Keep the files of an entry open for its users only. Harmless where that is so.
        """
        ending = self._kept.pop(entry, None)
        if ending is None:
            return
        if ending.active():
            ending.cancel()
        self._let_go(entry)

    def stop(self) -> None:
        """
        Do that for all, and keep none any more.
        """
        self._most = 0
        for entry in tuple(self._kept):
            self.end(entry)
