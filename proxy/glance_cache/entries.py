"""
The entries of one cache: found, read, filled and removed, within the space there is.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from glance_cache.beginnings import Beginnings
from glance_cache.catalog import CatalogDamaged, chunk_count
from glance_cache.chores import Chores
from glance_cache.content import BucketContent
from glance_cache.entry import Entry, EntryInfo, EntryState
from glance_cache.errors import EntryCorrupt
from glance_cache.finder import Finder
from glance_cache.folder import CacheFolder
from glance_cache.housekeeping import Housekeeping
from glance_cache.interfaces import HitTotals, IChunkSource, IEvictionPolicy, ImageFacts, ISiblings
from glance_cache.keeper import Keeper, Known
from glance_cache.names import EntryName
from glance_cache.repairs import Repairs
from glance_cache.room import RoomMaker
from glance_cache.scrub import Scrubber, ScrubTools
from glance_cache.space import SpaceAccount
from glance_cache.watched import Watched
from glance_cache.writer import EntryWriter
from glance_tx.streaming.interfaces import IFileBody
from glance_tx.streaming.lanes import Lanes
from glance_tx.streaming.pump import Sink
from glance_tx.streaming.settle import settle

__all__ = ["EntryStore"]

_CHANGED: Final = "entry"
"""What siblings tell each other of entries that are to be looked at again."""

_PINNED: Final = "pins"
"""And of pins that changed."""

_SPOILED: Final = "spoiled"
"""And of chunks that were found wrong: a name, and a number."""


class EntryStore:
    """
    All that the caching tier does with its folder.

    The files are the truth. Entries are found by their names from the first moment on; `scan`, which goes on beside
    that, finds out about all of them, and until it has, no fill begins.

    :param folder: Where entries lie.
    :param account: New; how much room they may take.
    :param policy: New; what goes first.
    :param lanes: Where files are touched.
    :param clock: Tells when an entry was used.
    :param on_corrupt: Told of each entry of which a chunk was found damaged.
    :param low_water_bytes: See `RoomMaker`; ``None`` to remove no more than needed.
    :param high_water_bytes: See `RoomMaker`; ``None`` for all there is.
    :param on_evict: Told of each image that is removed to make room, and of the room it had.
    :param siblings: The other processes that use the folder, which their parent has taken; ``None`` for none.
    :param chunks: Brings what is damaged once more; ``None`` to have damaged entries removed.
    """

    _log = Logger()

    def __init__(
        self,
        folder: CacheFolder,
        account: SpaceAccount,
        policy: IEvictionPolicy,
        lanes: Lanes,
        clock: IReactorTime,
        on_corrupt: Callable[[EntryCorrupt], object],
        low_water_bytes: int | None = None,
        on_evict: Callable[[str, int], object] = lambda image_id, size_bytes: None,
        high_water_bytes: int | None = None,
        siblings: ISiblings | None = None,
        chunks: IChunkSource | None = None,
    ) -> None:
        self.account = account
        self._siblings = siblings
        self._folder = folder
        self._clock = clock
        self._lane = lanes.lane("cache-folder")
        self._chores = Chores()
        self._keeper = Keeper(
            folder, account, policy, lanes, clock, self._chores, self._damaged, self._tell, self._tell_of_spoiled
        )
        self._on_corrupt = on_corrupt
        self.repairs = None if chunks is None else Repairs(self._keeper, chunks, lambda entry: self._tell(entry.name))
        low_water_bytes = account.max_bytes if low_water_bytes is None else low_water_bytes
        high_water_bytes = account.max_bytes if high_water_bytes is None else high_water_bytes
        self._room = RoomMaker(account, self._keeper, folder, self._lane, low_water_bytes, high_water_bytes, on_evict)
        self.housekeeping = Housekeeping(self._keeper, self._room, clock, folder.unusable, on_corrupt)
        self._finder = Finder(folder, self._keeper, account, self._lane, shared=siblings is not None)
        self._beginnings = Beginnings(
            folder, self._keeper, self._room, account, self._finder, clock, self._chores, self._tell
        )
        self._lock = -1

    async def start(self) -> None:
        """
        Take the folder.

        :raises FolderUnusable: It is not fit, or in use by another daemon.
        """
        if self._siblings is None:
            self._lock = await self._lane.run(self._folder.take)
        else:
            self._siblings.hear(_CHANGED, self._hear)
            self._siblings.hear(_PINNED, self._hear_of_pins)
            self._siblings.hear(_SPOILED, self._hear_of_spoiled)
        await self._with_disk(self._room.load_pins())

    def _tell(self, name: EntryName) -> None:
        if self._siblings is not None:
            self._siblings.tell(_CHANGED, name.stem)

    def _hear(self, stem: object) -> None:
        name = EntryName.parse(str(stem))
        if name is not None:
            self._chores.start(self._finder.look(name))

    def _tell_of_spoiled(self, name: EntryName, chunk: int) -> None:
        if self._siblings is not None:
            self._siblings.tell(_SPOILED, [name.stem, chunk])

    def _hear_of_spoiled(self, value: object) -> None:
        match value:
            case [str(stem), int(chunk)]:
                name = EntryName.parse(stem)
                entry = None if name is None else self._keeper.get(name)
                if entry is not None and entry.reading is not None and chunk < chunk_count(entry.size_bytes):
                    entry.reading.verifier.doubt(chunk)

    def _hear_of_pins(self, _: object) -> None:
        self._chores.start(self._room.load_pins())

    async def stop(self) -> None:
        """
        Wait for what is under way, and let go of the folder. Fills are to be ended, and bodies closed, before.
        """
        self._keeper.kept_open.stop()
        if self.repairs is not None:
            await self.repairs.stop()
        await self._chores.done()
        lock, self._lock = self._lock, -1
        await self._lane.run(self._folder.files.close, lock)

    def _damaged(self, entry: Entry, error: EntryCorrupt) -> None:
        self._on_corrupt(error)
        if self.repairs is None or not self.repairs.begin(entry):
            self._keeper.discard_soon(entry)

    def scrubber(self, bytes_per_second: float, interval_seconds: float) -> Scrubber:
        """
        Make what scrubs the entries (see `Scrubber`); it is stopped before the store.
        """
        tools = ScrubTools(self._folder, self._keeper, self.account, self._lane, self._clock)
        return Scrubber(tools, bytes_per_second, interval_seconds)

    async def scan(self) -> None:
        """
        Find out what there is, remove what is no use, and let fills begin. To be done once.

        :raises FolderUnusable: The folder cannot be read; no fill will begin.
        """
        await self._chores.run(self._scan())

    async def _scan(self) -> None:
        try:
            while await self._lane.run(self._folder.clear_outdated):
                pass  # others have their turn in the lane
            await self._examine_all()
        except OSError as error:
            failure = self._folder.unusable(error)
            self.account.fail(failure)
            raise failure from error
        self.account.settle()
        await self.housekeeping.prune()

    def sibling_died(self) -> None:
        """
        Find out, without waiting for it, what a process left that was killed.
        """
        self._chores.start(self.look_again())

    async def look_again(self) -> None:
        """
        Find out what another process left that ended without a word, and remove what is no use.

        :raises FolderUnusable: The folder cannot be read.
        """
        await self.account.when_settled()
        await self._with_disk(self._examine_all())

    async def _examine_all(self) -> None:
        for path in await self._lane.run(self._folder.sweep):
            self._log.info("removed {path}: nobody reads it any more, and its entry was removed before", path=str(path))
        for bucket in await self._lane.run(self._folder.buckets):
            known = {entry.name: self._keeper.known(entry.name) for entry in self._keeper.of_bucket(bucket)}
            # One job for each, so that whoever waits for the folder gets his turn between them.
            self._take_in(await self._lane.run(self._folder.examine, bucket), known)

    def _take_in(self, content: BucketContent, known: Mapping[EntryName, Known | None]) -> None:
        there = {found.name: found for found in content.entries}
        for name in there.keys() | known.keys():
            self._keeper.reconcile(name, there.get(name), known.get(name))
        for garbage in content.garbage:
            self._log.warn("removed {name}: {reason}", name=garbage.name.stem, reason=garbage.reason)
        for path in content.foreign:
            self._log.warn("{path} is not the cache's and is left alone", path=path)

    async def open(self, facts: ImageFacts, offset: int = 0, length: int | None = None) -> IFileBody | None:
        """
        Open a complete entry for one reader.

        :param facts: What the data must be.
        :param offset: Of the first byte wanted.
        :param length: How many; ``None`` for all the rest.
        :return: A body whose bytes are let go only after they were found right; ``None`` where there is no complete
            entry. The growth of the body fails with `EntryCorrupt` or `EntryChanged` where they are not right.
        :raises FolderUnusable: The disk cannot be read, or too many files are open.
        """
        if length is None:
            length = facts.size - offset
        if not 0 <= offset <= offset + length <= facts.size:
            raise ValueError(f"there are no {length} bytes at {offset} of {facts.size}")
        return await self._chores.run(self._open(facts, offset, length), unwanted=_close)

    async def _open(self, facts: ImageFacts, offset: int, length: int) -> IFileBody | None:
        entry = await self._finder.look_up(EntryName.of(facts))
        if entry is None or entry.state is not EntryState.COMPLETE:
            return None
        entry.enter()
        try:
            files = self._keeper.reading(entry).files
            if entry in self._keeper.kept_open:
                descriptor = files.open(facts)
            else:
                descriptor = await entry.lane.run(files.open, facts)
                self._keeper.kept_open.add(entry)
            self._keeper.touch(entry)
            return self._keeper.lend_verified(entry, descriptor, offset, length)
        except (CatalogDamaged, FileNotFoundError) as error:
            self._log.error("entry {entry} is removed: {error}", entry=entry.key, error=error)
            self._keeper.discard_soon(entry)
            return None
        except OSError as error:
            raise self._folder.unusable(error) from error
        finally:
            self._keeper.leave(entry)

    def is_damaged(self, facts: ImageFacts) -> bool:
        """
        Whether some data is here, and a part of it wrong and about to be repaired. It is not opened until then.
        """
        entry = self._keeper.get(EntryName.of(facts))
        return entry is not None and entry.state is EntryState.DAMAGED

    def present_bytes(self, facts: ImageFacts) -> int:
        """
        Tell how much of some data lay here when its entry was last at rest; 0 where nothing is known of it.
        """
        entry = self._keeper.get(EntryName.of(facts))
        return 0 if entry is None or entry.state is EntryState.GONE else entry.present_bytes

    async def begin(self, facts: ImageFacts, sinks: Sequence[Sink] = ()) -> EntryWriter:
        """
        Begin to fill an entry, or go on where an earlier fill stopped (see `Beginnings.begin`).
        """
        return await self._beginnings.begin(facts, sinks)

    async def watch(self, facts: ImageFacts) -> Watched | None:
        """
        Follow the fill that another process makes.

        :return: To be closed; ``None`` where there is none by now.
        :raises FolderUnusable: The disk cannot be read.
        """
        return await self._chores.run(self._beginnings.watch(facts), unwanted=_close)

    async def remove(self, image_id: str) -> int:
        """
        Remove all entries of an image. Who reads them can read on; a fill finds out when it commits.

        :return: How many there were.
        :raises FolderUnusable: The disk cannot be read.
        """
        if not self.account.settled or self._siblings is not None:
            try:
                for found in await self._lane.run(self._folder.find_image, image_id):
                    await self._finder.look(found.name)
            except OSError as error:
                raise self._folder.unusable(error) from error
        return await self._discard_all(entry for entry in self._keeper if entry.name.image_id == image_id)

    async def clear(self) -> int:
        """
        Remove every entry, as `remove` does; waits for the end of the scan.

        :return: How many there were.
        """
        await self.account.when_settled()
        if self._siblings is not None:
            await self.look_again()
        return await self._discard_all(self._keeper)

    async def _discard_all(self, entries: Iterable[Entry]) -> int:
        there = [entry for entry in entries if entry.state is not EntryState.GONE]
        await settle([self._keeper.discard(entry) for entry in there])
        return len(there)

    async def pin(self, image_id: str) -> None:
        """
        Keep an image's entries, those to come included, from eviction, over restarts too.

        :raises FolderUnusable: That cannot be written down.
        """
        await self._with_disk(self._room.pin(image_id))
        self._tell_of_pins()

    async def unpin(self, image_id: str) -> None:
        """
        End what `pin` began. Harmless where nothing was pinned.

        :raises FolderUnusable: That cannot be written down.
        """
        await self._with_disk(self._room.unpin(image_id))
        self._tell_of_pins()

    def _tell_of_pins(self) -> None:
        if self._siblings is not None:
            self._siblings.tell(_PINNED, None)

    def is_pinned(self, image_id: str) -> bool:
        """
        Whether `pin` was asked for an image.
        """
        return self._room.is_pinned(image_id)

    async def _with_disk(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await self._chores.run(work)
        except OSError as error:
            raise self._folder.unusable(error) from error

    def refine(self, totals: Mapping[str, HitTotals]) -> None:
        """
        Take note of uses that were counted before the start, by image id.
        """
        for entry in self._keeper:
            if entry.at_rest and (known := totals.get(entry.name.image_id)) is not None:
                self._keeper.touch(entry, known.last_at)
                self._keeper.used_before(entry, known.hits)

    def states(self) -> Mapping[str, EntryState]:
        """
        Tell the states of the entries known by now, by a name that begins with the image id; cheaper than `inventory`.
        """
        return {entry.key: entry.state for entry in self._keeper if entry.state is not EntryState.GONE}

    def complete_images(self) -> AbstractSet[str]:
        """
        Tell which images are here, whole.
        """
        return {entry.name.image_id for entry in self._keeper if entry.state is EntryState.COMPLETE}

    def pinned_count(self) -> int:
        """
        Tell how many entries are pinned.
        """
        return sum(
            entry.state is not EntryState.GONE and self._room.is_pinned(entry.name.image_id) for entry in self._keeper
        )

    def in_use(self) -> Sequence[EntryInfo]:
        """
        List the entries that are being filled, read or repaired; cheaper than `inventory`.
        """
        at_work = {EntryState.FILLING, EntryState.DAMAGED}
        return [
            self._info(entry)
            for entry in self._keeper
            if entry.state in at_work or (entry.readers and entry.state is not EntryState.GONE)
        ]

    def info(self, key: str) -> EntryInfo | None:
        """
        Tell of one entry; ``None`` where it is not known.
        """
        entry = self._keeper.find(key)
        return None if entry is None or entry.state is EntryState.GONE else self._info(entry)

    def inventory(self) -> Sequence[EntryInfo]:
        """
        List the entries known by now, in no order.
        """
        return [self._info(entry) for entry in self._keeper if entry.state is not EntryState.GONE]

    def _info(self, entry: Entry) -> EntryInfo:
        return EntryInfo(
            key=entry.key,
            image_id=entry.name.image_id,
            size_bytes=entry.size_bytes,
            present_bytes=entry.present_bytes,
            state=entry.state,
            verified=entry.name.verified,
            pinned=self._room.is_pinned(entry.name.image_id),
            last_verified=entry.verified_at,
            last_modified=entry.modified_at,
            users=entry.users,
            readers=entry.readers,
        )


def _close(opened: IFileBody | Watched | None) -> None:
    if opened is not None:
        opened.close()
