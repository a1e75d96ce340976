"""
Bodies leave as responses: whole, or visibly not; at the client's pace; and nothing stays behind.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.internet import reactor, ssl
from twisted.internet.defer import CancelledError, Deferred, DeferredQueue
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IConsumer
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock, deferLater
from twisted.protocols.policies import WrappingFactory
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import TestCase
from twisted.web.iweb import UNKNOWN_LENGTH
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from glance_tx.streaming.errors import BodyTooLong, BodyTooShort, ReceiverLost, ShortFile, TransferStalled
from glance_tx.streaming.filebody import FileBody
from glance_tx.streaming.growth import GrowingFile, Resident, WholeFile
from glance_tx.streaming.interfaces import IBodyProducer, IGrowth
from glance_tx.streaming.lanes import Lanes
from glance_tx.streaming.memory import MemoryBody
from glance_tx.streaming.sendfile import takes_sendfile
from glance_tx.streaming.units import KiB, MiB
from glance_tx.web.bodies import send_body
from glance_tx.web.request import Request, make_site
from tests.contracts.body import patterned
from tests.doubles.certificates import self_signed
from tests.streaming.files import drop_from_memory, times_open
from tests.web.wire import WireClient

BODY = patterned(12 * MiB + 7)
"""Longer than what two sockets' buffers hold."""


@frozen
class Outcome:
    """How one transfer ended: with which error, and after how many bytes by the request's own count."""

    error: BaseException | None
    sent: int


class Served(Resource):
    """
    Answers GET and HEAD of a path with the body a test put there.
    """

    isLeaf = True

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.bodies: dict[bytes, Callable[[], IBodyProducer]] = {}
        self.outcomes: DeferredQueue[Outcome] = DeferredQueue()
        self.requests: list[Request] = []
        self.transfers: list[Deferred[None]] = []
        self._clock = clock

    def render(self, request: Request) -> int:
        self.requests.append(request)
        self.transfers.append(Deferred.fromCoroutine(self._answer(request)))
        return NOT_DONE_YET

    async def _answer(self, request: Request) -> None:
        error: BaseException | None = None
        try:
            await send_body(request, self.bodies[request.path](), clock=self._clock, stall_seconds=60)
        except Exception as exc:
            error = exc
        sent = request.sentLength
        if request.channel is not None and (error is None or not request.startedWriting):
            if error is not None:
                request.setResponseCode(503)
                request.setHeader(b"Content-Length", b"0")
            request.finish()
        self.outcomes.put(Outcome(error, sent))


class WatchedBody(FileBody):
    """
    A file body that tells whether it was pushed.
    """

    pushed = False

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        self.pushed = True
        return super().startProducing(consumer)


@implementer(IBodyProducer)
class GeneratedBody:
    """
    A long body that exists only as far as it was taken.
    """

    def __init__(self, length: int) -> None:
        self.length = length
        self.written = 0
        self.stopped = False
        self._paused = False
        self._consumer: Any = None

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        self._consumer, self._done = consumer, Deferred[None]()
        self.resumeProducing()
        return self._done

    def resumeProducing(self) -> None:
        self._paused = False
        while not self._paused and not self.stopped and self.written < self.length:
            size = min(64 * KiB, self.length - self.written)
            self.written += size
            self._consumer.write(bytes(size))
        if self.written == self.length and not self.stopped:
            self.stopped = True
            self._done.callback(None)

    def pauseProducing(self) -> None:
        self._paused = True

    def stopProducing(self) -> None:
        self.stopped = True


