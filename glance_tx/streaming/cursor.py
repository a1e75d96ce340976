"""
Where a sender is in a file that may still grow.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from glance_tx.streaming.interfaces import IFileBody, IGrowth

__all__ = ["FileCursor"]


class FileCursor:
    """
    A position between a file body's two ends, and one wait at a time for the file to grow beyond it.

    :param body: What is being sent.
    :param go_on: Called when a wait is over; also from within `wait`.
    :param give_up: Called with the reason when there never will be more.
    :ivar position: Absolute offset of the next byte to send.
    :ivar end: Absolute offset after the last one.
    """

    def __init__(self, body: IFileBody, go_on: Callable[[], None], give_up: Callable[[Failure], None]) -> None:
        self.position: int = body.offset
        self.end: int = body.offset + body.length
        self._growth: IGrowth = body.growth
        self._go_on = go_on
        self._give_up = give_up
        self._waiting: Deferred[None] | None = None

    @property
    def left(self) -> int:
        """
        Bytes still to be sent.
        """
        return self.end - self.position

    @property
    def ready(self) -> int:
        """
        Bytes that may be sent now.
        """
        return max(min(self.end, self._growth.limit) - self.position, 0)

    @property
    def waiting(self) -> bool:
        """
        Whether the file has to grow before anything can be sent.
        """
        return self._waiting is not None

    def wait(self) -> None:
        """
        Wait for more to be ready.
        """
        self._waiting = self._growth.wait_beyond(self.position)
        self._waiting.addCallbacks(self._grown, self._failed)

    def _grown(self, _: None) -> None:
        self._waiting = None
        self._go_on()

    def _failed(self, reason: Failure) -> None:
        if self._waiting is not None:  # else `stop` cancelled it
            self._waiting = None
            self._give_up(reason)

    def stop(self) -> None:
        """
        Wait no longer. Harmless when repeated.
        """
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.cancel()
