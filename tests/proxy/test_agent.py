"""
Tests of requests that go to an upstream over real sockets.
"""

from __future__ import annotations

import os
from unittest.mock import patch

from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import HTTPConnectionPool, ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse
from zope.interface.verify import verifyObject

from glance_cache.agent import READ_BYTES, UpstreamAgent
from glance_cache.connection import clean_head
from glance_tx.streaming.buffer import BodyBuffer
from glance_tx.streaming.relay import ReaderBody
from glance_tx.streaming.responses import ResponseReader
from glance_tx.streaming.units import KiB, MiB
from glance_tx.tls.client import ClientTls
from tests.doubles.certificates import self_signed
from tests.doubles.upstreams import RawUpstream, reactor, turns
from tests.proxy.folders import absolute
from tests.web.raw import until

PIECE = bytes(64 * KiB)
LONG = 32 * MiB
"""More than sockets hold."""


class AgentTestCase(TestCase):
    """
    An agent, and an upstream whose every byte is the test's.
    """

    timeout = 8

    def setUp(self) -> None:
        self.upstream = RawUpstream()
        self.addCleanup(self.upstream.stop)
        self.pool = HTTPConnectionPool(reactor)
        self.addCleanup(self.pool.closeCachedConnections)
        self.agent = UpstreamAgent(reactor, self.pool, 5, ClientTls())

    def ask(self, method: str, target: str, body: ReaderBody | None = None) -> Deferred[IResponse]:
        return self.agent.request(method.encode(), f"{self.upstream.url}{target}".encode(), Headers(), body)

    async def read(self, response: IResponse) -> bytes:
        reader = ResponseReader(response, reactor)
        pieces = []
        while piece := await reader.read(1):
            pieces.append(piece)
        return b"".join(pieces)


class RequestTests(AgentTestCase):
    """
    `UpstreamAgent` sends requests as they are.
    """

    def test_interface(self) -> None:
        """
        It is an ``IAgent``.
        """
        self.assertTrue(verifyObject(IAgent, self.agent))

    async def test_quiet(self) -> None:
        """
        That a connection begins is not worth a line in the log.
        """
        said: list[LogEvent] = []
        globalLogPublisher.addObserver(said.append)
        self.addCleanup(globalLogPublisher.removeObserver, said.append)
        asking = self.ask("GET", "/")
        connection, _ = await self.upstream.exchange()
        connection.reply(204)
        await asking
        self.assertEqual([formatEvent(event) for event in said], [])

    async def test_exact_targets(self) -> None:
        """
        A target arrives as it was written, with whatever a URL library would put right.
        """
        connection = None
        for target in (
            "/",
            "//",
            "//v2//images",
            "/a?",
            "/a?b=c?d&&",
            "/a;",
            "/a;b",
            "/%2f%2E./%C3%A9",
            "/.././x",
            "/*",
        ):
            asking = self.ask("GET", target)
            connection = connection or await self.upstream.connection()
            request = await connection.request()
            self.assertEqual(request.target, target)
            connection.reply(204)
            await asking

    async def test_kept_connections(self) -> None:
        """
        What changes nothing goes by one connection after the other; everything else by one of its own, which is
        told so.
        """
        kept = None
        for method in ("GET", "OPTIONS", "DELETE", "POST", "HEAD"):
            repeatable = method in {"GET", "OPTIONS", "HEAD"}
            asking = self.ask(method, "/")
            connection = kept if repeatable and kept is not None else await self.upstream.connection()
            kept = kept or connection
            request = await connection.request()
            self.assertEqual((request.method, request.header("Connection")), (method, None if repeatable else "close"))
            connection.reply(204)
            await asking

    async def test_wide_reads(self) -> None:
        """
        Much is read from a socket at once.
        """
        asking = self.ask("GET", "/")
        connection, _ = await self.upstream.exchange()
        connection.head("HTTP/1.1 200 OK", f"Content-Length: {MiB}")
        reader = ResponseReader(await asking, reactor)
        connection.send(bytes(MiB))
        longest = received = 0
        while piece := await reader.read(1):
            received += len(piece)
            longest = max(longest, len(piece))
        self.assertEqual(received, MiB)
        self.assertGreater(longest, 64 * KiB)
        self.assertLessEqual(longest, READ_BYTES + MiB)

    async def test_interim_answers(self) -> None:
        """
        What a server says before its answer is passed over, in whatever pieces it comes.
        """
        asking = self.ask("GET", "/")
        connection, _ = await self.upstream.exchange()
        text = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n"
        for byte in text + b"Connection: x-hop\r\nX-Hop: 1\r\nContent-Length: 2\r\n\r\nok":
            connection.send(bytes([byte]))
            await turns(2)
        response = await asking
        self.assertEqual(response.code, 200)
        self.assertEqual(list(response.headers.getAllRawHeaders()), [])
        self.assertEqual(await self.read(response), b"ok")

    async def test_headers_of_the_connection(self) -> None:
        """
        Header lines that the upstream's Connection header names are gone, and so is the connection if that says so.
        """
        asking = self.ask("GET", "/")
        connection, _ = await self.upstream.exchange()
        connection.reply(200, b"ok", "Connection: X-Hop, Close", "X-Hop: 1", "X-End: 2")
        response = await asking
        self.assertEqual(await self.read(response), b"ok")
        self.assertFalse(response.headers.hasHeader("X-Hop"))
        self.assertEqual(response.headers.getRawHeaders("X-End"), ["2"])
        await connection.end()