class ServedBodies(TestCase):
    """
    A server, and clients on real sockets.
    """

    timeout = 60

    def setUp(self) -> None:
        self.clock = Clock()
        self.served = Served(self.clock)
        self.port: Any = self.listen(make_site(self.served, reactor))
        # Accepted sockets inherit it: what a body puts out does not vanish into the kernel.
        self.port.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 128 * KiB)
        self.addCleanup(self.port.stopListening)
        self.path = Path(self.mktemp())
        self.path.write_bytes(BODY)
        self.files: list[WatchedBody] = []

    def listen(self, factory: Factory) -> Any:
        return reactor.listenTCP(0, factory, interface="127.0.0.1")

    async def connect(self) -> WireClient:
        client: WireClient = await self.connection(WireClient())
        self.addCleanup(client.closed)
        self.addCleanup(client.abort)
        return client

    def connection(self, client: WireClient) -> Deferred[WireClient]:
        done: Deferred[WireClient] = Deferred()
        factory = Factory.forProtocol(lambda: client)
        client.connectionMade = lambda: done.callback(client)  # type: ignore[method-assign]
        factory.clientConnectionFailed = lambda _, reason: done.errback(reason)
        factory.clientConnectionLost = lambda *_: None
        factory.startedConnecting = lambda _: None
        self.connect_with(factory)
        return done

    def connect_with(self, factory: Factory) -> None:
        reactor.connectTCP("127.0.0.1", self.port.getHost().port, factory)

    def open_file(self, growth: IGrowth | None = None, offset: int = 0, length: int | None = None) -> WatchedBody:
        length = len(BODY) - offset if length is None else length
        descriptor = os.open(self.path, os.O_RDONLY)
        body = WatchedBody(descriptor, offset, length, growth or WholeFile(offset + length))
        self.files.append(body)
        self.addCleanup(body.close)
        return body

    def serve(self, path: bytes, make: Callable[[], IBodyProducer]) -> None:
        self.served.bodies[path] = make

    async def fetching(self, path: bytes) -> WireClient:
        """Begin to fetch, and stop taking anything soon after the head."""
        client = await self.connect()
        client.get(path)
        client.resume(up_to=1000)
        await client.until(lambda: client.total >= 1000)
        return client

    async def assert_broken(self, client: WireClient) -> None:
        """The connection ends, and not in the way an answer ends."""
        self.assertNotIsInstance(await client.closed(), ConnectionDone)

    async def turn_until(self, condition: Callable[[], bool], each_turn: Callable[[], object] = lambda: None) -> None:
        while not condition():
            await deferLater(reactor, 0)
            each_turn()


