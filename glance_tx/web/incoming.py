"""
The body of one request, between the connection it comes by and the handler that pulls it.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from glance_tx.streaming.buffer import BodyBuffer
from glance_tx.streaming.errors import BodyLost, BodyTooLong
from glance_tx.streaming.interfaces import IBodyReader
from glance_tx.web.deadlines import StallTimer
from glance_tx.web.limits import EdgeLimits

__all__ = ["BodySource", "IncomingBody"]


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
        self._expects_continue = expects_continue and not self.complete
        self._limit: int | None = None
        self._buffer = BodyBuffer(
            length,
            hold=source.hold_body,
            release=source.release_body,
            high_water_bytes=limits.high_water_bytes,
            low_water_bytes=limits.low_water_bytes,
        )
        self._stall = StallTimer(clock, limits.stall_seconds, self._stalled)
        if self.complete:
            self._buffer.finish()

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
        if self._expects_continue and not self._buffer.ended:
            self._expects_continue = False
            self._source.send_continue()
        if self._buffer.ended:
            return await self._buffer.read(at_least)
        self._stall.start()
        try:
            return await self._buffer.read(at_least)
        finally:
            self._stall.stop()

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
        self._check_limit()
        self._buffer.write(data)
        if last:
            self._buffer.finish()

    def lose(self, reason: str) -> None:
        """
        Give up on a body whose end will not come: what waits is dropped, and reads fail from now on.

        Harmless for one that is complete: its handler may finish with it.
        """
        if not self.complete:
            self._buffer.fail(BodyLost(self.received, reason))

    def _check_limit(self) -> None:
        if self._limit is not None and max(self.received, self.length or 0) > self._limit:
            self._buffer.fail(BodyTooLong(self._limit))
            if not self.complete:
                self._source.hold_body()  # nobody wants the rest

    def _stalled(self) -> None:
        self.lose(f"its sender was silent for {self._stall.seconds} seconds")
        self._source.drop()
