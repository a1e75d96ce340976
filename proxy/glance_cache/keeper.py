"""
The table of all entries: who uses them, and how they come and go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, TypeAlias

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from glance_cache.catalog import chunk_length
from glance_cache.chores import Chores
from glance_cache.content import FoundEntry, footprint_bytes
from glance_cache.entry import Entry, EntryState, Reading
from glance_cache.errors import CacheError, CacheFull, EntryCorrupt
from glance_cache.files import OUT_OF_SPACE
from glance_cache.folder import CacheFolder
from glance_cache.interfaces import IEvictionPolicy
from glance_cache.keptopen import KeptOpen
from glance_cache.names import EntryName
from glance_cache.reader import EntryBody, EntryFiles
from glance_cache.space import Reservation, SpaceAccount
from glance_cache.stamps import Stamp
from glance_cache.verify import Verdict, VerifiedGrowth, Verifier
from glance_tx.streaming.growth import Resident
from glance_tx.streaming.interfaces import IFileBody, IGrowth
from glance_tx.streaming.lanes import Lanes

__all__ = ["Keeper", "Known"]

Known: TypeAlias = tuple[Entry, EntryState, int]
"""An entry, and what changes in it when it changes on the disk."""


class Keeper:
    """
    Knows every entry that was found or filled, and keeps the account of their room.

    :param folder: Where the files lie.
    :param account: Of the room in it.
    :param policy: Told of every use.
    :param lanes: Where files are touched.
    :param clock: Tells when an entry was used.
    :param chores: Own what must come to its end.
    :param on_damage: Told of each entry of which a chunk was found wrong: to repair it, or to have it removed.
    :param changed: Told of each entry whose files were changed.
    :param on_spoiled: Told of each chunk that was found wrong.
    :ivar kept_open: Entries whose files need not be opened.
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
        on_damage: Callable[[Entry, EntryCorrupt], object],
        changed: Callable[[EntryName], object],
        on_spoiled: Callable[[EntryName, int], object],
    ) -> None:
        self.changed: Final = changed
        self._on_spoiled = on_spoiled
        self._folder = folder
        self._account = account
        self._policy = policy
        self._lanes = lanes
        self._clock = clock
        self._chores = chores
        self._on_damage = on_damage
        self._entries: dict[str, Entry] = {}
        self.kept_open: Final = KeptOpen(clock, self._let_go)
        # Names that were removed while the folder was still being looked through: what is told of them is old.
        self._removed_early: set[str] = set()

    def get(self, name: EntryName) -> Entry | None:
        """
        Tell what is known of an entry.
        """
        return self.find(name.stem)

    def find(self, key: str) -> Entry | None:
        """
        Tell what is known of an entry by its key.
        """
        return self._entries.get(key)

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def of_bucket(self, bucket: str) -> Iterator[Entry]:
        """
        Go through the entries that lie in one bucket.
        """
        return (entry for entry in self if entry.name.bucket == bucket)

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
        entry.inode = found.inode
        entry.present_bytes = found.recorded_bytes
        self._policy.touch(key, found.used_at)
        return entry

    def reconcile(self, name: EntryName, found: FoundEntry | None, known: Known | None) -> Entry | None:
        """
        Take note of what another process may have done to an entry.

        :param found: What was just found on the disk; ``None`` for nothing.
        :param known: What `known` told before that was looked for; what happened here since counts for more.
        """
        entry = self.get(name)
        if self.known(name) != known or (entry is not None and entry.state is EntryState.GONE):
            return entry
        if entry is not None and entry.inode and (found is None or found.inode != entry.inode):
            self.forget(entry)
            entry = None
        if found is None or entry is None:
            return entry if found is None else self.adopt(found)
        if entry.state is EntryState.PARTIAL:
            entry.state = EntryState.COMPLETE if found.complete else EntryState.PARTIAL
            entry.present_bytes, entry.modified_at = found.recorded_bytes, found.modified_at
        self._policy.touch(entry.key, found.used_at)
        return entry

    def known(self, name: EntryName) -> Known | None:
        """
        Tell what is known of an entry in a form that shows any change.
        """
        entry = self.get(name)
        return None if entry is None else (entry, entry.state, entry.inode)

    def forget(self, entry: Entry) -> None:
        """
        Know an entry no more whose files are not there. Who uses it can do so to the end.
        """
        self._gone(entry)
        self._drop(entry)

    def _gone(self, entry: Entry) -> None:
        entry.state = EntryState.GONE
        self._policy.forget(entry.key)
        # Closed before its removal, which frees the room, and which open files keep from being an eviction.
        self.kept_open.end(entry)

    def _drop(self, entry: Entry) -> None:
        entry.room.release()
        if self._entries.get(entry.key) is entry:  # and nobody else was faster
            del self._entries[entry.key]

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
                self._on_damage(entry, error)

            spoiled = partial(self._on_spoiled, entry.name)
            entry.reading = Reading(files, Verifier(entry.name.image_id, entry.size_bytes, look, corrupt, spoiled))
        return entry.reading

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
            entry.readers -= 1
            self.leave(entry)

        entry.enter()
        entry.readers += 1
        # What a fill wrote long ago is as cold to its slow readers as anything else on the disk.
        resident = Resident(growth, descriptor, self._lanes.lane(f"read-{entry.key}"))
        return EntryBody(descriptor, offset, length, resident, leave)

    def leave(self, entry: Entry) -> None:
        """
        End one use of an entry (see `EntryKeeper`).
        """
        entry.users -= 1
        self._let_go(entry)

    def _let_go(self, entry: Entry) -> None:
        if entry.users == 0 and entry not in self.kept_open:
            self._chores.start(self._close(entry))
        else:
            entry.room.drop()

    async def _close(self, entry: Entry) -> None:
        # In a lane: closing the last descriptor of a removed file takes as long as it takes to free its blocks.
        try:
            await entry.lane.run(self._close_files, entry)
        except OSError as error:
            self._log.error("entry {entry} still takes room: {error}", entry=entry.key, error=error)
        finally:
            entry.room.drop()

    def _close_files(self, entry: Entry) -> None:
        entry.close_files()
        if entry.state is EntryState.GONE:
            self._folder.sweep()

    def published(self, entry: Entry, stamp: Stamp) -> None:
        """
        Take over an entry that has just become complete (see `EntryKeeper`).
        """
        entry.state = EntryState.COMPLETE
        entry.modified_at = self._clock.seconds()
        entry.present_bytes = entry.size_bytes
        entry.verified_at = entry.modified_at
        self._account.commit(entry.room)
        self.reading(entry).verifier.trust(stamp)
        self.touch(entry)
        self.changed(entry.name)

    def suspended(self, entry: Entry, recorded_bytes: int) -> None:
        """
        Take over a fill that may go on later (see `EntryKeeper`).
        """
        entry.state = EntryState.PARTIAL
        entry.modified_at = self._clock.seconds()
        entry.present_bytes = recorded_bytes
        self._account.commit(entry.room)
        self.touch(entry)
        self.changed(entry.name)

    def evict(self, entry: Entry) -> Deferred[None]:
        """
        Remove an entry that nobody uses here, unless another process does.
        """
        self._gone(entry)
        return self._chores.run(self._remove(entry, unused=True))

    def discard(self, entry: Entry) -> Deferred[None]:
        """
        Remove an entry. From now on it is not found any more; who uses it can do so to the end.

        Repeating it waits for the first removal, and tries again if that failed: where the files cannot be removed the
        entry stays in the table, as gone, and so does its room.
        """
        if entry.state is EntryState.GONE:
            return self._chores.run(self._settle(entry))
        self._gone(entry)
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

    async def _remove(self, entry: Entry, *, unused: bool = False) -> None:
        folder, name = self._folder, entry.name
        try:
            if not await entry.lane.run(folder.remove, name, entry.inode, unused=unused):
                await self._restore(entry)
                return
        except OSError as error:
            self._log.error("entry {entry} cannot be removed: {error}", entry=entry.key, error=error)
            return
        self._drop(entry)
        if not self._account.settled:
            self._removed_early.add(entry.key)
        self.changed(name)

    async def _restore(self, entry: Entry) -> None:
        # Another process uses it: that is a use like any other.
        found = await entry.lane.run(self._folder.find, entry.name)
        self._drop(entry)
        if found is not None:
            self.adopt(found)
            self._policy.touch(entry.key, self._clock.seconds())

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