class AnyConnection:
    """
    What holds whatever the connection is.
    """

    async def test_whole(self: Any) -> None:
        """
        A file arrives whole and right, its length is announced and counted, and it is closed.
        """
        self.serve(b"/file", self.open_file)
        client = await self.connect()
        client.get(b"/file")
        answer = await client.answer()
        self.assertEqual((answer.status, answer.headers["content-length"]), (200, str(len(BODY))))
        self.assertNotIn("transfer-encoding", answer.headers)
        self.assertTrue(answer.body == BODY)
        self.assertEqual(await self.served.outcomes.get(), Outcome(None, len(BODY)))
        self.assertEqual(times_open(self.path), 0)

    async def test_part(self: Any) -> None:
        """
        Of a part of a file that part arrives.
        """
        client = await self.connect()
        for offset, length in ((0, 1), (5, 3 * MiB), (len(BODY) - 1, 1)):
            self.serve(b"/part", lambda offset=offset, length=length: self.open_file(offset=offset, length=length))
            client.get(b"/part")
            self.assertTrue((await client.answer()).body == BODY[offset : offset + length])
        self.assertEqual(times_open(self.path), 0)

    async def test_other_producer(self: Any) -> None:
        """
        A body that lies in no file arrives as well.
        """
        self.serve(b"/memory", lambda: MemoryBody(BODY))
        client = await self.connect()
        client.get(b"/memory")
        self.assertTrue((await client.answer()).body == BODY)
        self.assertEqual(await self.served.outcomes.get(), Outcome(None, len(BODY)))

    async def test_kept_alive(self: Any) -> None:
        """
        After a body the connection serves the next request, of whatever kind.
        """
        self.serve(b"/file", self.open_file)
        self.serve(b"/memory", lambda: MemoryBody(b"small"))
        client = await self.connect()
        for path, body in ((b"/file", BODY), (b"/memory", b"small"), (b"/file", BODY), (b"/memory", b"small")):
            client.get(path)
            self.assertTrue((await client.answer()).body == body)

    async def test_pipelined(self: Any) -> None:
        """
        Requests sent all at once, more than the server reads ahead, are answered one after another in order.
        """
        count = 300
        for number in range(count):
            offset = number * 30_000
            self.serve(b"/%d" % number, lambda offset=offset: self.open_file(offset=offset, length=30_000))
        client = await self.connect()
        for number in range(count):
            client.get(b"/%d" % number, b"X-Padding: " + b"x" * 100)
        for number in range(count):
            self.assertTrue((await client.answer()).body == BODY[number * 30_000 :][:30_000])

    async def test_pipelined_behind_a_slow_answer(self: Any) -> None:
        """
        A request sent before the answer to the one before was taken is answered all the same.
        """
        self.serve(b"/file", self.open_file)
        self.serve(b"/memory", lambda: MemoryBody(BODY))
        client = await self.connect()
        for path in (b"/memory", b"/file", b"/memory", b"/file"):
            client.get(path)
        for _ in range(4):
            client.resume(up_to=MiB)
            await client.until(lambda: len(client.received) >= MiB)
            client.resume()
            self.assertTrue((await client.answer()).body == BODY)

    async def test_no_body(self: Any) -> None:
        """
        HEAD, and a body of no length, get a head only; the file is closed and the connection goes on.
        """
        self.serve(b"/file", self.open_file)
        self.serve(b"/empty", lambda: self.open_file(length=0))
        self.serve(b"/memory", lambda: MemoryBody(b""))
        client = await self.connect()
        client.get(b"/file", method=b"HEAD")
        self.assertEqual((await client.answer(to_head=True)).status, 200)
        for path in (b"/empty", b"/memory"):
            client.get(path)
            self.assertEqual((await client.answer()).body, b"")
        self.assertEqual((client.received, times_open(self.path)), (b"", 0))

    async def test_slow_reader(self: Any) -> None:
        """
        A client that takes the body in small portions gets all of it.
        """
        self.serve(b"/file", self.open_file)
        client = await self.fetching(b"/file")
        while len(client.received) < 2 * MiB:
            client.resume(up_to=200 * KiB)
            goal = client.total + 200 * KiB
            await client.until(lambda goal=goal: client.total >= goal)
        client.resume()
        self.assertTrue((await client.answer()).body == BODY)

    async def test_slow_and_fast(self: Any) -> None:
        """
        A client that takes nothing holds nobody up.
        """
        self.serve(b"/file", self.open_file)
        slow = await self.fetching(b"/file")
        fast = await self.connect()
        fast.get(b"/file")
        self.assertTrue((await fast.answer()).body == BODY)
        self.assertLess(slow.total, len(BODY))
        slow.resume()
        self.assertTrue((await slow.answer()).body == BODY)

    async def test_client_leaves(self: Any) -> None:
        """
        When the client leaves half-way the transfer ends, the file is closed, and what was sent is counted.
        """
        for _ in range(5):
            self.serve(b"/file", self.open_file)
            client = await self.fetching(b"/file")
            client.abort()
            outcome = await self.served.outcomes.get()
            self.assertIsInstance(outcome.error, ReceiverLost)
            self.assertTrue(0 < outcome.sent < len(BODY))
            self.assertEqual(times_open(self.path), 0)

    async def test_server_closes(self: Any) -> None:
        """
        When our own side closes the connection half-way the transfer ends as well.
        """
        self.serve(b"/file", self.open_file)
        self.serve(b"/memory", lambda: MemoryBody(BODY))
        for path in (b"/file", b"/memory"):
            client = await self.fetching(path)
            self.served.requests[-1].channel.loseConnection()
            client.resume()
            await client.closed()
            self.assertIsInstance((await self.served.outcomes.get()).error, ReceiverLost)
            self.assertLess(client.total, len(BODY))
        self.assertEqual(times_open(self.path), 0)

    async def test_client_leaves_while_file_grows(self: Any) -> None:
        """
        A client that leaves while the file has nothing for it is noticed at once.
        """
        self.serve(b"/file", lambda: self.open_file(GrowingFile(2000)))
        client = await self.fetching(b"/file")
        client.abort()
        self.assertIsInstance((await self.served.outcomes.get()).error, ReceiverLost)
        self.assertEqual(times_open(self.path), 0)

    async def test_client_leaves_before_the_head(self: Any) -> None:
        """
        So is one that leaves while there is not even a first byte.
        """
        self.serve(b"/file", lambda: self.open_file(GrowingFile()))
        client = await self.connect()
        client.get(b"/file")
        await self.turn_until(lambda: self.served.transfers)
        client.abort()
        outcome = await self.served.outcomes.get()
        self.assertIsInstance(outcome.error, ReceiverLost)
        self.assertEqual((outcome.sent, times_open(self.path)), (0, 0))

    async def test_short_file(self: Any) -> None:
        """
        A file shorter than announced ends in a broken connection, never in an answer that looks whole.
        """
        self.serve(b"/file", lambda: self.open_file(length=len(BODY) + 1))
        client = await self.connect()
        client.get(b"/file")
        await self.assert_broken(client)
        self.assertLess(len(client.received.partition(b"\r\n\r\n")[2]), len(BODY) + 1)
        self.assertIsInstance((await self.served.outcomes.get()).error, ShortFile)
        self.assertEqual(times_open(self.path), 0)

    async def test_growing_followers(self: Any) -> None:
        """
        Several clients follow a growing file, each at its own pace, and each gets all of it.
        """
        growth = GrowingFile(10)
        self.serve(b"/file", lambda: self.open_file(growth))
        eager = [await self.connect() for _ in range(3)]
        for client in eager:
            client.get(b"/file")
            status, headers = await client.head()
            self.assertEqual((status, headers["content-length"]), (200, str(len(BODY))))
            await client.until(lambda client=client: len(client.received) == 10)
        growth.grow(1 * MiB)
        lazy = await self.fetching(b"/file")
        for limit in range(2 * MiB, len(BODY), MiB):
            growth.grow(limit)
            for client in eager:
                await client.until(lambda client=client, limit=limit: len(client.received) == limit)
        late = await self.connect()
        late.get(b"/file")
        await late.head()
        growth.grow(len(BODY))
        for client in (*eager, late):
            await client.until(lambda client=client: len(client.received) == len(BODY))
            self.assertTrue(client.received == BODY)
        self.assertLess(lazy.total, len(BODY))
        lazy.resume()
        self.assertTrue((await lazy.answer()).body == BODY)
        self.assertEqual(times_open(self.path), 0)

    async def test_growth_gives_up(self: Any) -> None:
        """
        When a file stops growing half-way its clients' connections are broken.
        """
        growth = GrowingFile(5 * MiB)
        self.serve(b"/file", lambda: self.open_file(growth))
        clients = [await self.connect() for _ in range(2)]
        for client in clients:
            client.get(b"/file")
            await client.until(lambda client=client: client.total > 5 * MiB)
        growth.give_up(RuntimeError("upstream gone"))
        for client in clients:
            await self.assert_broken(client)
            self.assertIsInstance((await self.served.outcomes.get()).error, RuntimeError)
        self.assertEqual(times_open(self.path), 0)

    async def test_growth_gives_up_before_the_head(self: Any) -> None:
        """
        When there never is a first byte another answer can be given, and the connection goes on.
        """
        growth = GrowingFile()
        self.serve(b"/file", lambda: self.open_file(growth))
        client = await self.connect()
        client.get(b"/file")
        await self.turn_until(lambda: self.served.transfers)
        growth.give_up(RuntimeError("upstream gone"))
        self.assertEqual((await client.answer()).status, 503)
        self.assertIsInstance((await self.served.outcomes.get()).error, RuntimeError)
        self.serve(b"/file", self.open_file)
        client.get(b"/file")
        self.assertTrue((await client.answer()).body == BODY)

    async def test_stalled(self: Any) -> None:
        """
        A client that takes nothing for the whole time is dropped.
        """
        self.serve(b"/file", self.open_file)
        self.serve(b"/memory", lambda: MemoryBody(BODY))
        for path in (b"/file", b"/memory"):
            client = await self.fetching(path)
            outcome = self.served.outcomes.get()
            await self.turn_until(lambda outcome=outcome: outcome.called, lambda: self.clock.advance(0.5))
            error = (await outcome).error
            self.assertIsInstance(error, TransferStalled)
            self.assertEqual(error.seconds, 60)
            client.resume()
            await self.assert_broken(client)
            self.assertLess(client.total, len(BODY))
            self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(times_open(self.path), 0)

    async def test_cancelled(self: Any) -> None:
        """
        A transfer cancelled half-way breaks the connection.
        """
        self.serve(b"/file", self.open_file)
        self.serve(b"/memory", lambda: MemoryBody(BODY))
        for path in (b"/file", b"/memory"):
            client = await self.fetching(path)
            self.served.transfers[-1].cancel()
            self.assertIsInstance((await self.served.outcomes.get()).error, CancelledError)
            client.resume()
            await self.assert_broken(client)
            self.assertLess(client.total, len(BODY))
        self.assertEqual(times_open(self.path), 0)

    async def test_cold_file(self: Any) -> None:
        """
        A file that is not in memory is read in the pool, and arrives right.
        """
        pool = ThreadPool(0, 2)
        pool.start()
        self.addCleanup(pool.stop)
        lane = Lanes(reactor, pool).lane("cold")

        descriptor = os.open(self.path, os.O_RDONLY)
        growth = Resident(WholeFile(len(BODY)), descriptor, lane, window_bytes=MiB)
        body = FileBody(descriptor, 3, len(BODY) - 3, growth)
        self.addCleanup(body.close)
        drop_from_memory(self, descriptor)
        self.serve(b"/file", lambda: body)
        client = await self.connect()
        client.get(b"/file")
        self.assertTrue((await client.answer()).body == BODY[3:])
        self.assertGreaterEqual(pool.workers, 1)
        self.assertEqual(times_open(self.path), 0)

    async def test_in_flight(self: Any) -> None:
        """
        However long a body and however slow its client, little of it is in memory at a time.
        """
        body = GeneratedBody(512 * MiB)
        self.serve(b"/long", lambda: body)
        self.serve(b"/file", self.open_file)
        client = await self.connect()
        client.get(b"/file")  # what it does to the connection must not outlast it
        self.assertTrue((await client.answer()).body == BODY)
        await self.served.outcomes.get()
        client.take_little()
        client.get(b"/long")
        client.resume(up_to=1000)
        for _ in range(8):
            client.resume(up_to=MiB)
            goal = client.total + MiB
            await client.until(lambda goal=goal: client.total >= goal)
            # What the sockets' buffers and those of TLS hold is in this, too.
            self.assertLess(body.written - client.total, MiB)
        client.abort()
        self.assertIsInstance((await self.served.outcomes.get()).error, ReceiverLost)
        self.assertTrue(body.stopped)

    async def test_wrong_length(self: Any) -> None:
        """
        A body that is shorter, or longer, than it said breaks the connection.
        """
        for lie, error in ((1, BodyTooShort), (-1, BodyTooLong)):
            body = MemoryBody(BODY)
            body.length += lie
            self.serve(b"/memory", lambda body=body: body)
            client = await self.connect()
            client.get(b"/memory")
            await self.assert_broken(client)
            self.assertLess(len(client.received.partition(b"\r\n\r\n")[2]), body.length)
            self.assertIsInstance((await self.served.outcomes.get()).error, error)

    async def test_unknown_length(self: Any) -> None:
        """
        A body whose length nobody knows is sent in chunks.
        """
        for data in (b"some data", b""):
            body = MemoryBody(data)
            body.length = UNKNOWN_LENGTH
            self.serve(b"/memory", lambda body=body: body)
            client = await self.connect()
            client.get(b"/memory", b"Connection: close")
            await client.closed()
            head, _, rest = bytes(client.received).partition(b"\r\n\r\n")
            self.assertIn(b"transfer-encoding: chunked", head.lower())
            self.assertEqual(rest, (b"9\r\nsome data\r\n" if data else b"") + b"0\r\n\r\n")


