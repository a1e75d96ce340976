"""
Fills that leave the line to others.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["Bandwidth", "Pace"]


class Bandwidth:
    """
    So many bytes a second, for all who share them.

    :param bytes_per_second: At least 1.
    """

    def __init__(self, clock: IReactorTime, bytes_per_second: float) -> None:
        self.clock = clock
        self._bytes_per_second = bytes_per_second
        self._free_at = float("-inf")

    def take(self, size_bytes: int) -> float:
        """
        Take note of bytes that came.

        :return: How many seconds to wait, so that no more come than should.
        """
        now = self.clock.seconds()
        # What was not used while nobody wanted anything is not made up for.
        self._free_at = max(self._free_at, now) + size_bytes / self._bytes_per_second
        return self._free_at - now


class Pace:
    """
    How fast one fill may go: as its bandwidth says, until somebody is in a hurry.
    """

    def __init__(self, bandwidth: Bandwidth) -> None:
        self._bandwidth = bandwidth
        self._hurried = False
        self._waiting: tuple[Deferred[None], IDelayedCall] | None = None

    async def keep(self, piece: bytes) -> None:
        """
        Wait until the next piece may come.
        """
        if self._hurried:
            return
        waiting: Deferred[None] = Deferred()
        seconds = self._bandwidth.take(len(piece))
        self._waiting = waiting, self._bandwidth.clock.callLater(seconds, waiting.callback, None)
        try:
            await waiting
        finally:
            _, call = self._waiting
            self._waiting = None
            if call.active():
                call.cancel()

    def hurry(self) -> None:
        """
        Go as fast as can be from now on: somebody waits for the data.
        """
        self._hurried = True
        if self._waiting is not None:
            waiting, _ = self._waiting
            waiting.callback(None)
