"""
Making room for a fill.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from glance_cache.entry import Entry
from glance_cache.errors import CacheFull
from glance_cache.eviction import choose_victims
from glance_cache.folder import CacheFolder
from glance_cache.keeper import Keeper
from glance_cache.pins import Pins
from glance_cache.space import Reservation, SpaceAccount
from glance_tx.streaming.interfaces import ILane
from glance_tx.streaming.settle import settle

__all__ = ["RoomMaker"]


class RoomMaker:
    """
    Reserves room, and removes what is worth least where there is too little.

    :param lane: Where the disk is asked.
    :param low_water_bytes: Once something has to go, go on until what is left, and what is about to come, is not
        more than this. No more than needed goes where that is the account's limit.
    :param high_water_bytes: What a fill may take the cache to before something goes, if it can.
    :param on_evict: Told of each image that goes, and of the room it had.
    """

    _log = Logger()

    def __init__(
        self,
        account: SpaceAccount,
        keeper: Keeper,
        folder: CacheFolder,
        lane: ILane,
        low_water_bytes: int,
        high_water_bytes: int,
        on_evict: Callable[[str, int], object],
    ) -> None:
        self._on_evict = on_evict
        self._account = account
        self._keeper = keeper
        self._folder = folder
        self._lane = lane
        self._low_water_bytes = low_water_bytes
        self._high_water_bytes = high_water_bytes
        self._making = DeferredLock()
        self._pins = Pins(folder)
        self._pinned: set[str] = set()

    async def load_pins(self) -> None:
        """
        Find out which images are pinned: others may pin some too.

        :raises OSError: As the system says.
        """
        self._pinned = await self._lane.run(self._pins.load)

    async def pin(self, image_id: str) -> None:
        """
        Keep an image's entries, those to come included, until `unpin`, over restarts.

        :raises OSError: As the system says.
        """
        await self._lane.run(self._pins.add, image_id)
        self._pinned.add(image_id)

    async def unpin(self, image_id: str) -> None:
        """
        Let an image's entries go when their time comes. Harmless where nothing was pinned.

        :raises OSError: As the system says.
        """
        await self._lane.run(self._pins.remove, image_id)
        self._pinned.discard(image_id)

    def is_pinned(self, image_id: str) -> bool:
        """
        Whether an image's entries are kept, as far as is known by now.
        """
        return image_id in self._pinned

    async def free_bytes(self) -> int:
        """
        Tell how much room the disk has left.

        :raises OSError: The disk cannot be asked.
        """
        free_bytes = await self._lane.run(self._folder.free_bytes)
        self._account.disk.found(free_bytes)
        return free_bytes

    async def would_go(self, size_bytes: int) -> Sequence[Entry]:
        """
        Tell what `make` would evict; nothing is done.

        :raises CacheFull: As `make`.
        :raises OSError: As `make`.
        """
        free_bytes, taken_bytes = await self._look()
        victims = self._victims(size_bytes, taken_bytes)
        _check_disk(size_bytes, victims, free_bytes)
        return victims

    async def make(self, size_bytes: int) -> Reservation:
        """
        Reserve room. One at a time: what was removed for one fill is not taken by another. Another process may take
        it, which shows when the files are created.

        Must come to its end: run it as a chore.

        :raises CacheFull: Too much is being used or pinned, or the disk is full; nothing was removed for it.
        :raises OSError: The disk cannot be asked.
        """
        await self._making.acquire()
        try:
            free_bytes, taken_bytes = await self._look()
            victims = self._victims(size_bytes, taken_bytes)
            try:
                _check_disk(size_bytes, victims, free_bytes)
            except CacheFull:
                self._account.disk.refused(size_bytes)
                raise
            await self._evict(victims)
            return self._account.reserve(size_bytes)
        finally:
            self._making.release()

    async def trim(self) -> Sequence[Entry]:
        """
        Get below the limit, as far as that can be, after it was lowered or the folder was found fuller than that.

        :return: What was evicted.
        :raises OSError: The disk cannot be asked.
        """
        await self._making.acquire()
        try:
            excess_bytes = await self._lane.run(self._folder.taken_bytes) - self._account.max_bytes
            if excess_bytes <= 0:
                return ()
            await self.load_pins()
            victims = self._choose(excess_bytes)
            await self._evict(victims)
            return victims
        finally:
            self._making.release()

    async def _look(self) -> tuple[int, int]:
        """
        Find out what must stay, how much room the disk has left, and how much the entries of all processes take.
        """
        await self.load_pins()
        return await self.free_bytes(), await self._lane.run(self._folder.taken_bytes)

    def _victims(self, size_bytes: int, taken_bytes: int) -> Sequence[Entry]:
        max_bytes = self._account.max_bytes
        needed_bytes = taken_bytes + size_bytes
        missing = wanted = needed_bytes - max_bytes
        low_water_bytes = min(self._low_water_bytes, max_bytes)
        if needed_bytes > min(self._high_water_bytes, max_bytes) and size_bytes <= low_water_bytes:
            wanted = needed_bytes - low_water_bytes
        victims = self._choose(wanted)
        freed = sum(victim.room.size_bytes for victim in victims)
        if freed < missing:
            raise CacheFull(size_bytes, max(0, max_bytes - taken_bytes) + freed)
        return victims

    def _choose(self, wanted_bytes: int) -> Sequence[Entry]:
        evictable = self._keeper.evictable(self.is_pinned)
        return choose_victims(((entry, entry.room.size_bytes) for entry in evictable), wanted_bytes)

    async def _evict(self, victims: Sequence[Entry]) -> None:
        for victim in victims:
            self._log.info("entry {entry} is evicted to make room", entry=victim.key)
            self._on_evict(victim.name.image_id, victim.room.size_bytes)
        await settle([self._keeper.evict(victim) for victim in victims])


def _check_disk(size_bytes: int, victims: Sequence[Entry], free_bytes: int) -> None:
    # Only what has to go anyway is counted on: a disk that others fill up does not empty the cache.
    available = free_bytes + sum(victim.room.size_bytes for victim in victims)
    if available < size_bytes:
        raise CacheFull(size_bytes, available)
