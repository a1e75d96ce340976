"""
Waiting for something that happens once.
"""

from __future__ import annotations

from collections import deque

from attrs import evolve
from twisted.internet.defer import Deferred

from glance_tx.errors import FactualError

__all__ = ["Occasion"]


class Occasion:
    """
    Something that happens once, or fails to, for any number of waiters.
    """

    def __init__(self) -> None:
        self._fired = False
        self._error: FactualError | None = None
        self._waiting: deque[Deferred[None]] = deque()

    def wait(self) -> Deferred[None]:
        """
        Wait for it; cancelling that concerns nobody else.
        """
        waiting: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        if self._fired:
            self._tell()
        return waiting

    def fire(self, error: FactualError | None) -> None:
        """
        Let it happen, or fail. Only the first time counts.
        """
        if not self._fired:
            self._fired = True
            self._error = error
            self._tell()

    def _tell(self) -> None:
        while self._waiting:
            waiting = self._waiting.popleft()
            if self._error is None:
                waiting.callback(None)
            else:
                # Each gets one of his own: a raised exception collects tracebacks.
                waiting.errback(evolve(self._error))  # type: ignore[misc]  # all of them are attrs classes
