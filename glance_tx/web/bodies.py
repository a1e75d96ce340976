"""
Sending a body as a response.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer, IProducer, IPushProducer, IReactorTime
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request
from zope.interface import implementer

from glance_tx.streaming.errors import BodyTooLong, BodyTooShort, ReceiverLost, TransferStalled
from glance_tx.streaming.interfaces import IBodyProducer, IFileBody
from glance_tx.streaming.sendfile import SendfileProducer, takes_sendfile
from glance_tx.streaming.stall import StallWatch, unaccepted_bytes

__all__ = ["send_body"]


async def send_body(request: Request, body: IBodyProducer, *, clock: IReactorTime, stall_seconds: float = 60.0) -> None:
    """
    Send a body as the response to a request; the caller finishes the request afterwards.

    A file goes by sendfile where the connection allows it; everything else is pushed, held back by what the client
    takes. A HEAD request, and a body of no length, get the head only. Whatever happens, the body is let go of.

    The head is sent with the first byte. What fails before that is raised and nothing else: another answer can
    still be given (``request.startedWriting`` tells). What fails later aborts the connection first, for the
    client must see that the body is not whole.

    :param request: Its status and headers are set. Content-Length is added from the body where it is missing.
    :param body: Its length is exact, or ``UNKNOWN_LENGTH`` (then it is sent chunked, and never by sendfile).
    :param stall_seconds: A client that accepts no byte for that long is dropped.
    :raises ReceiverLost: The client went away.
    :raises TransferStalled: It took nothing for too long.
    :raises ShortFile: The file ended too early.
    :raises BodyTooShort: The body ended before its length.
    :raises BodyTooLong: It had more.
    """
    channel = _channel(request)
    if channel is None:
        _let_go(body)
        raise ReceiverLost(0, "the connection was closed before the response")
    if isinstance(body.length, int) and not request.responseHeaders.hasHeader(b"Content-Length"):
        request.responseHeaders.setRawHeaders(b"Content-Length", [b"%d" % body.length])
    if request.method == b"HEAD" or body.length == 0:
        _let_go(body)
        request.write(b"")
        return
    transport = channel.transport
    if IFileBody.providedBy(body) and takes_sendfile(transport):
        await _send_file(_Client(request), transport, body, clock, stall_seconds)
    else:
        await _Push(_Client(request), transport, body, clock, stall_seconds).run()


def _channel(request: Request) -> HTTPChannel | None:
    # Twisted does not say so, but takes it away when the connection is lost.
    return request.channel


def _let_go(body: IBodyProducer) -> None:
    if IFileBody.providedBy(body):
        body.close()
    else:
        body.stopProducing()


class _Client:
    """
    The client of a request, who may leave.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self._left: Failure | None = None
        self._work: Deferred[None] | None = None
        request.notifyFinish().addErrback(self._leave)

    def _leave(self, reason: Failure) -> None:
        self._left = reason
        if self._work is not None:
            self._work.cancel()

    async def awaits(self, work: Deferred[None]) -> None:
        """
        Wait for some work, unless the client leaves: then it is cancelled.
        """
        self._work = work
        if self._left is not None:
            work.cancel()
        try:
            await work
        except CancelledError:
            if self._left is None:  # somebody else's doing
                raise
            raise ReceiverLost(self.request.sentLength, self._left.getErrorMessage()) from None
        finally:
            self._work = None


async def _send_file(
    client: _Client, transport: Connection, body: IFileBody, clock: IReactorTime, stall_seconds: float
) -> None:
    request = client.request
    try:
        # A fill that fails before its first byte, or an unreadable disk, can still be answered properly.
        await client.awaits(body.growth.wait_beyond(body.offset))
        channel = request.channel
        request.write(b"")
        # The channel is the transport's producer for as long as there is a connection; ours takes its place.
        transport.unregisterProducer()
        producer = SendfileProducer(transport, body, clock, stall_seconds)
        try:
            await client.awaits(producer.start())
        finally:
            request.sentLength += producer.sent  # for the access log
            transport.registerProducer(channel, True)  # noqa: FBT003  (a push producer; Twisted's signature)
    finally:
        body.close()


@implementer(IConsumer, IPushProducer)
class _Push:
    """
    A body on its way through the transport's buffer.

    To the body it is the consumer, to the connection the producer: it counts what passes, and how long it is
    held back.
    """

    def __init__(
        self, client: _Client, transport: Any, body: IBodyProducer, clock: IReactorTime, stall_seconds: float
    ) -> None:
        self._client = client
        self._request = client.request
        self._transport = transport
        self._body = body
        self._watch = StallWatch(clock, stall_seconds, self._progress, self._stalled)
        self._written = 0
        self._done: Deferred[None] | None = None

    async def run(self) -> None:
        """
        Send all of the body.
        """
        done: Deferred[None] = Deferred(lambda _: self._release())
        self._done = done
        try:
            self._request.registerProducer(self, True)  # noqa: FBT003  (a push producer; Twisted's signature)
            self._body.startProducing(self).addCallbacks(self._produced, self._broken)
            await self._client.awaits(done)
        except BaseException:
            self._release()
            if self._request.startedWriting:
                self._transport.abortConnection()
            raise

    # For the body.

    def write(self, data: bytes) -> None:
        """
        Pass a piece on.
        """
        if self._done is None:
            return
        self._written += len(data)
        length = self._body.length
        if isinstance(length, int) and self._written > length:
            self._fail(BodyTooLong(length))
        else:
            self._request.write(data)

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """
        Refuse: a body does not register itself.
        """
        raise RuntimeError("a body producer is registered by who starts it")

    def unregisterProducer(self) -> None:
        """
        Refuse: a body does not register itself.
        """
        raise RuntimeError("a body producer is registered by who starts it")

    def _produced(self, _: None) -> None:
        length = self._body.length
        if isinstance(length, int) and self._written < length:
            self._end(Failure(BodyTooShort(length, self._written)))
        else:
            self._end(None)

    def _broken(self, reason: Failure) -> None:
        self._end(reason)

    # For the connection.

    def pauseProducing(self) -> None:
        """
        Hold the body back, and begin to count the client's time.
        """
        self._watch.start()
        self._body.pauseProducing()

    def resumeProducing(self) -> None:
        """
        Let the body go on.
        """
        self._watch.stop()
        self._body.resumeProducing()

    def stopProducing(self) -> None:
        """
        Take note that the connection is lost.
        """
        self._fail(ReceiverLost(self._written, "the connection was closed"))

    def _progress(self) -> object:
        # How much is left in the transport's own buffer is not told, but every byte of it passes the socket's.
        return unaccepted_bytes(self._transport.fileno()) if hasattr(self._transport, "fileno") else 0

    def _stalled(self) -> None:
        self._fail(TransferStalled(self._watch.seconds))

    # Ends.

    def _fail(self, reason: Exception) -> None:
        if self._done is not None:
            self._body.stopProducing()
            self._end(Failure(reason))

    def _end(self, reason: Failure | None) -> None:
        done, self._done = self._done, None
        if done is not None:
            self._detach()
            done.callback(reason)

    def _release(self) -> None:
        if self._done is not None:
            self._done = None
            self._body.stopProducing()
            self._detach()

    def _detach(self) -> None:
        self._watch.stop()
        if _channel(self._request) is not None:
            self._request.unregisterProducer()