class TcpTests(AnyConnection, ServedBodies):
    """
    Bodies over plain TCP.
    """

    async def test_by_sendfile(self) -> None:
        """
        Files go by sendfile here.
        """
        self.serve(b"/file", self.open_file)
        client = await self.connect()
        client.get(b"/file")
        await client.answer()
        self.assertFalse(self.files[0].pushed)

    async def test_upgraded(self) -> None:
        """
        A connection that turned to TLS takes no sendfile any more.
        """
        client = await self.connect()
        self.assertTrue(takes_sendfile(client.transport))
        client.transport.startTLS(ssl.CertificateOptions())
        self.assertFalse(takes_sendfile(client.transport))

    async def test_client_already_gone(self) -> None:
        """
        A body for a client that has left is let go.
        """
        waiting: list[Deferred[None]] = []
        errors: DeferredQueue[Exception] = DeferredQueue()

        async def answer(request: Request) -> None:
            with contextlib.suppress(Exception):
                await request.notifyFinish()
            try:
                await send_body(request, self.open_file(), clock=self.clock)
            except ReceiverLost as exc:
                errors.put(exc)

        def render(request: Request) -> int:
            waiting.append(Deferred.fromCoroutine(answer(request)))
            return NOT_DONE_YET

        self.served.render = render

        client = await self.connect()
        client.get(b"/file")
        await self.turn_until(lambda: waiting)
        client.abort()
        self.assertIsInstance(await errors.get(), ReceiverLost)
        self.assertEqual(times_open(self.path), 0)


