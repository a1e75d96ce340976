"""
Tests of bodies on their way into a handler, over real sockets.
"""

from __future__ import annotations

import hashlib

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost

from glance_tx.streaming.errors import BodyLost, BodyTooLong
from glance_tx.web.limits import EdgeLimits
from glance_tx.web.request import Request
from tests.web.raw import EdgeTestCase, Flood, answer, until

KiB = 1 << 10
MiB = 1 << 20


class Collector:
    """
    A handler that takes bodies in and answers with their length, or with 400 or 413 where there is no end to them.
    """

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def __call__(self, request: Request) -> None:
        body = b""
        try:
            while piece := await request.body.read(MiB):
                body += piece
        except BodyLost as exc:
            answer(request, 400, str(exc).encode())
            return
        except BodyTooLong as exc:
            answer(request, 413, str(exc).encode())
            return
        self.bodies.append(body)
        answer(request, 200, b"%d" % len(body))


class FramingTests(EdgeTestCase):
    """
    A body ends where its framing says.
    """

    def setUp(self) -> None:
        super().setUp()
        self.collector = Collector()
        self.bodies = self.collector.bodies

    async def exchange(self, *pieces: bytes) -> tuple[int, bytes]:
        """
        Send pieces, each by itself, and take one answer.
        """
        if not self.channels:
            self.serve(self.collector)
            await self.connect()
        client = self.clients[-1]
        for piece in pieces:
            client.send(piece)
        got = await client.answer()
        return got.status, got.body

    async def test_fixed_length(self) -> None:
        """
        Bodies of a given length follow each other on one connection.
        """
        for size in (0, 1, 64 * KiB, 64 * KiB + 1, 3 * MiB):
            head = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size
            self.assertEqual(await self.exchange(head, b"x" * size), (200, b"%d" % size))
        self.assertEqual(len(self.channels), 1)

    async def test_chunked(self) -> None:
        """
        So do chunked ones, with extensions and trailers, in whatever pieces they come.
        """
        head = b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        body = b"5;a=b\r\nhello\r\nA\r\n, world 12\r\n0\r\nX-Trailer: y\r\n\r\n"
        self.assertEqual(await self.exchange(head + body), (200, b"15"))
        self.assertEqual(await self.exchange(*(bytes([byte]) for byte in head + body)), (200, b"15"))
        self.assertEqual(await self.exchange(head + b"0\r\n\r\n"), (200, b"0"))
        large = b"100000\r\n" + b"y" * MiB + b"\r\n"
        self.assertEqual(await self.exchange(head + 3 * large + b"0\r\n\r\n"), (200, b"%d" % (3 * MiB)))
        self.assertEqual(self.bodies, [b"hello, world 12"] * 2 + [b"", b"y" * 3 * MiB])
        self.assertEqual(len(self.channels), 1)

    async def test_malformed_chunks(self) -> None:
        """
        A handler whose client breaks the chunks is told, and can answer; what follows is not taken for a request.
        """
        self.serve(self.collector)
        for broken in (b"nonsense\r\n", b"-1\r\n", b"5\r\nhelloX", b"0x5\r\nhello\r\n", b" 5\r\n", b"5\n", b"1" * 2000):
            client = await self.connect()
            client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n" + broken)
            client.send(b"\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
            got = await client.answer()
            self.assertEqual((got.status, got.headers["connection"]), (400, "close"), broken)
            await client.end()
            self.assertEqual(client.received, b"")
        self.assertEqual({request.uri for request in self.requests}, {b"/"})

    async def test_after_malformed_chunks(self) -> None:
        """
        Until its handler has answered, a client that broke the chunks is not read on.
        """
        gate: Deferred[None] = Deferred()

        async def think(request: Request) -> None:
            await gate
            await self.collector(request)

        self.serve(think)
        client = await self.connect()
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n")
        flood = Flood(client, 1_000_000_000)
        await until(lambda: self.channels and self.channels[0]._holds)
        gate.callback(None)
        self.assertEqual((await client.answer()).status, 400)
        await client.end()
        self.assertLess(flood.sent, flood.size)

    async def test_ambiguous_framing(self) -> None:
        """
        A body whose end two servers could see in two places is refused, and nothing after it is read.
        """
        self.serve(self.fail)
        for lines in (
            b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            b"Content-Length: 5\r\nContent-Length: 6\r\n",
            b"Content-Length: 5, 5\r\n",
            b"Content-Length: +5\r\n",
            b"Transfer-Encoding: gzip, chunked\r\n",
            b"Transfer-Encoding : chunked\r\n",
            b"X-A: b\r\n Transfer-Encoding: chunked\r\n",
            b"X-A: b\nTransfer-Encoding: chunked\r\n",
        ):
            client = await self.connect()
            client.send(b"PUT / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
            got = await client.answer()
            self.assertEqual((got.status, got.headers["connection"]), (400, "close"), lines)
            await client.end()
            self.assertEqual(client.received, b"")

    async def test_form(self) -> None:
        """
        A form is a body like any other, and stays out of the arguments.
        """
        for kind in (b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=x"):
            head = b"POST /?q=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Type: " + kind + b"\r\n\r\n"
            self.assertEqual(await self.exchange(head, b"a=b"), (200, b"3"))
        self.assertEqual(self.bodies, [b"a=b"] * 2)
        self.assertEqual([request.args for request in self.requests], [{b"q": [b"1"]}] * 2)

    async def test_limit(self) -> None:
        """
        A body that outgrows what its handler takes is refused as soon as that shows, announced or not.
        """

        async def limited(request: Request) -> None:
            request.body.limit = 100_000
            await self.collector(request)

        self.serve(limited)
        for head in (b"Content-Length: 1000000000", b"Transfer-Encoding: chunked"):
            client = await self.connect()
            client.send(b"PUT / HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n\r\n")
            Flood(client, 1_000_000_000, b"10000\r\n" + bytes(0x10000) + b"\r\n")
            self.assertEqual((await client.answer()).status, 413)
            await client.end()

    async def test_pipelining(self) -> None:
        """
        Requests that come in one packet are answered one after the other, in their order.
        """
        answered: list[bytes] = []
        gate: Deferred[None] = Deferred()

        async def in_turn(request: Request) -> None:
            answered.append(b"begin " + request.method)
            while await request.body.read(MiB):
                pass
            if request.method == b"POST":
                await gate
            answered.append(b"end " + request.method)
            answer(request, 200, request.method)

        self.serve(in_turn)
        client = await self.connect()
        client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
            b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nworld\r\n0\r\n\r\n"
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        )
        await until(lambda: answered)
        gate.callback(None)
        self.assertEqual([(await client.answer()).body for _ in range(3)], [b"POST", b"PUT", b"GET"])
        self.assertEqual(answered, [b"%s %s" % (w, m) for m in (b"POST", b"PUT", b"GET") for w in (b"begin", b"end")])


class DisconnectTests(EdgeTestCase):
    """
    A handler learns that its client is gone.
    """

    HEAD = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"

    async def test_cancelled(self) -> None:
        """
        A handler that is waiting for the body is cancelled.
        """

        async def take(request: Request) -> None:
            await request.body.read(MiB)

        self.serve(take)
        client = await self.connect()
        client.send(self.HEAD + b"some")
        await until(lambda: self.requests and self.requests[0].body.received == 4)
        client.close()
        await until(lambda: self.failures)
        self.take_failure(CancelledError)

    async def test_failed_read(self) -> None:
        """
        A reader that nobody cancels fails, and so do all reads after it.
        """
        outcome: list[str] = []

        async def read_aside(request: Request) -> None:
            def read() -> Deferred[bytes]:
                return Deferred.fromCoroutine(request.body.read(MiB))

            def failed(reason: object) -> None:
                outcome.append(str(reason.trap(BodyLost) and reason.value))

            read().addErrback(failed).addCallback(lambda _: read().addErrback(failed))

        self.serve(read_aside)
        client = await self.connect()
        client.send(self.HEAD + b"some")
        await until(lambda: self.requests and self.requests[0].body.received == 4)
        client.close()
        await until(lambda: len(outcome) == 2)
        self.assertEqual(outcome, ["the body ended after 4 bytes: its sender went away"] * 2)

    async def test_during_a_small_body(self) -> None:
        """
        A request whose small body does not come is never dispatched.
        """
        self.serve(self.fail)
        client = await self.connect()
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        await until(lambda: self.channels and self.channels[0]._body.received == 4)
        client.close()
        await until(lambda: self.channels[0].transport.disconnected)
        self.assertEqual((self.requests, self.clock.getDelayedCalls()), ([], []))

    async def test_after_the_body(self) -> None:
        """
        A client that leaves while its whole body is being worked on is noticed at once.
        """

        async def work(request: Request) -> None:
            while await request.body.read(MiB):
                pass
            await Deferred()

        self.serve(work)
        client = await self.connect()
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
        await until(lambda: self.requests and self.requests[0].body.complete)
        client.close()
        await until(lambda: self.failures)
        self.take_failure(CancelledError)

    async def test_after_more_than_the_buffer(self) -> None:
        """
        So is one whose whole body waits here, though it is more than the handler would have been given room for.
        """

        async def work(request: Request) -> None:
            await Deferred()

        self.serve(work, EdgeLimits(small_body_bytes=0, high_water_bytes=1000, low_water_bytes=1000))
        client = await self.connect()
        chunk = b"400\r\n" + bytes(1024) + b"\r\n"
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + 4 * chunk + b"0\r\n\r\n")
        await until(lambda: self.requests and self.requests[0].body.complete)
        client.close()
        await until(lambda: self.failures)
        self.take_failure(CancelledError)


class BackPressureTests(EdgeTestCase):
    """
    A handler takes its time, and the client waits.
    """

    LIMITS = EdgeLimits(high_water_bytes=MiB, low_water_bytes=MiB // 2, timeout_seconds=60, stall_seconds=60)

    async def test_slow_handler(self) -> None:
        """
        A handler that does not read holds its client back, for as long as it likes, within the memory set; and then
        gets every byte.
        """
        go_on: Deferred[None] = Deferred()
        digest = hashlib.sha256()

        async def dawdle(request: Request) -> None:
            digest.update(await request.body.read(1))
            await go_on
            while piece := await request.body.read(MiB):
                digest.update(piece)
            answer(request, 201)

        self.serve(dawdle, self.LIMITS)
        client = await self.connect()
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (64 * MiB))
        pattern = bytes(range(256)) * 256
        flood = Flood(client, 64 * MiB, pattern)
        await until(lambda: self.requests and self.channels[0]._holds)
        body = self.requests[0].body
        # Whatever deadline there is, it is not the client's.
        for _ in range(100):
            self.clock.advance(60)
        held_at = body.received
        self.assertLessEqual(held_at, MiB + 512 * KiB)
        sent = -1
        while sent != flood.sent:  # what the kernel has room for
            sent = flood.sent
            await self.turns(20)
        self.assertLess(sent, flood.size)
        self.assertEqual(body.received, held_at)
        go_on.callback(None)
        self.assertEqual((await client.answer()).status, 201)
        self.assertEqual(digest.hexdigest(), hashlib.sha256(pattern * 1024).hexdigest())

    async def turns(self, count: int) -> None:
        """
        Let the reactor turn.
        """
        left = iter(range(count))
        await until(lambda: next(left, None) is None)

    async def test_stalled_client(self) -> None:
        """
        A client that sends nothing while its handler waits is dropped when its time is up.
        """

        async def take(request: Request) -> None:
            await request.body.read(MiB)

        self.serve(take, self.LIMITS)
        client = await self.connect()
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        await until(lambda: self.requests)
        self.clock.advance(59)
        client.send(b"a sign of life")
        await until(lambda: self.requests[0].body.received)
        self.clock.advance(59)
        self.assertEqual(self.failures, [])
        self.clock.advance(1)
        (await client.gone()).trap(ConnectionLost)
        self.assertIn("silent for 60", str(self.take_failure(BodyLost)))

    async def test_stalled_small_body(self) -> None:
        """
        A client that does not finish its small body is told so.
        """
        self.serve(self.fail, self.LIMITS)
        client = await self.connect()
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        await until(lambda: self.channels and self.channels[0]._body.received == 4)
        self.clock.advance(60)
        self.assertEqual((await client.answer()).status, 408)
        await client.end()

    async def test_slow_small_body(self) -> None:
        """
        A small body may come as slowly as its client likes, as long as it moves.
        """
        collector = Collector()
        self.serve(collector, self.LIMITS)
        client = await self.connect()
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n")
        for count in range(4):
            await until(lambda count=count: self.channels and self.channels[0]._body.received == count)
            self.clock.advance(40)
            client.send(b"x")
        self.assertEqual((await client.answer()).status, 200)

    async def test_pipelined_flood(self) -> None:
        """
        While one request is handled, only a little of the next ones is taken in.
        """
        gate: Deferred[None] = Deferred()
        handled: list[int] = []

        async def count(request: Request) -> None:
            handled.append(int(request.uri[1:]))
            if not gate.called:
                await gate
            answer(request, 204)

        self.serve(count)
        client = await self.connect()
        total = 6000
        client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(total)))
        await until(lambda: self.channels and self.channels[0]._holds)
        self.assertLess(len(self.channels[0]._unparsed), 128 * KiB)
        gate.callback(None)
        for _ in range(total):
            self.assertEqual((await client.answer()).status, 204)
        self.assertEqual(handled, list(range(total)))

    async def test_answers_that_nobody_takes(self) -> None:
        """
        A client that sends requests and takes no answers is not served beyond what the socket holds.
        """

        async def large(request: Request) -> None:
            answer(request, 200, bytes(MiB))

        self.serve(large)
        client = await self.connect()
        client.transport.pauseProducing()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 100)
        await until(lambda: self.channels and self.channels[0]._holds)
        await self.turns(20)
        self.assertLess(len(self.requests), 20)
        client.transport.resumeProducing()
        for _ in range(100):
            self.assertEqual(len((await client.answer()).body), MiB)

    async def test_long_reads(self) -> None:
        """
        The socket is read in long pieces while a long body comes in, and in short ones else.
        """
        sizes: list[int] = []

        async def look(request: Request) -> None:
            sizes.append(request.channel.transport.bufferSize)
            while await request.body.read(MiB):
                pass
            sizes.append(request.channel.transport.bufferSize)
            answer(request, 204)

        self.serve(look)
        client = await self.connect()
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + bytes(1_000_000))
        self.assertEqual((await client.answer()).status, 204)
        self.assertEqual(sizes, [256 * KiB, 64 * KiB])
