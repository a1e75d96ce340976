"""
Noticing that the receiver of a body takes nothing any more.
"""

from __future__ import annotations

import struct
import termios
from collections.abc import Callable
from fcntl import ioctl
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["StallWatch", "unaccepted_bytes", "unsent_mark"]

# Looks at the progress in the time it may stand still: a stall is noticed after a quarter more at the latest.
_LOOKS: Final = 4


class StallWatch:
    """
    Looks now and then whether something changed, and says so when it did not for too long.

    Looking is for progress nobody is told about: a socket's buffer emptying byte by byte. It is made stopped.

    :param seconds: How long it may stand still.
    :param progress: Tells a value that changes with every byte that moves.
    :param on_stall: Called when it has stood still for that long, and up to a quarter longer; stopped by then.
    """

    def __init__(
        self, clock: IReactorTime, seconds: float, progress: Callable[[], object], on_stall: Callable[[], None]
    ) -> None:
        self.seconds = seconds
        self._clock = clock
        self._progress = progress
        self._on_stall = on_stall
        self._call: IDelayedCall | None = None
        self._seen: object = None
        self._seen_at = 0.0

    def start(self) -> None:
        """
        Count from zero.
        """
        self.stop()
        self._note(self._progress())
        self._schedule()

    def stop(self) -> None:
        """
        Look no more. Harmless when repeated.
        """
        if self._call is not None:
            call, self._call = self._call, None
            call.cancel()

    def _note(self, progress: object) -> None:
        self._seen, self._seen_at = progress, self._clock.seconds()

    def _schedule(self) -> None:
        self._call = self._clock.callLater(self.seconds / _LOOKS, self._look)

    def _look(self) -> None:
        self._call = None
        progress = self._progress()
        if progress != self._seen:
            self._note(progress)
        elif self._clock.seconds() - self._seen_at >= self.seconds:
            self._on_stall()
            return
        self._schedule()


def unaccepted_bytes(socket_descriptor: int) -> int:
    """
    Tell how much lies in a socket's send buffer that the other side's system has not taken over.

    :return: 0 where the system cannot tell.
    """
    try:
        answer = ioctl(socket_descriptor, termios.TIOCOUTQ, bytes(struct.calcsize("i")))
    except (OSError, ValueError):  # ValueError: closed, so its number is -1
        return 0
    return int(struct.unpack("i", answer)[0])


def unsent_mark(transport: object) -> object:
    """
    Tell a value that changes with every byte of what was written to a transport that its other side takes.

    :param transport: A socket's, or one around it. Of another kind nothing is known, and the value stays the same.
    """
    fileno = getattr(transport, "fileno", None)
    in_socket = 0 if fileno is None else unaccepted_bytes(fileno())
    # What the socket did not take yet: where it was full at both looks, this tells.
    return in_socket, getattr(transport, "offset", 0), len(getattr(transport, "dataBuffer", b""))
