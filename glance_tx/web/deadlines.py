"""
Deadlines for transfers: how long a peer may move nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["StallTimer"]


class StallTimer:
    """
    Counts the seconds in which nothing moves, and says once when they became too many.

    It is made stopped. Only the time between `start` and `stop` counts, so a wait for ourselves never runs out on
    the peer.

    :param seconds: How long nothing may move.
    :param on_stall: Called without arguments when the time is up; the timer is stopped by then.
    """

    def __init__(self, clock: IReactorTime, seconds: float, on_stall: Callable[[], object]) -> None:
        self.seconds = seconds
        self._clock = clock
        self._on_stall = on_stall
        self._call: IDelayedCall | None = None

    @property
    def running(self) -> bool:
        """
        Whether time counts at the moment.
        """
        return self._call is not None

    def start(self) -> None:
        """
        Count from zero, whether or not the timer ran before.
        """
        if self._call is None:
            self._call = self._clock.callLater(self.seconds, self._stalled)
        else:
            self._call.reset(self.seconds)

    def moved(self) -> None:
        """
        Count from zero again because something moved; a stopped timer stays stopped.
        """
        if self._call is not None:
            self._call.reset(self.seconds)

    def stop(self) -> None:
        """
        Count no longer. Harmless when repeated.
        """
        if self._call is not None:
            call, self._call = self._call, None
            call.cancel()

    def _stalled(self) -> None:
        self._call = None
        self._on_stall()
