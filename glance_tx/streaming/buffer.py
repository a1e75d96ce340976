"""
A bounded buffer between a sender that pushes and a consumer that pulls.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from copy import copy
from typing import Final

from twisted.internet.defer import Deferred
from zope.interface import implementer

from glance_tx.streaming.errors import StreamingError
from glance_tx.streaming.interfaces import IBodyReader
from glance_tx.streaming.units import KiB, MiB

HIGH_WATER_BYTES: Final = 4 * MiB
"""Bytes waiting for the consumer at which the sender is held."""

LOW_WATER_BYTES: Final = 2 * MiB
"""Bytes waiting below which a held sender is let go on; also the most that one read waits for."""


# Pieces shorter than this are gathered: a body in one-byte chunks would else take forty times its size.
_SHORT_PIECE_BYTES: Final = 16 * KiB


@implementer(IBodyReader)
class BodyBuffer:
    """
    An `IBodyReader` fed piece by piece.

    :param length: Bytes announced by the sender, where it said.
    :param hold: Makes the sender pause; called once too many bytes wait.
    :param release: Lets a held sender go on.
    :param hand_over_bytes: Where as much waits, a read gets that even if it asked for less: for consumers to whom
        each piece costs the same, whatever its length.
    """

    def __init__(
        self,
        length: int | None,
        *,
        hold: Callable[[], None],
        release: Callable[[], None],
        high_water_bytes: int = HIGH_WATER_BYTES,
        low_water_bytes: int = LOW_WATER_BYTES,
        hand_over_bytes: int = 0,
    ) -> None:
        self.length = length
        self.received = 0
        self.held = False
        self._hold = hold
        self._release = release
        self._high = high_water_bytes
        self._low = low_water_bytes
        self._hand_over = hand_over_bytes
        self._pieces: deque[bytes | bytearray] = deque()
        self._waiting_bytes = 0
        self._ended = False
        self._failure: StreamingError | None = None
        self._wanted = 0
        self._reader: Deferred[None] | None = None

    @property
    def waiting_bytes(self) -> int:
        """
        Bytes that have come in and were not read yet.
        """
        return self._waiting_bytes

    @property
    def reading(self) -> bool:
        """
        Whether a read is waiting for the sender.
        """
        return self._reader is not None

    @property
    def ended(self) -> bool:
        """
        Whether nothing more will come, for better or worse.
        """
        return self._ended or self._failure is not None

    async def read(self, at_least: int) -> bytes:
        """
        See `IBodyReader.read`.
        """
        if self._reader is not None:
            raise RuntimeError("one read at a time")
        # While the sender is held, at least the low-water mark waits here; waiting for more would be for ever.
        self._wanted = min(max(at_least, 1), self._low)
        self._raise_failure()
        if not self._ended and self._waiting_bytes < self._wanted:
            self._reader = Deferred(self._forget_reader)
            await self._reader
            self._raise_failure()
        return self._take()

    def write(self, data: bytes) -> None:
        """
        Take a piece from the sender.
        """
        if self.ended:
            return
        self.received += len(data)
        self._keep(data)
        if self._waiting_bytes >= self._wanted:
            self._answer()
        if not self.held and self._waiting_bytes >= self._high:
            self.held = True
            self._hold()

    def finish(self) -> None:
        """
        Say that the body is complete.
        """
        if not self.ended:
            self._ended = True
            self._answer()

    def fail(self, reason: StreamingError) -> None:
        """
        Say that the rest of the body will never come. What waits is dropped; a complete body stays one.
        """
        if not self.ended:
            # The first failure is what happened; later ones follow from it.
            self._failure = reason
            self._pieces.clear()
            self._waiting_bytes = 0
            self._answer()

    def _forget_reader(self, _: Deferred[None]) -> None:
        self._reader = None

    def _raise_failure(self) -> None:
        if self._failure is not None:
            # A new instance each time: a raised exception collects tracebacks.
            raise copy(self._failure)

    def _answer(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.callback(None)

    def _keep(self, data: bytes) -> None:
        if not data:
            return
        self._waiting_bytes += len(data)
        if len(data) >= _SHORT_PIECE_BYTES:
            self._pieces.append(data)
        elif self._pieces and isinstance(last := self._pieces[-1], bytearray) and len(last) < _SHORT_PIECE_BYTES:
            last += data
        else:
            self._pieces.append(bytearray(data))

    def _take(self) -> bytes:
        most = max(self._wanted, self._hand_over)
        taken: list[bytes | bytearray] = []
        size = 0
        while self._pieces and size < most:
            taken.append(self._pieces.popleft())
            size += len(taken[-1])
        self._waiting_bytes -= size
        if self.held and self._waiting_bytes < self._low:
            self.held = False
            if not self.ended:
                self._release()
        return bytes(taken[0]) if len(taken) == 1 else b"".join(taken)
