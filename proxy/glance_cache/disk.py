"""
The disk below the cache, which others may fill.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from glance_cache.errors import FolderUnusable

__all__ = ["Disk", "DiskWatch"]

_LOOK_SECONDS: Final = 10.0


class Disk:
    """
    What is known of the room that the disk has left, and whether fills had to do without.

    :ivar free_bytes: When it was last asked; 0 before.
    :ivar refusals: Fills for which the disk had no room, though the cache had some.
    """

    def __init__(self) -> None:
        self.free_bytes = 0
        self.refusals = 0
        self._missed_bytes = 0

    @property
    def full(self) -> bool:
        """
        Whether the last fill found no room, and there was not enough for it since.
        """
        return self._missed_bytes > 0

    def found(self, free_bytes: int) -> None:
        """
        Take note of how much room there is.
        """
        self.free_bytes = free_bytes
        if free_bytes >= self._missed_bytes:
            self._missed_bytes = 0

    def refused(self, size_bytes: int) -> None:
        """
        Take note of a fill for which there was no room.
        """
        self.refusals += 1
        self._missed_bytes = size_bytes


class DiskWatch:
    """
    Has the disk looked at every ten seconds, as nobody tells when others fill or clear it.

    :param look: Asks the disk, and tells the `Disk`; raises `FolderUnusable`.
    """

    _log = Logger()

    def __init__(self, look: Callable[[], Awaitable[object]], clock: IReactorTime) -> None:
        self._look = look
        self._failing = False
        # The next look waits for the end of the one before.
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self._look_once()))
        self._loop.clock = clock
        self._looking: Deferred[LoopingCall | None] | None = None

    async def start(self) -> None:
        """
        Begin to look.
        """
        self._looking = self._loop.start(_LOOK_SECONDS).addErrback(lambda f: self._log.failure("a loop broke", f))

    async def stop(self) -> None:
        """
        Look no more; waits for a look that is under way.
        """
        if self._loop.running:
            self._loop.stop()
        if self._looking is not None:
            await self._looking

    async def _look_once(self) -> None:
        try:
            await self._look()
        except FolderUnusable as error:
            if not self._failing:
                self._log.error("nobody knows how much room the disk has: {error}", error=error)
            self._failing = True
        else:
            self._failing = False
