"""
What is kept in memory of one entry.
"""

from __future__ import annotations

from enum import StrEnum

from attrs import define, field, frozen

from glance_cache.fillfile import FillFile
from glance_cache.fillwatch import FillWatch
from glance_cache.names import EntryName
from glance_cache.reader import EntryFiles
from glance_cache.space import Reservation
from glance_cache.verify import Verifier
from glance_tx.streaming.interfaces import ILane

__all__ = ["Entry", "EntryInfo", "EntryState", "Reading"]


class EntryState(StrEnum):
    """
    How far an entry is.
    """

    COMPLETE = "complete"
    PARTIAL = "partial"
    """A fill that was begun, and that nobody goes on with now."""
    FILLING = "filling"
    DAMAGED = "damaged"
    """Some of its data is wrong, and is being fetched again."""
    GONE = "gone"
    """Its files are removed, or about to be; who has them open uses them on."""


@frozen(kw_only=True)
class EntryInfo:
    """
    An entry as others may know it.

    :param key: See `Entry.key`.
    :param size_bytes: Of the data when it is whole.
    :param present_bytes: How much of it is there.
    :param verified: Whether whole data was held against a hash of the image service, and not its length alone.
    :param last_verified: When all of the data was last found right, in seconds since the epoch; ``None`` where that is
        not known yet.
    :param last_modified: When the data was last written, in seconds since the epoch.
    :param users: How many bodies are being read from it, and fills written to it.
    :param readers: How many bodies are being read from it.
    """

    key: str
    image_id: str
    size_bytes: int
    present_bytes: int
    state: EntryState
    verified: bool
    pinned: bool
    last_verified: float | None
    last_modified: float
    users: int
    readers: int


@frozen
class Reading:
    """
    What it takes to read a complete entry; kept for as long as the entry is known, with what was found right.
    """

    files: EntryFiles
    verifier: Verifier


@define(eq=False)
class Entry:
    """
    One entry, from the beginning of its fill, or its discovery on the disk, to the removal of its files.

    :param lane: Where its files are touched, one job at a time: what is asked for first is done first.
    :param room: Held by everyone who uses the entry, until the files are closed.
    :param users: How many use it now: it is not evicted meanwhile.
    :param readers: How many of those are bodies that clients read.
    :param verified_at: When all of it was last found right, by its fill or a scrub; ``None`` where nobody looked yet.
    :param inode: Of its data; 0 for as long as a fill has not created it.
    :param ended_fills: Those whose files are closed together with the last user's, of this process and of others.
    """

    name: EntryName
    size_bytes: int
    state: EntryState
    room: Reservation
    lane: ILane
    modified_at: float
    present_bytes: int = 0
    users: int = 0
    readers: int = 0
    verified_at: float | None = None
    reading: Reading | None = None
    inode: int = 0
    ended_fills: list[FillFile | FillWatch] = field(factory=list)

    @property
    def key(self) -> str:
        """
        What the entry is called in tables.
        """
        return self.name.stem

    @property
    def at_rest(self) -> bool:
        """
        Whether nobody uses it, and it is not gone.
        """
        return self.users == 0 and self.state in {EntryState.COMPLETE, EntryState.PARTIAL, EntryState.DAMAGED}

    def enter(self) -> None:
        """
        Begin to use the entry.
        """
        self.users += 1
        self.room.hold()

    def close_files(self) -> None:
        """
        Close everything that is not in use any more. Blocks; called in the entry's lane.
        """
        fills, self.ended_fills = self.ended_fills, []
        for fill in fills:
            fill.close()
        if self.reading is not None:
            self.reading.files.close()
