"""
Tests of who is asked where there are several upstreams, and of what their answers are worth.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.error import ConnectionLost
from twisted.internet.error import ConnectionRefusedError as RefusedError
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web._newclient import ParseError
from twisted.web.client import HTTPConnectionPool, ResponseFailed, ResponseNeverReceived
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IRequest, IResponse
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer
from zope.interface.verify import verifyObject

from glance_cache.agent import UpstreamAgent
from glance_cache.client import Exchange, UpstreamClient, UpstreamTimes
from glance_cache.errors import UpstreamBrokeOff, UpstreamUnavailable
from glance_tx.streaming.buffer import BodyBuffer
from glance_tx.streaming.errors import BodyLost
from glance_tx.streaming.interfaces import IBodyReader, IBodySource
from glance_tx.streaming.units import KiB, MiB
from glance_tx.tls.client import ClientTls
from tests.doubles.upstreams import RawUpstream, reactor, turns
from tests.web.raw import until

Render = Callable[[IRequest], bytes]


class Server(Resource):
    """
    Answers everything with one status and one body.
    """

    isLeaf = True

    def __init__(self, status: int, body: bytes = b"") -> None:
        super().__init__()
        self.status = status
        self.body = body

    def render(self, request: IRequest) -> bytes:
        request.setResponseCode(self.status)
        return self.body


class Endless(Resource):
    """
    Begins an answer, and says no more.
    """

    isLeaf = True

    def render(self, request: IRequest) -> int:
        request.write(b"x")
        return NOT_DONE_YET


@implementer(IAgent)
@define
class Network:
    """
    Servers by host name. One may be an exception, which the request fails with.
    """

    servers: dict[str, Resource | Exception]
    asked: list[str] = field(factory=list)
    bodies: list[IBodyProducer | None] = field(factory=list)
    agents: list[RequestTraversalAgent] = field(factory=list)

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, body: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        host = uri.decode().split("/")[2]
        self.asked.append(host)
        self.bodies.append(body)
        server = self.servers[host]
        if isinstance(server, Exception):
            return fail(server)
        self.agents.append(RequestTraversalAgent(server))
        return self.agents[-1].request(method, uri, headers, body)  # type: ignore[no-any-return]


class TurnTests(SynchronousTestCase):
    """
    `UpstreamClient` asks upstreams in turn, where that can do no harm.
    """

    NEVER = ResponseNeverReceived([Failure(ConnectionLost())])

    def exchange(
        self, method: str, body: IBodyReader | None = None, **servers: Resource | Exception
    ) -> Deferred[Exchange]:
        self.network = Network(servers)
        self.client = UpstreamClient(self.network, Clock(), [f"http://{name}" for name in servers], UpstreamTimes())
        return Deferred.fromCoroutine(self.client.exchange(method, "/", Headers(), body))

    def test_not_connected(self) -> None:
        """
        Where there is nobody to talk to the next one is asked, whatever the request is, and first from then on.
        """
        for method in ("GET", "POST", "DELETE"):
            answer = self.successResultOf(self.exchange(method, one=RefusedError(), two=Server(204)))
            self.assertEqual((answer.base, answer.status), ("http://two", 204))
            self.assertEqual(self.client.preferred, "http://two")

    def test_no_answer(self) -> None:
        """
        Where one breaks off before its answer the next one is asked only what changes nothing.
        """
        for method in ("GET", "HEAD", "OPTIONS"):
            answer = self.successResultOf(self.exchange(method, one=self.NEVER, two=Server(204)))
            self.assertEqual(answer.base, "http://two")
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            self.failureResultOf(self.exchange(method, one=self.NEVER, two=Server(204)), UpstreamUnavailable)
            self.assertEqual(self.network.asked, ["one"])

    def test_not_with_a_body(self) -> None:
        """
        A request with a body is not sent again, for that may be gone.
        """
        body = BodyBuffer(3, hold=lambda: None, release=lambda: None)
        self.failureResultOf(self.exchange("GET", body, one=self.NEVER, two=Server(204)), UpstreamUnavailable)
        self.assertEqual(self.network.asked, ["one"])

    def test_in_trouble(self) -> None:
        """
        One that cannot work now is passed over; the last one's own word counts.
        """
        answer = self.successResultOf(self.exchange("GET", one=Server(503), two=Server(502), three=Server(200)))
        self.assertEqual((answer.base, answer.status), ("http://three", 200))
        answer = self.successResultOf(self.exchange("GET", one=Server(503), two=Server(504)))
        self.assertEqual(answer.status, 504)
        answer = self.successResultOf(self.exchange("POST", one=Server(503), two=Server(200)))
        self.assertEqual(answer.status, 503)

    def test_refusals_count(self) -> None:
        """
        Any other answer is one.
        """
        for status in (401, 403, 404, 409, 500):
            answer = self.successResultOf(self.exchange("GET", one=Server(status), two=Server(200)))
            self.assertEqual(answer.status, status)

    def test_nobody(self) -> None:
        """
        Where nobody answers it is said of each why, in words, without what it may have sent.
        """
        odd = ResponseFailed([Failure(ParseError("odd", b"secret"))])
        failure = self.failureResultOf(self.exchange("GET", one=self.NEVER, two=odd), UpstreamUnavailable)
        text = str(failure.value)
        self.assertIn("http://one: Connection to the other side was lost in a non-clean fashion", text)
        self.assertIn("http://two: ParseError", text)
        self.assertNotIn("secret", text)
        self.assertNotIn("Failure", text)

    def test_credentials_in_urls(self) -> None:
        """
        No password of a URL gets into a text.
        """
        client = UpstreamClient(Network({"u:hush@one": self.NEVER}), Clock(), ["http://u:hush@one"], UpstreamTimes())
        asking = Deferred.fromCoroutine(client.exchange("GET", "/", Headers()))
        self.assertNotIn("hush", str(self.failureResultOf(asking, UpstreamUnavailable).value))


class BodyTests(SynchronousTestCase):
    """
    The body of an answer is what the upstream says, or its own fault.
    """

    def setUp(self) -> None:
        self.network = Network({"one": Server(200, b"x" * 1000), "two": Server(200)})
        self.clock = Clock()
        self.client = UpstreamClient(self.network, self.clock, ["http://one", "http://two"], UpstreamTimes())

    def answer(self) -> Exchange:
        return self.successResultOf(Deferred.fromCoroutine(self.client.exchange("GET", "/", Headers())))

    def read_on(self, reader: IBodySource, at_least: int = MiB) -> Deferred[bytes]:
        reading = Deferred.fromCoroutine(reader.read(at_least))
        for agent in self.network.agents:
            agent.flush()
        return reading

    def test_whole(self) -> None:
        """
        It is an `IBodySource` of the length that the upstream announced.
        """
        reader = self.client.reader(self.answer())
        self.assertTrue(verifyObject(IBodySource, reader))
        self.assertEqual(reader.length, 1000)
        self.assertEqual(len(self.successResultOf(self.read_on(reader))), 1000)
        self.assertEqual(self.successResultOf(self.read_on(reader)), b"")

    def test_stall(self) -> None:
        """
        One that stands still is the upstream's fault, which is asked last from then on.
        """
        self.network.servers["one"] = Endless()
        reader = self.client.reader(self.answer())
        self.assertEqual(self.successResultOf(self.read_on(reader, 1)), b"x")
        reading = self.read_on(reader)
        self.clock.advance(60)
        self.assertIn("http://one: no byte", str(self.failureResultOf(reading, UpstreamBrokeOff).value))
        self.assertEqual(self.client.preferred, "http://two")

    def test_longer(self) -> None:
        """
        One that is longer than it should be is not handed on.
        """
        reader = self.client.reader(self.answer(), expected_length=999)
        failure = self.failureResultOf(self.read_on(reader), UpstreamBrokeOff)
        self.assertIn("longer than 999", str(failure.value))

    def test_shorter(self) -> None:
        """
        One that is shorter than it should be has no good end.
        """
        reader = self.client.reader(self.answer(), expected_length=1001)
        self.failureResultOf(self.read_on(reader), UpstreamBrokeOff)

    def test_collect(self) -> None:
        """
        A short body can be had whole, and no more of it than asked for.
        """
        for limit, expected in ((2000, 1000), (1000, 1000), (10, 10)):
            collecting = Deferred.fromCoroutine(self.client.collect(self.answer(), limit))
            self.network.agents[-1].flush()
            self.assertEqual(len(self.successResultOf(collecting)), expected)


class SocketTests(TestCase):
    """
    Over real sockets nothing of a request stays behind.
    """

    timeout = 10

    def setUp(self) -> None:
        self.upstream = RawUpstream()
        self.addCleanup(self.upstream.stop)
        self.pool = HTTPConnectionPool(reactor)
        self.addCleanup(self.pool.closeCachedConnections)
        agent = UpstreamAgent(reactor, self.pool, 5, ClientTls())
        self.clock = Clock()
        self.client = UpstreamClient(agent, self.clock, [self.upstream.url], UpstreamTimes())
        self.source = BodyBuffer(None, hold=lambda: None, release=lambda: None)

    def exchange(self, method: str, body: IBodyReader | None = None) -> Deferred[Exchange]:
        return Deferred.fromCoroutine(self.client.exchange(method, "/", Headers(), body))

    async def test_silent_server(self) -> None:
        """
        A server that says nothing is given up after its time.
        """
        asking = self.exchange("GET")
        connection, _ = await self.upstream.exchange()
        self.clock.pump([15] * 4)
        failure = await self.assertFailure(asking, UpstreamUnavailable)
        self.assertIn("no answer within 60 seconds", str(failure))
        await connection.gone()

    async def test_slow_client(self) -> None:
        """
        While it is the client that has to send something the server has all the time there is.
        """
        asking = self.exchange("PUT", self.source)
        connection, _ = await self.upstream.exchange()
        self.clock.pump([15] * 100)
        self.source.write(b"late")
        self.source.finish()
        self.assertEqual(await connection.chunked_body(), b"late")
        connection.reply(201, b"done")
        self.assertEqual((await asking).status, 201)

    async def test_leaving(self) -> None:
        """
        Who leaves while the upload is under way takes the connection along, and no other upstream is asked.
        """
        for written in (0, 1, 10 * MiB):
            asking = self.exchange("PUT", self.source)
            connection, _ = await self.upstream.exchange()
            self.source.write(bytes(written))
            asking.cancel()
            await self.assertFailure(asking, CancelledError)
            await connection.gone()
            self.assertFalse(self.source.reading)

    async def test_leaving_while_waiting(self) -> None:
        """
        Who leaves before an answer has come takes the connection along.
        """
        asking = self.exchange("GET")
        connection, _ = await self.upstream.exchange()
        asking.cancel()
        await self.assertFailure(asking, CancelledError)
        await connection.gone()

    async def test_leaving_while_connecting(self) -> None:
        """
        Who leaves before there is a connection hears of that alone.
        """
        asking = self.exchange("GET")
        asking.cancel()
        await self.assertFailure(asking, CancelledError)
        await turns(20)

    async def test_client_breaks_off(self) -> None:
        """
        A request's body that breaks off is its sender's fault, and not the upstream's.
        """
        asking = self.exchange("PUT", self.source)
        connection, _ = await self.upstream.exchange()
        self.source.write(b"some")
        self.source.fail(BodyLost(4, "malformed chunk"))
        failure = await self.assertFailure(asking, BodyLost)
        self.assertIn("malformed chunk", str(failure))
        await connection.gone()

    async def test_early_answer(self) -> None:
        """
        After an early answer what becomes of the request's body is of no interest, not even in the same turn.
        """
        asking = self.exchange("PUT", self.source)
        asking.addCallback(lambda answer: (self.source.fail(BodyLost(0, "answered already")), answer)[1])
        connection, _ = await self.upstream.exchange()
        connection.reply(409, b"busy")
        answer = await asking
        self.assertEqual(await self.client.collect(answer, KiB), b"busy")
        await connection.gone()

    async def test_upstream_dies(self) -> None:
        """
        An upstream that dies in the middle of an upload is unavailable.
        """
        asking = self.exchange("PUT", self.source)
        connection, _ = await self.upstream.exchange()
        self.source.write(b"some")
        connection.close()
        await self.assertFailure(asking, UpstreamUnavailable)
        await until(lambda: not self.source.reading)

    async def test_passed_over(self) -> None:
        """
        The answer of an upstream that is passed over is not kept waiting.
        """
        other = RawUpstream()
        self.addCleanup(other.stop)
        agent = UpstreamAgent(reactor, self.pool, 5, ClientTls())
        self.client = UpstreamClient(agent, self.clock, [self.upstream.url, other.url], UpstreamTimes())
        asking = self.exchange("GET")
        connection, _ = await self.upstream.exchange()
        connection.head("HTTP/1.1 503 Busy", "Content-Length: 1000000")
        second, _ = await other.exchange()
        second.reply(204)
        self.assertEqual((await asking).base, other.url)
        await connection.end()

    async def test_abandon(self) -> None:
        """
        An answer that nobody wants costs its connection, unless there is nothing more to come.
        """
        asking = self.exchange("GET")
        connection, _ = await self.upstream.exchange()
        connection.head("HTTP/1.1 200 OK", "Content-Length: 1000000")
        (await asking).abandon()
        await connection.end()

        asking = self.exchange("GET")
        connection, _ = await self.upstream.exchange()
        connection.reply(204)
        (await asking).abandon()
        asking = self.exchange("GET")
        await connection.request()
        connection.reply(204)
        (await asking).abandon()
