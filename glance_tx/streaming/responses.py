"""
Read the body of an HTTP client's response as it comes.
"""

from __future__ import annotations

from typing import cast

from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime, ITransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import UNKNOWN_LENGTH, IResponse
from zope.interface import implementer

from glance_tx.streaming.buffer import BodyBuffer
from glance_tx.streaming.errors import BodyLost, BodyTooShort, TransferStalled
from glance_tx.streaming.interfaces import IBodySource
from glance_tx.streaming.units import MiB


@implementer(IBodySource)
class ResponseReader(Protocol):
    """
    The body of one response, pulled. The server is held back while nobody pulls.

    Whoever stops before the end must call `cancel`, which closes the connection.

    :param expected_length: What the body must come to, where the caller knows better than the response's own
        Content-Length (an upstream that answers chunked, say).
    :param stall_seconds: How long one read waits for the next byte.
    """

    def __init__(
        self,
        response: IResponse,
        clock: IReactorTime,
        *,
        expected_length: int | None = None,
        stall_seconds: float = 60.0,
    ) -> None:
        announced = None if response.length == UNKNOWN_LENGTH else int(response.length)
        self.length = announced if expected_length is None else expected_length
        self._clock = clock
        self._stall_seconds = stall_seconds
        self._deadline: IDelayedCall | None = None
        self._buffer = BodyBuffer(self.length, hold=self._hold, release=self._release, hand_over_bytes=MiB)
        response.deliverBody(self)

    async def read(self, at_least: int) -> bytes:
        """
        See `IBodyReader.read`.

        :raises TransferStalled: The server sent nothing for too long.
        :raises BodyTooShort: The body ended before its announced length.
        """
        self._deadline = self._clock.callLater(self._stall_seconds, self._stalled)
        try:
            return await self._buffer.read(at_least)
        finally:
            self._cancel_deadline()

    def cancel(self) -> None:
        """
        Give up on the rest. Harmless after the end.
        """
        if not self._buffer.ended:
            self._buffer.fail(BodyLost(self._buffer.received, "given up by the reader"))
            self._lose_connection()

    def dataReceived(self, data: bytes) -> None:
        """
        Take a piece of the body.
        """
        if self._deadline is not None:
            self._deadline.reset(self._stall_seconds)
        self._buffer.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Take the end of the body: tidy, or not.
        """
        received = self._buffer.received
        if not reason.check(ResponseDone, PotentialDataLoss):
            self._buffer.fail(BodyLost(received, reason.getErrorMessage()))
        elif self.length is not None and received < self.length:
            self._buffer.fail(BodyTooShort(self.length, received))
        else:
            self._buffer.finish()

    def _cancel_deadline(self) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None:
            deadline.cancel()

    def _stalled(self) -> None:
        self._deadline = None
        self._buffer.fail(TransferStalled(self._stall_seconds))
        self._lose_connection()

    def _hold(self) -> None:
        cast(IPushProducer, self.transport).pauseProducing()

    def _release(self) -> None:
        cast(IPushProducer, self.transport).resumeProducing()

    def _lose_connection(self) -> None:
        # A paused transport would not notice the end of its connection.
        cast(IPushProducer, self.transport).resumeProducing()
        cast(ITransport, self.transport).loseConnection()
