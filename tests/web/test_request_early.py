"""
Tests of answers that are out before the body is in, over real sockets.
"""

from __future__ import annotations

from twisted.internet.error import ConnectionDone
from twisted.internet.ssl import CertificateOptions

from glance_tx.streaming.errors import BodyLost
from glance_tx.web.limits import EdgeLimits
from glance_tx.web.request import EdgeSite, Request
from tests.web.certificates import self_signed
from tests.web.raw import EdgeTestCase, Flood, RawAnswer, RawClient, answer, until

MiB = 1 << 20
HUGE = b"PUT /v2/images/x/file HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n"
CHUNKED = b"PUT /v2/images/x/file HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


class EarlyAnswerTests(EdgeTestCase):
    """
    A client that is refused before its body is in gets to read why.
    """

    async def refuse(self, request: Request) -> None:
        answer(request, int(request.uri.rpartition(b"/")[2]), b"because")

    def assert_refused(self, got: RawAnswer, status: int) -> None:
        self.assertEqual((got.status, got.body), (status, b"because"))
        self.assertEqual(got.headers["connection"], "close")

    async def test_while_it_sends(self) -> None:
        """
        A client that is still sending reads the whole answer and the end of the stream, never a reset.
        """
        self.serve(self.refuse)
        for status in (404, 409, 413, 415):
            client = await self.connect()
            client.send(b"PUT /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n" % status)
            flood = Flood(client, 1_000_000_000)
            self.assert_refused(await client.answer(), status)
            await client.end()
            self.assertIsNone(client.lost)
            self.assertLess(flood.sent, flood.size)

    async def test_in_chunks(self) -> None:
        """
        So does one that sends chunks.
        """
        self.serve(self.refuse)
        client = await self.connect()
        client.send(b"PUT /409 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        Flood(client, 1_000_000_000, b"10000\r\n" + bytes(0x10000) + b"\r\n")
        self.assert_refused(await client.answer(), 409)
        await client.end()
        self.assertIsNone(client.lost)

    async def test_client_that_reads_last(self) -> None:
        """
        A client that reads nothing until it has sent 30 MiB gets its answer all the same.
        """
        self.serve(self.refuse)
        client = await self.connect()
        client.transport.pauseProducing()
        client.send(b"PUT /413 HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (30 * MiB))
        await Flood(client, 30 * MiB).done
        client.transport.resumeProducing()
        self.assert_refused(await client.answer(), 413)
        await client.end()
        self.assertIsNone(client.lost)

    async def test_later(self) -> None:
        """
        An answer given in the middle of the body ends the connection in the same way.
        """

        async def take_some(request: Request) -> None:
            await request.body.read(MiB)
            answer(request, 409, b"because")

        self.serve(take_some)
        client = await self.connect()
        client.send(HUGE)
        Flood(client, 1_000_000_000)
        self.assert_refused(await client.answer(), 409)
        await client.end()

    async def test_before_the_last_chunk(self) -> None:
        """
        An answer given while the last chunks are already here is like any other: what follows is thrown away.
        """

        async def take_one(request: Request) -> None:
            await request.body.read(1)
            answer(request, 409, b"because")

        self.serve(take_one)
        client = await self.connect()
        client.transport.pauseProducing()
        client.send(CHUNKED + b"5\r\nhello\r\n0\r\n\r\n")
        await Flood(client, 30 * MiB).done
        client.transport.resumeProducing()
        self.assert_refused(await client.answer(), 409)
        await client.end()
        self.assertEqual(len(self.requests), 1)

    async def test_reading_on(self) -> None:
        """
        A handler that answered early can read no more.
        """
        read_on: list[BaseException] = []

        async def too_late(request: Request) -> None:
            answer(request, 409, b"because")
            try:
                await request.body.read(1)
            except BodyLost as exc:
                read_on.append(exc)

        self.serve(too_late)
        client = await self.connect()
        client.send(HUGE)
        await client.answer()
        self.assertEqual(len(read_on), 1)

    async def test_bounded_bytes(self) -> None:
        """
        No more than the set amount is thrown away for a client that does not stop.
        """
        self.serve(self.refuse, EdgeLimits(linger_bytes=5 * MiB))
        client = await self.connect()
        client.send(b"PUT /409 HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n")
        flood = Flood(client, 1_000_000_000)
        await client.gone()
        self.assertGreater(self.channels[0]._drained, 5 * MiB)
        self.assertLess(self.channels[0]._drained, 6 * MiB)
        self.assertLess(flood.sent, flood.size)

    async def test_bounded_time(self) -> None:
        """
        A client that neither goes on nor closes is left after the set time.
        """
        self.serve(self.refuse, EdgeLimits(linger_seconds=5))
        client = await self.connect()
        client.send(b"PUT /409 HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n")
        self.assert_refused(await client.answer(), 409)
        await client.end()
        self.clock.advance(4.9)
        self.assertFalse(self.channels[0].transport.disconnected)
        self.clock.advance(0.2)
        await until(lambda: self.channels[0].transport.disconnected)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_client_that_takes_nothing(self) -> None:
        """
        A client that does not even take its answer is cut off in the end.
        """

        async def write_much(request: Request) -> None:
            answer(request, 409, bytes(30 * MiB))

        self.serve(write_much, EdgeLimits(linger_seconds=5, close_seconds=15))
        client = await self.connect()
        client.transport.pauseProducing()
        client.send(HUGE)
        await until(lambda: self.requests and self.requests[0].finished)
        self.clock.pump([5, *[3.75] * 3])
        self.assertFalse(self.channels[0].transport.disconnected)
        # The first look may have seen its system take something yet.
        self.clock.pump([3.75] * 5)
        await until(lambda: self.channels[0].transport.disconnected)

    async def test_small_body(self) -> None:
        """
        A body announced as small is in before its request is dispatched, so that a refusal does not cost the
        connection.
        """
        self.serve(self.refuse)
        client = await self.connect()
        client.send(b"POST /409 HTTP/1.1\r\nHost: a\r\nContent-Length: 65536\r\n\r\n" + bytes(65535))
        await until(lambda: self.channels and self.channels[0]._body.received == 65535)
        self.assertEqual(self.requests, [])
        client.send(b"x")
        got = await client.answer()
        self.assertEqual(got.status, 409)
        self.assertNotIn("connection", got.headers)
        client.send(b"GET /404 HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual((await client.answer()).status, 404)

    async def test_body_larger_than_small(self) -> None:
        """
        A body of one byte more is not waited for.
        """
        self.serve(self.refuse)
        client = await self.connect()
        client.send(b"POST /409 HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n")
        self.assert_refused(await client.answer(), 409)


class ExpectTests(EdgeTestCase):
    """
    A client that waits to be asked for its body is asked when the handler wants it.
    """

    EXPECTING = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"

    async def test_refusal(self) -> None:
        """
        A refused client is never asked for its body, however short that is, and the connection ends.
        """

        async def refuse(request: Request) -> None:
            answer(request, 409, b"because")

        self.serve(refuse)
        client = await self.connect()
        client.send(self.EXPECTING)
        got = await client.answer()
        self.assertEqual((got.status, got.headers["connection"]), (409, "close"))
        await client.end()
        self.assertEqual((client.received, self.requests[0].body.received), (b"", 0))

    async def test_asked_by_first_read(self) -> None:
        """
        The first read asks; the connection stays for the next request.
        """
        bodies: list[bytes] = []

        async def take(request: Request) -> None:
            self.assertEqual(self.clients[0].received, b"")
            bodies.append(await request.body.read(100))
            answer(request, 204)

        self.serve(take)
        client = await self.connect()
        for body in (b"hello", b"world"):
            client.send(self.EXPECTING)
            self.assertEqual(await client.bytes_until(b"\r\n\r\n"), b"HTTP/1.1 100 Continue\r\n\r\n")
            client.send(body)
            self.assertEqual((await client.answer()).status, 204)
        self.assertEqual(bodies, [b"hello", b"world"])

    async def test_not_after_the_answer(self) -> None:
        """
        A handler that reads after it began to answer does not put a 100 into its answer.
        """

        async def answer_and_read(request: Request) -> None:
            request.setHeader(b"Content-Length", b"4")
            request.write(b"do")
            await request.body.read(1)
            request.write(b"ne")
            request.finish()

        self.serve(answer_and_read)
        client = await self.connect()
        client.send(self.EXPECTING)
        await client.bytes_until(b"\r\n\r\ndo")
        client.send(b"hello")
        await client.end()
        self.assertEqual(client.received, b"ne")

    async def test_unknown_expectation(self) -> None:
        """
        Any other expectation is answered with 417, and no handler is asked.
        """
        self.serve(self.fail)
        client = await self.connect()
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: magic\r\n\r\n")
        self.assertEqual((await client.answer()).status, 417)
        await client.end()


class SecureEarlyAnswerTests(EdgeTestCase):
    """
    Over TLS, where one direction cannot be closed alone, a refused client reads its answer as well.
    """

    def setUp(self) -> None:
        super().setUp()
        self.certificate = self_signed("localhost")

    def listen(self, reactor: object, site: EdgeSite) -> object:
        return reactor.listenSSL(0, site, self.certificate.options(), interface="127.0.0.1")

    async def secure_client(self) -> RawClient:
        return await self.connect(tls=CertificateOptions(verify=False))

    async def test_while_it_sends(self) -> None:
        """
        A client that is still sending gets the whole answer, and its connection lasts until it is left.
        """

        async def refuse(request: Request) -> None:
            answer(request, 409, b"because")

        self.serve(refuse, EdgeLimits(linger_seconds=5))
        client = await self.secure_client()
        client.send(HUGE + bytes(MiB))
        got = await client.answer()
        self.assertEqual((got.status, got.body, got.headers["connection"]), (409, b"because", "close"))
        self.assertIsNone(client.lost)
        self.clock.advance(5)
        (await client.gone()).trap(ConnectionDone)

    async def test_upload(self) -> None:
        """
        An upload comes in whole.
        """
        received: list[bytes] = []

        async def take(request: Request) -> None:
            while piece := await request.body.read(MiB):
                received.append(piece)
            answer(request, 204)

        self.serve(take)
        client = await self.secure_client()
        body = bytes(range(256)) * 40_000
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        self.assertEqual((await client.answer()).status, 204)
        self.assertEqual(b"".join(received), body)