class EarlyAnswerTests(AgentTestCase):
    """
    An answer that comes before the request is all sent is given out, and nothing of the request stays behind.
    """

    def setUp(self) -> None:
        super().setUp()
        self.source = BodyBuffer(None, hold=lambda: None, release=lambda: None)

    def upload(self, length: int | None = None) -> Deferred[IResponse]:
        self.body = ReaderBody(self.source, length)
        return self.ask("PUT", "/", self.body)

    async def test_in_pieces(self) -> None:
        """
        Its head and its body may come apart from each other, while the client says nothing.
        """
        for length in (None, 10 * MiB):
            asking = self.upload(length)
            connection, _ = await self.upstream.exchange()
            self.source.write(PIECE)
            connection.head("HTTP/1.1 413 Too Large", "Content-Length: 8")
            await turns(10)
            connection.send(b"too ")
            await turns(10)
            connection.send(b"long")
            response = await asking
            self.assertEqual((response.code, await self.read(response)), (413, b"too long"))
            await connection.gone()
            self.assertFalse(self.source.reading)

    async def test_chunked(self) -> None:
        """
        It may be chunked.
        """
        asking = self.upload()
        connection, _ = await self.upstream.exchange()
        connection.head("HTTP/1.1 409 Conflict", "Transfer-Encoding: chunked")
        for piece in (b"3\r\nbus\r\n", b"1\r\ny\r\n", b"0\r\n\r\n"):
            await turns(10)
            connection.send(piece)
        response = await asking
        self.assertEqual((response.code, await self.read(response)), (409, b"busy"))
        await connection.gone()

    async def test_no_body(self) -> None:
        """
        It may have no body.
        """
        asking = self.upload()
        connection, _ = await self.upstream.exchange()
        connection.reply(204)
        self.assertEqual((await asking).code, 204)
        await connection.gone()

    async def test_server_takes_nothing(self) -> None:
        """
        It comes through where the server has long stopped reading, and the sender is held.
        """
        asking = self.upload()
        connection, _ = await self.upstream.exchange()
        connection.transport.pauseProducing()
        while self.source.waiting_bytes < MiB:
            self.source.write(PIECE)
            await turns(1)
            if self.body.passed > 64 * MiB:
                self.fail("the sender is not held")
            if not self.source.reading:
                break
        connection.reply(409, b"busy")
        response = await asking
        self.assertEqual((response.code, await self.read(response)), (409, b"busy"))
        connection.transport.resumeProducing()
        await connection.gone()

    async def test_long(self) -> None:
        """
        One that is longer than anybody could mean is not taken into memory, and waits for the end of the request.
        """
        asking = self.upload(len(PIECE))
        connection, _ = await self.upstream.exchange()
        connection.head("HTTP/1.1 200 OK", f"Content-Length: {LONG}")
        connection.send(bytes(LONG))
        await until(lambda: self.unread(connection) < LONG - MiB)
        await turns(500)
        self.assertGreater(self.unread(connection), LONG // 2)
        self.assertNoResult(asking)
        self.source.write(PIECE)
        self.source.finish()
        response = await asking
        self.assertEqual(len(await self.read(response)), LONG)

    async def test_hold_is_not_forgotten(self) -> None:
        """
        When the request is all sent, little more is read until somebody wants the answer.
        """
        asking = self.upload(len(PIECE))
        connection, _ = await self.upstream.exchange()
        connection.head("HTTP/1.1 200 OK", f"Content-Length: {LONG}")
        connection.send(b"x")
        await turns(10)
        self.source.write(PIECE)
        self.source.finish()
        response = await asking
        connection.send(bytes(LONG - 1))
        await turns(500)
        self.assertGreater(self.unread(connection), LONG // 2)
        self.assertEqual(len(await self.read(response)), LONG)

    def unread(self, connection: object) -> int:
        """
        What the server could not send yet.
        """
        transport = connection.transport  # type: ignore[attr-defined]
        return len(transport.dataBuffer) - transport.offset + transport._tempDataLen


class TlsTests(AgentTestCase):
    """
    Upstreams over TLS.
    """

    def setUp(self) -> None:
        super().setUp()
        self.certificate = self_signed("localhost")
        port = reactor.listenSSL(0, self.upstream, self.certificate.options(), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.url = f"https://localhost:{port.getHost().port}".encode()

    def trust(self) -> None:
        """
        Have the machine trust the upstream.
        """
        path = absolute(self.mktemp())
        path.write_bytes(self.certificate.dumpPEM())
        environment = patch.dict(os.environ, SSL_CERT_FILE=str(path))
        environment.start()
        self.addCleanup(environment.stop)

    async def test_untrusted(self) -> None:
        """
        A server that nobody vouches for gets no request.
        """
        asking = self.agent.request(b"GET", self.url + b"/secret", Headers())
        await self.assertFailure(asking, ResponseFailed)
        self.assertEqual([connection.received for connection in self.upstream.connections], [b""])

    async def test_trusted(self) -> None:
        """
        Another one is asked as any other, and its connections are kept.
        """
        self.trust()
        asking = self.agent.request(b"GET", self.url + b"//x?", Headers())
        connection, request = await self.upstream.exchange()
        self.assertEqual(request.target, "//x?")
        connection.reply(200, b"ok")
        self.assertEqual(await self.read(await asking), b"ok")
        asking = self.agent.request(b"GET", self.url + b"/", Headers())
        await connection.request()
        connection.reply(204)
        await asking

    async def test_given_up(self) -> None:
        """
        A body that nobody wants any more ends at once, whatever the server thinks of that.
        """
        self.trust()
        asking = self.agent.request(b"GET", self.url + b"/", Headers())
        connection, _ = await self.upstream.exchange()
        connection.head("HTTP/1.1 200 OK", f"Content-Length: {LONG}")
        connection.send(bytes(MiB))
        reader = ResponseReader(await asking, reactor)
        await reader.read(1)
        connection.transport.pauseProducing()
        reader.cancel()
        connection.send(bytes(MiB))
        await connection.gone()


class CleanHeadTests(SynchronousTestCase):
    """
    `clean_head` leaves out what is for one connection.
    """

    def clean(self, *lines: str) -> list[str]:
        head = "".join(f"{line}\r\n" for line in [*lines, ""]).encode()
        cleaned = clean_head(head).decode()
        self.assertTrue(cleaned.endswith("\r\n\r\n"))
        return cleaned.split("\r\n")[:-2]

    def test_nothing_to_do(self) -> None:
        """
        A head without a Connection header stays as it is.
        """
        lines = ["HTTP/1.1 200 OK", "Content-Length: 3", "X-A: 1", "  and more"]
        self.assertEqual(self.clean(*lines), lines)

    def test_named(self) -> None:
        """
        Lines that Connection names go, with those that continue them, however they are spelled.
        """
        lines = ["HTTP/1.1 200 OK", "X-Hop: 1", "\tgoes on", "x-HOP: 2", "CONNECTION: keep-alive , x-hop", "X-A: 1"]
        self.assertEqual(self.clean(*lines), ["HTTP/1.1 200 OK", "X-A: 1"])

    def test_framing_stays(self) -> None:
        """
        What frames the answer stays, whatever Connection says.
        """
        lines = ["HTTP/1.1 200 OK", "Content-Length: 3", "Transfer-Encoding: chunked"]
        self.assertEqual(self.clean(*lines, "Connection: content-length, Transfer-Encoding"), lines)

    def test_close(self) -> None:
        """
        The end of a connection is told in the one spelling that is understood, for HTTP/1.0 as well.
        """
        self.assertEqual(self.clean("HTTP/1.1 200 OK", "Connection: CLOSE")[1:], ["Connection: close"])
        self.assertEqual(self.clean("HTTP/1.0 200 OK")[1:], ["Connection: close"])
        self.assertEqual(self.clean("HTTP/1.0 200 OK", "Connection: Keep-Alive")[1:], [])

    def test_bare_line_feeds(self) -> None:
        """
        Lines may end without a carriage return.
        """
        head = b"HTTP/1.1 200 OK\nConnection: x-hop\nX-Hop: 1\nX-A: 2\n\n"
        self.assertEqual(clean_head(head), b"HTTP/1.1 200 OK\r\nX-A: 2\r\n\r\n")