class UnixTests(AnyConnection, ServedBodies):
    """
    Bodies over a UNIX socket.
    """

    def listen(self, factory: Factory) -> Any:
        self.socket_path = self.mktemp()
        return reactor.listenUNIX(self.socket_path, factory)

    def connection(self, client: WireClient) -> Deferred[WireClient]:
        return connectProtocol(UNIXClientEndpoint(reactor, self.socket_path), client)

    async def assert_broken(self, client: WireClient) -> None:
        # These sockets have no reset: only the missing bytes tell, which tests of files look at.
        await client.closed()

    async def test_by_sendfile(self) -> None:
        """
        Files go by sendfile here.
        """
        self.serve(b"/file", self.open_file)
        client = await self.connect()
        client.get(b"/file")
        await client.answer()
        self.assertFalse(self.files[0].pushed)


class TlsTests(AnyConnection, ServedBodies):
    """
    Bodies over TLS.
    """

    def listen(self, factory: Factory) -> Any:
        return reactor.listenSSL(0, factory, self_signed().options(), interface="127.0.0.1")

    def connect_with(self, factory: Factory) -> None:
        reactor.connectSSL("127.0.0.1", self.port.getHost().port, factory, ssl.CertificateOptions())

    async def test_pushed(self) -> None:
        """
        Files are pushed here: what went into the socket itself would not be encrypted.
        """
        self.serve(b"/file", self.open_file)
        client = await self.connect()
        client.get(b"/file")
        await client.answer()
        self.assertTrue(self.files[0].pushed)


class WrappedTests(ServedBodies):
    """
    Bodies through a protocol that wraps the connection.
    """

    def listen(self, factory: Factory) -> Any:
        return super().listen(WrappingFactory(factory))

    async def test_pushed(self) -> None:
        """
        Files are pushed here, and not past the wrapper, which claims to be a TCP transport.
        """
        self.serve(b"/file", self.open_file)
        client = await self.connect()
        client.get(b"/file")
        self.assertTrue((await client.answer()).body == BODY)
        self.assertTrue(self.files[0].pushed)
