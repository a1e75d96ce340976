"""
Tests of connections and heads, over real sockets.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from glance_tx.web.errors import HeadTooLarge, WebError
from glance_tx.web.limits import EdgeLimits
from glance_tx.web.request import Request
from tests.web.raw import EdgeTestCase, Flood, answer, until

LIMITS = EdgeLimits(timeout_seconds=60)


class ConnectionTests(EdgeTestCase):
    """
    A connection carries as many requests as it may, and is not kept for nothing.
    """

    async def reply(self, request: Request) -> None:
        answer(request, 200, request.uri)

    async def test_keep_alive(self) -> None:
        """
        Requests with and without bodies follow each other on one connection.
        """
        self.serve(self.reply)
        client = await self.connect()
        for number in range(5):
            client.send(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number)
            self.assertEqual((await client.answer()).body, b"/%d" % number)
            client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
            self.assertEqual((await client.answer()).status, 200)
        self.assertEqual(len(self.channels), 1)

    async def test_unread_body(self) -> None:
        """
        A body that is in and was not read does not get into the way of the next request.
        """
        self.serve(self.reply)
        client = await self.connect()
        client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n" + bytes(60000))
        self.assertNotIn("connection", (await client.answer()).headers)
        client.send(b"GET /y HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual((await client.answer()).body, b"/y")

    async def test_close(self) -> None:
        """
        A client that wants the connection closed gets that, and word of it.
        """
        self.serve(self.reply)
        for request in (
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: TE, close\r\n\r\n",
            b"GET / HTTP/1.0\r\n\r\n",
            b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            b"POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc",
        ):
            client = await self.connect()
            client.send(request)
            got = await client.answer()
            self.assertEqual((got.status, got.headers["connection"]), (200, "close"))
            await client.end()

    async def test_head(self) -> None:
        """
        An answer to HEAD has the length and no body.
        """
        self.serve(self.reply)
        client = await self.connect()
        client.send(b"HEAD /long HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual((await client.answer(to_head=True)).headers["content-length"], "5")
        self.assertEqual((await client.answer()).body, b"/b")

    async def test_no_type_of_its_own(self) -> None:
        """
        No answer gets a content type that nobody gave it.
        """
        self.serve(self.reply)
        client = await self.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertNotIn("content-type", (await client.answer()).headers)

    async def test_idle(self) -> None:
        """
        A connection without a request is closed when its time is up, which starts anew with every answer.
        """
        self.serve(self.reply, LIMITS)
        client = await self.connect()
        await until(lambda: self.channels)
        self.clock.advance(59)
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await client.answer()
        self.clock.advance(59)
        self.assertFalse(self.channels[0].transport.disconnecting)
        self.clock.advance(1)
        await client.end()
        self.assertEqual(client.received, b"")

    async def test_slow_head(self) -> None:
        """
        A head has to be whole in time, however busily its bytes drip.
        """
        self.serve(self.reply, LIMITS)
        client = await self.connect()
        await until(lambda: self.channels)
        head = b"GET / HTTP/1.1\r\nX: ".ljust(60, b"a")
        for count in range(1, 61):
            client.send(head[count - 1 : count])
            await until(lambda count=count: len(self.channels[0]._head._buffer) == count)
            self.clock.advance(1)
        got = await client.answer()
        self.assertEqual((got.status, got.headers["connection"]), (408, "close"))
        await client.end()
        self.assertEqual(self.requests, [])

    async def test_no_deadline_of_a_handler(self) -> None:
        """
        While a request is handled no time runs out on its client.
        """
        gate: Deferred[None] = Deferred()

        async def slow(request: Request) -> None:
            await gate
            answer(request, 204)

        self.serve(slow, LIMITS)
        client = await self.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await until(lambda: self.requests)
        self.clock.advance(100_000)
        gate.callback(None)
        self.assertEqual((await client.answer()).status, 204)


class BadHeadTests(EdgeTestCase):
    """
    A head that cannot be served is answered like any other request, though no handler sees it.
    """

    async def refused(self, head: bytes, limits: EdgeLimits = EdgeLimits()) -> int:  # noqa: B008
        if not hasattr(self, "port"):
            self.serve(self.fail, limits)
        client = await self.connect()
        client.send(head)
        got = await client.answer()
        self.assertEqual(got.headers["connection"], "close")
        self.assertTrue(got.headers["x-openstack-request-id"].startswith("req-"))
        self.assertIn("date", got.headers)
        self.assertTrue(got.body)
        await client.end()
        self.assertEqual(client.received, b"")
        return got.status

    async def test_malformed(self) -> None:
        """
        Malformed heads are answered with 400.
        """
        for head in (
            b"GET /\r\nHost: a\r\n\r\n",
            b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\nHost: a\n\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n folded\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        ):
            self.assertEqual(await self.refused(head), 400, head)

    async def test_long_uri(self) -> None:
        """
        A target that is too long is answered with 414, before its end comes.
        """
        self.assertEqual(await self.refused(b"GET /" + b"a" * 8192), 414)

    async def test_huge_headers(self) -> None:
        """
        Header lines that are too long, too many, or too much are answered with 431.
        """
        start = b"GET / HTTP/1.1\r\nHost: a\r\n"
        self.assertEqual(await self.refused(start + b"X: " + b"a" * 16384), 431)
        self.assertEqual(await self.refused(start + b"X: b\r\n" * 256 + b"\r\n"), 431)
        self.assertEqual(await self.refused(start + (b"X: " + b"a" * 16000 + b"\r\n") * 5), 431)

    async def test_while_it_sends(self) -> None:
        """
        A client that is still sending its endless head reads the answer, and no reset.
        """
        self.serve(self.fail)
        client = await self.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
        Flood(client, 1_000_000_000, b"a" * 65536)
        self.assertEqual((await client.answer()).status, 431)
        await client.end()
        self.assertIsNone(client.lost)

    async def test_refused_head_request(self) -> None:
        """
        A refused HEAD request gets no body.
        """
        self.serve(self.fail)
        client = await self.connect()
        client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\nExpect: magic\r\n\r\n")
        self.assertEqual((await client.answer(to_head=True)).status, 417)
        await client.end()
        self.assertEqual(client.received, b"")

    async def test_after_a_good_one(self) -> None:
        """
        A bad head behind a good request waits for its turn.
        """
        gate: Deferred[None] = Deferred()

        async def slow(request: Request) -> None:
            await gate
            answer(request, 204)

        self.serve(slow)
        client = await self.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nnonsense\r\n\r\n")
        await until(lambda: self.requests)
        gate.callback(None)
        self.assertEqual([(await client.answer()).status for _ in range(2)], [204, 400])

    async def test_in_the_form_of_the_application(self) -> None:
        """
        A site can be given its own way to refuse, and learns what and why.
        """
        refused: list[tuple[bytes, bytes, type[WebError]]] = []

        def refuse(request: Request, error: WebError) -> None:
            refused.append((request.method, request.uri, type(error)))
            answer(request, 431, b"so not")

        self.serve(self.fail, refuse=refuse)
        client = await self.connect()
        client.send(b"GET /where HTTP/1.1\r\nX: " + b"a" * 20_000)
        self.assertEqual((await client.answer()).body, b"so not")
        self.assertEqual(refused, [(b"GET", b"/where", HeadTooLarge)])
