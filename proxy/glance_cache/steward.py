"""
Which process of a node does what only one of them should do.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from glance_cache.files import FileOps
from glance_tx.streaming.interfaces import ILane

__all__ = ["Steward"]

_LOOK_SECONDS: Final = 1.0


class Steward:
    """
    Whoever holds a lock in the cache folder is the steward, until it ends; then another one is. Being it twice, or for
    a moment not at all, must be harmless: it is for work that need not be done by all.

    :param path: Of the lock.
    :param lane: Where the file is touched.
    :param elected: Called when this process has become the steward.
    """

    _log = Logger()

    def __init__(
        self, path: Path, files: FileOps, lane: ILane, clock: IReactorTime, elected: Callable[[], object]
    ) -> None:
        self._path = path
        self._files = files
        self._lane = lane
        self._elected = elected
        self._lock: int | None = None
        self._told_error = False
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self._look()))
        self._loop.clock = clock

    @property
    def leads(self) -> bool:
        """
        Whether this process is the steward.
        """
        return self._lock is not None

    async def start(self) -> None:
        """
        Stand for it.
        """
        self._loop.start(_LOOK_SECONDS).addErrback(lambda f: self._log.failure("a loop broke", f))

    async def stop(self) -> None:
        """
        Be it no more.
        """
        if self._loop.running:
            self._loop.stop()
        # After a look that is under way.
        await self._lane.run(self._let_go)

    async def _look(self) -> None:
        try:
            got = await self._lane.run(self._try)
        except OSError as error:
            if not self._told_error:
                self._told_error = True
                self._log.error("nobody can be found to keep the cache folder in order: {error}", error=str(error))
            return
        if got and self._loop.running:
            self._loop.stop()
            self._elected()

    def _try(self) -> bool:
        descriptor = self._files.create(self._path, or_open=True)
        try:
            self._files.lock(descriptor)
        except BlockingIOError:
            self._files.close(descriptor)
            return False
        except BaseException:
            self._files.close(descriptor)
            raise
        self._lock = descriptor
        return True

    def _let_go(self) -> None:
        descriptor, self._lock = self._lock, None
        if descriptor is not None:
            self._files.close(descriptor)
