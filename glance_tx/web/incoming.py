"""
The body of one request, between the connection it comes by and the handler that pulls it.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from glance_tx.streaming.errors import BodyLost, BodyTooLong
from glance_tx.streaming.interfaces import IBodyReader
from glance_tx.streaming.units import KiB
from glance_tx.web.deadlines import StallTimer
from glance_tx.web.limits import EdgeLimits

__all__ = ["BodySource", "IncomingBody"]

# Pieces shorter than this are gathered: a body in one-byte chunks would else take forty times its size.
_SHORT_PIECE_BYTES = 16 * KiB


class BodySource(Protocol):
    """
    What a body asks of the connection it comes by.
    """

    def hold_body(self) -> None:
        """
        Read nothing until `release_body`. Harmless when repeated.
        """

    def release_body(self) -> None:
        """
        Read on. Harmless when repeated.
        """

    def send_continue(self) -> None:
        """
        Ask a client which waits for it to send the body.
        """

    def drop(self) -> None:
        """
        Cut the connection.
        """


@implementer(IBodyReader)
class IncomingBody:
    """
    A body as its handler pulls it.

    The socket is read while less than the high-water mark waits here, and ``100 Continue`` is sent by the first
    read, not before. The client's time runs only while a read waits for it.

    :param length: Bytes announced; ``None`` for a chunked body.
    :param expects_continue: The client waits to be asked for the body.
    :ivar received: Bytes that have come, pulled or not.
    :ivar complete: All of the body has come.
    """

    def __init__(
        self,
        source: BodySource,
        clock: IReactorTime,
        limits: EdgeLimits,
        length: int | None,
        *,
        expects_continue: bool = False,
    ) -> None:
        self.length = length
        self.received = 0
        self.complete = length == 0
        self._source = source
        self._limits = limits
        self._expects_continue = expects_continue and not self.complete
        self._limit: int | None = None
        self._failure: BodyLost | BodyTooLong | None = None
        self._pieces: deque[bytes | bytearray] = deque()
        self._waiting = 0
        self._wanted = 0
        self._reader: Deferred[None] | None = None
        self._stall = StallTimer(clock, limits.stall_seconds, self._stalled)

    # For the handler.

    @property
    def limit(self) -> int | None:
        """
        Bytes that the handler takes at most; reads fail with BodyTooLong once the body is known to have more.
        """
        return self._limit

    @limit.setter
    def limit(self, limit_bytes: int | None) -> None:
        self._limit = limit_bytes
        self._check_limit()

    async def read(self, at_least: int) -> bytes:
        """
        Wait for a piece of the body, as `IBodyReader` has it.
        """
        if self._reader is not None:
            raise RuntimeError("one read at a time")
        # While the socket is held back, at least the low-water mark waits here; waiting for more would be for ever.
        wanted = min(max(at_least, 1), self._limits.low_water_bytes)
        self._raise_failure()
        if self._expects_continue:
            self._expects_continue = False
            self._source.send_continue()
        if not self.complete and self._waiting < wanted:
            await self._arrival(wanted)
        return self._take(wanted)

    def _raise_failure(self) -> None:
        # A new instance each time: a raised exception collects tracebacks.
        match self._failure:
            case BodyLost(received, reason):
                raise BodyLost(received, reason)
            case BodyTooLong(limit):
                raise BodyTooLong(limit)

    async def _arrival(self, wanted: int) -> None:
        self._wanted = wanted
        self._reader = Deferred(self._forget_reader)
        self._stall.start()
        await self._reader
        self._raise_failure()

    def _forget_reader(self, _: Deferred[None]) -> None:
        self._reader = None
        self._stall.stop()

    def _take(self, wanted: int) -> bytes:
        taken: list[bytes | bytearray] = []
        size = 0
        while self._pieces and size < wanted:
            taken.append(self._pieces.popleft())
            size += len(taken[-1])
        self._waiting -= size
        if self._waiting < self._limits.low_water_bytes:
            self._source.release_body()
        if len(taken) == 1:
            return bytes(taken[0])
        return b"".join(taken)

    # For the connection.

    def deliver(self, data: bytes, *, last: bool = False) -> None:
        """
        Take in what came.

        :param last: The body ends here.
        """
        self.received += len(data)
        self.complete = last
        self._expects_continue = False  # it did not wait to be asked
        self._stall.moved()
        if self._failure is not None:
            return
        self._keep(data)
        self._check_limit()
        if self.complete or self._waiting >= self._wanted:
            self._answer()
        if not self.complete and self._waiting >= self._limits.high_water_bytes:
            self._source.hold_body()

    def _keep(self, data: bytes) -> None:
        if not data:
            return
        self._waiting += len(data)
        if len(data) >= _SHORT_PIECE_BYTES:
            self._pieces.append(data)
        elif self._pieces and isinstance(last := self._pieces[-1], bytearray) and len(last) < _SHORT_PIECE_BYTES:
            last += data
        else:
            self._pieces.append(bytearray(data))

    def _check_limit(self) -> None:
        if self._limit is not None and max(self.received, self.length or 0) > self._limit:
            self._fail(BodyTooLong(self._limit))
            if not self.complete:
                self._source.hold_body()  # nobody wants the rest

    def _fail(self, failure: BodyLost | BodyTooLong) -> None:
        # The first failure is what happened; later ones follow from it.
        if self._failure is None:
            self._failure = failure
            self._pieces.clear()
            self._waiting = 0
            self._answer()

    def lose(self, reason: str) -> None:
        """
        Give up on a body whose end will not come: what waits is dropped, and reads fail from now on.

        Harmless for one that is complete: its handler may finish with it.
        """
        if not self.complete:
            self._fail(BodyLost(self.received, reason))

    def _answer(self) -> None:
        if self._reader is not None:
            reader, self._reader = self._reader, None
            self._stall.stop()
            reader.callback(None)

    def _stalled(self) -> None:
        self.lose(f"its sender was silent for {self._stall.seconds} seconds")
        self._source.drop()
