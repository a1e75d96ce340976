"""
A bounded buffer between a sender that pushes and a consumer that pulls.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred
from zope.interface import implementer

from glance_tx.streaming.interfaces import IBodyReader
from glance_tx.streaming.units import MiB

HIGH_WATER_BYTES: Final = 4 * MiB
"""Bytes waiting for the consumer at which the sender is held."""

LOW_WATER_BYTES: Final = 2 * MiB
"""Bytes waiting below which a held sender is let go on; also the most that one read waits for."""


@implementer(IBodyReader)
class BodyBuffer:
    """
    An `IBodyReader` fed piece by piece.

    :param length: Bytes announced by the sender, where it said.
    :param hold: Makes the sender pause; called once too many bytes wait.
    :param release: Lets a held sender go on.
    """

    def __init__(
        self,
        length: int | None,
        *,
        hold: Callable[[], None],
        release: Callable[[], None],
        high_water_bytes: int = HIGH_WATER_BYTES,
        low_water_bytes: int = LOW_WATER_BYTES,
    ) -> None:
        self.length = length
        self.received = 0
        self.held = False
        self._hold = hold
        self._release = release
        self._high = high_water_bytes
        self._low = low_water_bytes
        self._pieces: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._ended = False
        self._failure: Exception | None = None
        self._wanted = 0
        self._reader: Deferred[bytes] | None = None

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
        wanted = min(at_least, self._low)
        if self._failure is not None:
            raise self._failure
        if self._ended or self._waiting_bytes >= wanted:
            return self._take()
        self._wanted = wanted
        reader: Deferred[bytes] = Deferred(self._forget_reader)
        self._reader = reader
        return await reader

    def write(self, data: bytes) -> None:
        """
        Take a piece from the sender.
        """
        if self.ended:
            return
        self.received += len(data)
        self._pieces.append(data)
        self._waiting_bytes += len(data)
        if self._reader is not None and self._waiting_bytes >= self._wanted:
            self._answer()
        elif not self.held and self._waiting_bytes >= self._high:
            self.held = True
            self._hold()

    def finish(self) -> None:
        """
        Say that the body is complete.
        """
        self._ended = True
        if self._reader is not None:
            self._answer()

    def fail(self, reason: Exception) -> None:
        """
        Say that the rest of the body will never come. What waits is dropped; a complete body stays one.
        """
        if self.ended:
            return
        self._failure = reason
        self._pieces.clear()
        self._waiting_bytes = 0
        if self._reader is not None:
            reader, self._reader = self._reader, None
            reader.errback(reason)

    def _forget_reader(self, _: Deferred[bytes]) -> None:
        self._reader = None

    def _answer(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.callback(self._take())

    def _take(self) -> bytes:
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._waiting_bytes = 0
        if self.held:
            self.held = False
            if not self.ended:
                self._release()
        return data
