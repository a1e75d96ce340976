"""
Who waits for a fill.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["Audience"]

T = TypeVar("T")


class Audience:
    """
    Counts those who want something, and says so when nobody has for a while: who was cut off comes again soon, and
    one who waits becomes one who reads.

    :param linger_seconds: How long that while is.
    :param left: Called when it is over.
    """

    def __init__(self, clock: IReactorTime, linger_seconds: float, left: Callable[[], object]) -> None:
        self._clock = clock
        self._linger_seconds = linger_seconds
        self._left = left
        self._count = 0
        self._call: IDelayedCall | None = None
        self._closed = False

    def enter(self) -> None:
        """
        Count one more.
        """
        self._count += 1
        self._stay()

    def leave(self) -> None:
        """
        Count one less.
        """
        self._count -= 1
        if not self._count and not self._closed:
            self._call = self._clock.callLater(self._linger_seconds, self._end)

    def until(self, waiting: Deferred[T]) -> Deferred[T]:
        """
        Count somebody for as long as he waits for something.

        :return: What he waits for.
        """
        self.enter()

        def over(result: T) -> T:
            self.leave()
            return result

        return waiting.addBoth(over)

    def close(self) -> None:
        """
        Say nothing any more.
        """
        self._closed = True
        self._stay()

    def _stay(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _end(self) -> None:
        self._call = None
        self._left()
