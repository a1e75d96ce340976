"""
Whether a body comes fast enough to be waited for.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

__all__ = ["ProgressWatch"]


class ProgressWatch:
    """
    Looks at how much comes in the time in which it is waited for. What its reader does with it takes no part in that:
    a full disk or a limited line is not the sender's fault.

    :param window_seconds: So long it is waited for between two looks.
    :param least_bytes: Less than that in a window is too slow; 0 where nothing is.
    :ivar too_slow: Whether it was, in the last window.
    """

    def __init__(self, clock: IReactorTime, window_seconds: float, least_bytes: int) -> None:
        self.too_slow = False
        self._clock = clock
        self._window_seconds = window_seconds
        self._least_bytes = least_bytes
        self._began_at = 0.0
        self._waited_seconds = 0.0
        self._received = 0

    @property
    def reason(self) -> str:
        """
        What to say of a sender that is too slow.
        """
        return f"it sent less than {self._least_bytes} bytes in {self._window_seconds:g} seconds"

    def begin(self) -> None:
        """
        Begin to wait.
        """
        self._began_at = self._clock.seconds()

    def end(self, received: int) -> None:
        """
        Note that something came.
        """
        self._waited_seconds += self._clock.seconds() - self._began_at
        self._received += received
        if self._waited_seconds >= self._window_seconds:
            self.too_slow = self._received < self._least_bytes
            self._waited_seconds = 0.0
            self._received = 0
