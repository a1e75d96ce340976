"""
Deadlines for transfers: how long a peer may move nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["StallTimer"]

# The clock may be a rounding error early.
_DUE_SECONDS: Final = 0.001


class StallTimer:
    """
    Counts the seconds in which nothing moves, and says once when they became too many.

    It is made stopped. Only the time between `start` and `rest` or `stop` counts, so a wait for ourselves never runs
    out on the peer.

    The clock is asked to call at most once at a time, and is not told when something moves: that call finds out how
    much time is left. A connection with a thousand requests a second so costs one call in a minute.

    :param seconds: How long nothing may move.
    :param on_stall: Called without arguments when the time is up; the timer is stopped by then.
    """

    def __init__(self, clock: IReactorTime, seconds: float, on_stall: Callable[[], object]) -> None:
        self.seconds = seconds
        self._clock = clock
        self._on_stall = on_stall
        self._due: float | None = None
        self._call: IDelayedCall | None = None

    @property
    def running(self) -> bool:
        """
        Whether time counts at the moment.
        """
        return self._due is not None

    def start(self) -> None:
        """
        Count from zero, whether or not the timer ran before.
        """
        self._due = self._clock.seconds() + self.seconds
        if self._call is None:
            self._call = self._clock.callLater(self.seconds, self._called)

    def moved(self) -> None:
        """
        Count from zero again because something moved; a stopped timer stays stopped.
        """
        if self._due is not None:
            self._due = self._clock.seconds() + self.seconds

    def rest(self) -> None:
        """
        Count no longer, as `stop`, but leave the clock's call for the next `start`: it may find nothing to do. Whoever
        uses this calls `stop` at the end.
        """
        self._due = None

    def stop(self) -> None:
        """
        Count no longer. Harmless when repeated.
        """
        self._due = None
        if self._call is not None:
            call, self._call = self._call, None
            call.cancel()

    def _called(self) -> None:
        self._call = None
        if self._due is None:
            return
        left = self._due - self._clock.seconds()
        if left > _DUE_SECONDS:
            self._call = self._clock.callLater(left, self._called)
        else:
            self._due = None
            self._on_stall()
