"""
The table of all entries: who uses them, and how they come and go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from glance_cache.catalog import chunk_length
from glance_cache.chores import Chores
from glance_cache.entry import Entry, EntryState, Reading
from glance_cache.errors import CacheError, CacheFull, EntryCorrupt
from glance_cache.files import OUT_OF_SPACE
from glance_cache.folder import CacheFolder, FoundEntry, footprint_bytes
from glance_cache.interfaces import IEvictionPolicy
from glance_cache.names import EntryName
from glance_cache.reader import EntryBody, EntryFiles
from glance_cache.space import Reservation, SpaceAccount
from glance_cache.stamps import Stamp
from glance_cache.verify import Verdict, VerifiedGrowth, Verifier
from glance_tx.streaming.growth import Resident
from glance_tx.streaming.interfaces import IFileBody, IGrowth
from glance_tx.streaming.lanes import Lanes

__all__ = ["Keeper"]


class Keeper:
    """
    Knows every entry that was found or filled, and keeps the account of their room.

    :param folder: Where the files lie.
    :param account: Of the room in it.
    :param policy: Told of every use.
    :param lanes: Where files are touched.
    :param clock: Tells when an entry was used.
    :param chores: Own what must come to its end.
    :param on_corrupt: Told of each entry that is given up because it is damaged.
    """

    _log = Logger()

    def __init__(
        self,
        folder: CacheFolder,
        account: SpaceAccount,
        policy: IEvictionPolicy,
        lanes: Lanes,
        clock: IReactorTime,
        chores: Chores,
        on_corrupt: Callable[[EntryCorrupt], object],
    ) -> None:
        self._folder = folder
        self._account = account
        self._policy = policy
        self._lanes = lanes
        self._clock = clock
        self._chores = chores
        self._on_corrupt = on_corrupt
        self._entries: dict[str, Entry] = {}
        # Names that were removed while the folder was still being looked through: what is told of them is old.
        self._removed_early: set[str] = set()

    def get(self, name: EntryName) -> Entry | None:
        """
        Tell what is known of an entry.
        """
        return self._entries.get(name.stem)

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def evictable(self, is_pinned: Callable[[str], bool]) -> Iterator[Entry]:
        """
        Go through the entries that could be removed for the room they have, the one to go first at the front.

        :param is_pinned: Tells of an image id whether its entries must stay.
        """
        for key in self._policy.candidates():
            entry = self._entries.get(key)
            if entry is not None and entry.at_rest and not is_pinned(entry.name.image_id):
                yield entry

    def adopt(self, found: FoundEntry) -> Entry | None:
        """
        Take over what was found on the disk; ``None`` where it was removed since.
        """
        key = found.name.stem
        if key in self._entries or key in self._removed_early:
            return self._entries.get(key)
        entry = self._add(
            found.name,
            found.size_bytes,
            EntryState.COMPLETE if found.complete else EntryState.PARTIAL,
            self._account.adopt(footprint_bytes(found.size_bytes)),
            found.modified_at,
        )
        entry.present_bytes = found.recorded_bytes
        self._policy.touch(key, found.used_at)
        return entry

    def begin(self, name: EntryName, size_bytes: int, room: Reservation) -> Entry:
        """
        Take in an entry that is about to be filled; it is in use from now on. Its name must not be known.
        """
        entry = self._add(name, size_bytes, EntryState.FILLING, room, self._clock.seconds())
        entry.enter()
        return entry

    def _add(self, name: EntryName, size_bytes: int, state: EntryState, room: Reservation, modified_at: float) -> Entry:
        lane = self._lanes.lane(f"entry-{name.stem}")
        entry = Entry(name, size_bytes, state, room, lane, modified_at)
        self._entries[name.stem] = entry
        return entry

    def touch(self, entry: Entry, at: float | None = None) -> None:
        """
        Take note of a use.

        :param at: In seconds since the epoch; ``None`` for now.
        """
        self._policy.touch(entry.key, self._clock.seconds() if at is None else at)

    def used_before(self, entry: Entry, uses: int) -> None:
        """
        Take note of uses from before the start.
        """
        self._policy.used_before(entry.key, uses)

    def reading(self, entry: Entry) -> Reading:
        """
        Get what it takes to read a complete entry.
        """
        if entry.reading is None:
            files = EntryFiles(self._folder, entry.name)

            def look(chunk: int, known: Stamp | None) -> Deferred[Verdict]:
                return entry.lane.read(files.look_at, chunk, chunk_length(entry.size_bytes, chunk), known)

            def corrupt(error: EntryCorrupt) -> None:
                self.give_up(entry, error)

            entry.reading = Reading(files, Verifier(entry.name.image_id, entry.size_bytes, look, corrupt))
        return entry.reading

    def give_up(self, entry: Entry, error: EntryCorrupt) -> None:
        """
        Remove an entry that is damaged, and tell so.
        """
        self.discard_soon(entry)
        self._on_corrupt(error)

    def lend_verified(self, entry: Entry, descriptor: int, offset: int, length: int) -> IFileBody:
        """
        Make a body of a complete entry: verified before it is sent.
        """

        def stamp() -> Stamp:
            return Stamp.of(self._folder.files.stat(descriptor))

        verified = VerifiedGrowth(self.reading(entry).verifier, stamp, offset, offset + length)
        return self.lend(entry, descriptor, offset, length, verified, verified.stop)

    def lend(
        self,
        entry: Entry,
        descriptor: int,
        offset: int,
        length: int,
        growth: IGrowth,
        closed: Callable[[], object] = lambda: None,
    ) -> IFileBody:
        """
        Make a body of an entry's file (see `EntryKeeper`), in memory before it is sent.

        :param closed: Called when it is closed.
        """

        def leave() -> None:
            closed()
            self.leave(entry)

        entry.enter()
        # What a fill wrote long ago is as cold to its slow readers as anything else on the disk.
        resident = Resident(growth, descriptor, self._lanes.lane(f"read-{entry.key}"))
        return EntryBody(descriptor, offset, length, resident, leave)

    def leave(self, entry: Entry) -> None:
        """
        End one use of an entry (see `EntryKeeper`).
        """
        entry.users -= 1
        if entry.users == 0:
            self._chores.start(self._close(entry))
        else:
            entry.room.drop()

    async def _close(self, entry: Entry) -> None:
        # In a lane: closing the last descriptor of a removed file takes as long as it takes to free its blocks.
        try:
            await entry.lane.run(entry.close_files)
        finally:
            entry.room.drop()

    def published(self, entry: Entry, stamp: Stamp) -> None:
        """
        Take over an entry that has just become complete (see `EntryKeeper`).
        """
        entry.state = EntryState.COMPLETE
        entry.modified_at = self._clock.seconds()
        entry.present_bytes = entry.size_bytes
        self._account.commit(entry.room)
        self.reading(entry).verifier.trust(stamp)
        self.touch(entry)

    def suspended(self, entry: Entry, recorded_bytes: int) -> None:
        """
        Take over a fill that may go on later (see `EntryKeeper`).
        """
        entry.state = EntryState.PARTIAL
        entry.modified_at = self._clock.seconds()
        entry.present_bytes = recorded_bytes
        self._account.commit(entry.room)
        self.touch(entry)

    def discard(self, entry: Entry) -> Deferred[None]:
        """
        Remove an entry. From now on it is not found any more; who uses it can do so to the end.

        Repeating it waits for the first removal, and tries again if that failed: where the files cannot be removed the
        entry stays in the table, as gone, and so does its room.
        """
        if entry.state is EntryState.GONE:
            return self._chores.run(self._settle(entry))
        entry.state = EntryState.GONE
        self._policy.forget(entry.key)
        return self._chores.run(self._remove(entry))

    def discard_soon(self, entry: Entry) -> None:
        """
        Remove an entry without waiting for it.
        """
        self._chores.start(_end_of(self.discard(entry)))

    async def _settle(self, entry: Entry) -> None:
        await entry.lane.run(lambda: None)
        if self._entries.get(entry.key) is entry:
            await self._remove(entry)

    async def _remove(self, entry: Entry) -> None:
        try:
            await entry.lane.run(self._folder.remove, entry.name)
        except OSError as error:
            self._log.error("entry {entry} cannot be removed: {error}", entry=entry.key, error=error)
            return
        entry.room.release()
        if self._entries.get(entry.key) is entry:  # and nobody else was faster
            del self._entries[entry.key]
        if not self._account.settled:
            self._removed_early.add(entry.key)

    def refusal(self, error: OSError, size_bytes: int) -> CacheError:
        """
        Say in our words why something could not be written (see `EntryKeeper`).
        """
        if error.errno in OUT_OF_SPACE:
            wanted = footprint_bytes(size_bytes)
            self._account.disk.refused(wanted)
            return CacheFull(wanted, 0)
        return self._folder.unusable(error)


async def _end_of(work: Deferred[None]) -> None:
    await work
