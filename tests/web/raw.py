"""
A client that sends raw bytes over a real socket, and a server for it to send them to.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import frozen
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IPullProducer
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from glance_tx.web.limits import EdgeLimits
from glance_tx.web.request import Channel, EdgeSite, Request, make_site

__all__ = ["EdgeTestCase", "Flood", "RawAnswer", "RawClient", "answer", "until"]

Handler = Callable[[Request], Awaitable[None]]


@frozen
class RawAnswer:
    """
    One answer, as it stood on the wire.
    """

    status: int
    headers: dict[str, str]
    body: bytes


@implementer(IPullProducer)
class Flood:
    """
    Sends a lot, as fast as the socket takes it.

    :ivar sent: Bytes handed to the transport so far; at most one piece more than the socket took.
    """

    def __init__(self, client: RawClient, size: int, piece: bytes = bytes(64 * 1024)) -> None:
        self.size = size
        self.sent = 0
        self.done: Deferred[None] = Deferred()
        self._client = client
        self._piece = piece
        client.transport.registerProducer(self, streaming=False)

    def resumeProducing(self) -> None:
        if self.sent == self.size:
            self._client.transport.unregisterProducer()
            self.done.callback(None)
            return
        piece = self._piece[: self.size - self.sent]
        self.sent += len(piece)
        self._client.transport.write(piece)

    def stopProducing(self) -> None:
        pass


@implementer(IHalfCloseableProtocol)
class RawClient(Protocol):
    """
    One connection.

    It goes on sending after the server closed its own direction, as clients do that read only when they are done.

    :ivar received: Everything that came and was not taken yet.
    :ivar at_end: The server closed its direction.
    :ivar lost: Why the connection ended, once it has.
    """

    def __init__(self) -> None:
        self.received = b""
        self.at_end = False
        self.lost: Failure | None = None
        self._changed: list[Deferred[None]] = []

    def send(self, data: bytes) -> None:
        """
        Send bytes.
        """
        self.transport.write(data)

    def close(self) -> None:
        """
        Cut the connection.
        """
        self.transport.abortConnection()

    async def bytes_until(self, mark: bytes) -> bytes:
        """
        Take what comes up to a mark, the mark included.
        """
        while mark not in self.received:
            await self._change()
        taken, mark, self.received = self.received.partition(mark)
        return taken + mark

    async def answer(self, *, to_head: bool = False) -> RawAnswer:
        """
        Take one answer.

        :param to_head: No body follows, whatever the length says.
        """
        head = (await self.bytes_until(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head.split("\r\n")[:-2]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = 0 if to_head else int(headers.get("content-length", "0"))
        while len(self.received) < length:
            await self._change()
        body, self.received = self.received[:length], self.received[length:]
        return RawAnswer(int(status_line.split(" ")[1]), headers, body)

    async def end(self) -> None:
        """
        Wait until the server closed its direction, or all of the connection, in order.
        """
        while not self.at_end and self.lost is None:
            await self._change()
        if self.lost is not None:
            self.lost.trap(ConnectionDone)

    async def gone(self) -> Failure:
        """
        Wait until the connection is no more, and tell why.
        """
        while self.lost is None:
            await self._change()
        return self.lost

    async def _change(self) -> None:
        if self.lost is not None:
            raise AssertionError(f"the connection ended with {self.lost.value!r} after {self.received[:200]!r}")
        changed: Deferred[None] = Deferred()
        self._changed.append(changed)
        await changed

    def _tell(self) -> None:
        waiting, self._changed = self._changed, []
        for changed in waiting:
            changed.callback(None)

    # For Twisted.

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self._tell()

    def readConnectionLost(self) -> None:
        self.at_end = True
        self._tell()

    def writeConnectionLost(self) -> None:
        pass

    def connectionLost(self, reason: Failure) -> None:
        self.lost = reason
        self._tell()


def answer(request: Request, status: int, body: bytes = b"") -> None:
    """
    Answer a request.
    """
    request.setResponseCode(status)
    request.setHeader(b"Content-Length", b"%d" % len(body))
    request.write(body)
    request.finish()


async def until(condition: Callable[[], object]) -> None:
    """
    Let the reactor turn until something is the case.
    """

    while not condition():
        turn: Deferred[None] = Deferred()
        reactor.callLater(0.001, turn.callback, None)
        await turn


class _HandlerResource(Resource):
    isLeaf = True

    def __init__(self, case: EdgeTestCase, handler: Handler) -> None:
        super().__init__()
        self._case = case
        self._handler = handler

    def render(self, request: Request) -> int:
        work = Deferred.fromCoroutine(self._run(request))
        request.notifyFinish().addErrback(lambda _: work.cancel())
        return NOT_DONE_YET

    async def _run(self, request: Request) -> None:
        self._case.requests.append(request)
        try:
            await self._handler(request)
        except BaseException as exc:
            self._case.failures.append(exc)


class EdgeTestCase(TestCase):
    """
    Tests that drive raw bytes over a real socket to a site whose deadlines follow a clock that the test moves.

    :ivar requests: Every request that was dispatched.
    :ivar failures: Every exception that came out of a handler. A test which expects one takes it out.
    """

    timeout = 30

    def setUp(self) -> None:
        self.clock = Clock()
        self.requests: list[Request] = []
        self.failures: list[BaseException] = []
        self.clients: list[RawClient] = []
        self.channels: list[Channel] = []

    def tearDown(self) -> None:
        self.assertEqual(self.failures, [])

    def serve(self, handler: Handler, limits: EdgeLimits = EdgeLimits(), **options: object) -> EdgeSite:  # noqa: B008
        """
        Start a server with one handler for everything.
        """

        site = make_site(_HandlerResource(self, handler), self.clock, limits, **options)
        make_channel = site.protocol

        def make_and_remember() -> Channel:
            self.channels.append(make_channel())
            return self.channels[-1]

        site.protocol = make_and_remember
        self.port = self.listen(reactor, site)
        self.addCleanup(self.port.stopListening)
        self.addCleanup(self._leave)
        return site

    def listen(self, reactor: object, site: EdgeSite) -> object:
        """
        Listen on a free port; a test over TLS does so in its own way.
        """
        return reactor.listenTCP(0, site, interface="127.0.0.1")

    async def connect(self, tls: object = None) -> RawClient:
        """
        Open a connection to the server.
        """

        endpoint = HostnameEndpoint(reactor, "127.0.0.1", self.port.getHost().port)
        if tls is not None:
            endpoint = wrapClientTLS(tls, endpoint)
        client = await connectProtocol(endpoint, RawClient())
        self.clients.append(client)
        return client

    async def _leave(self) -> None:
        for client in self.clients:
            if client.lost is None:
                client.close()
        for client in self.clients:
            await client.gone()
        await until(lambda: all(channel.transport.disconnected for channel in self.channels))

    def take_failure(self, kind: type[BaseException]) -> BaseException:
        """
        Take out the one exception that a handler was expected to raise.
        """
        (failure,) = self.failures
        self.failures.clear()
        self.assertIsInstance(failure, kind)
        return failure
