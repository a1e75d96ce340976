"""
How late a process's reactor is.

Whatever holds the reactor holds up everybody: each client waits for the longest call that was made for another one. A
call that is due every tenth of a second, and notes how late it comes, sees all of these calls go by.
"""

from __future__ import annotations

from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from glance_tx.telemetry.metrics import Metrics

__all__ = ["ReactorLag"]

_INTERVAL_SECONDS: Final = 0.1
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""No transfer may hold the reactor longer than 5 ms at a time; what is far beyond that is a machine in trouble."""


class ReactorLag:
    """
    Measures lateness while it runs. An `IPart`.

    :param clock: The reactor.
    """

    def __init__(self, clock: IReactorTime, metrics: Metrics) -> None:
        self._clock = clock
        self._lag = metrics.histogram("reactor_lag_seconds", "How late timed calls of the reactor are.", _SECONDS)
        self._due = 0.0
        self._call: IDelayedCall | None = None

    async def start(self) -> None:
        """
        Begin.
        """
        self._plan()

    async def stop(self) -> None:
        """
        Leave off. Harmless when repeated.
        """
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None

    def _plan(self) -> None:
        self._due = self._clock.seconds() + _INTERVAL_SECONDS
        self._call = self._clock.callLater(_INTERVAL_SECONDS, self._arrived)

    def _arrived(self) -> None:
        # A clock that was set back makes no call early.
        self._lag.observe(max(0.0, self._clock.seconds() - self._due))
        self._plan()
