"""
What an application does for every route, seen by a client over a real socket.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson
from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import UNKNOWN_LENGTH
from zope.interface import implementer

from glance_tx.errors import FactualError
from glance_tx.streaming.errors import BodyTooShort
from glance_tx.streaming.filebody import FileBody
from glance_tx.streaming.growth import WholeFile
from glance_tx.streaming.interfaces import IBodyProducer
from glance_tx.web.app import App, BodyRule, request_json
from glance_tx.web.faults import FaultTable
from glance_tx.web.request import Request
from glance_tx.web.response import Response, json_response
from tests.web.serving import Answer, ServingTestCase, reactor


@frozen
class OutOfOrder(FactualError):
    message = "out of order: {self.reason}"
    reason: str


@frozen
class Unforeseen(FactualError):
    message = "the secret is {self.secret}"
    secret: str


@implementer(IBodyProducer)
@define
class Body:
    """
    A body in pieces, which may break off or never end.
    """

    pieces: list[bytes]
    length: Any
    error: Exception | None = None
    endless: bool = False
    stopped: int = 0
    done: Deferred[None] = field(factory=Deferred, init=False)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        for piece in self.pieces:
            consumer.write(piece)
        if self.error is not None:
            self.done.errback(self.error)
        elif not self.endless:
            self.done.callback(None)
        return self.done

    def pauseProducing(self) -> None:
        pass

    def resumeProducing(self) -> None:
        pass

    def stopProducing(self) -> None:
        self.stopped += 1


async def nothing(request: Request, **arguments: object) -> Response:
    return Response(200, (("Content-Type", "text/plain"),), b"ok")


async def echo(request: Request) -> Response:
    pieces = []
    while piece := await request.body.read(1):
        pieces.append(piece)
    return Response(200, (), b"%b %b %b" % (request.method, request.uri, b"".join(pieces)))


class RoutingTests(ServingTestCase):
    """
    A request finds its route, or an error that says why there is none.
    """

    def make_app(self, **options: Any) -> App:
        app = super().make_app(**options)
        app.add("GET", "/v2/images", nothing)
        app.add("POST", "/v2/images", nothing, BodyRule.JSON)
        app.add("GET", "/v2/images/<image_id>", self.show)
        return app

    async def show(self, request: Request, image_id: str) -> Response:
        return json_response({"id": image_id})

    async def test_found(self) -> None:
        """
        The path's arguments come decoded, and the query is not part of the path.
        """
        answer = await self.ask("GET", "/v2/images/%C3%B6?limit=/x")
        self.assertEqual((answer.status, answer.body), (200, '{"id":"ö"}'.encode()))
        self.assertEqual(answer.headers["content-type"], "application/json")
        self.assertEqual(answer.headers["content-length"], "11")

    async def test_statuses(self) -> None:
        """
        Methods and paths that nobody added are answered by 405 and 404, malformed paths by 400.
        """
        for method, target, status in [
            ("HEAD", "/v2/images", 405),
            ("OPTIONS", "/v2/images", 405),
            ("PUT", "/v2/images", 405),
            ("get", "/v2/images", 405),
            ("BREW", "/v2/images", 405),
            ("GET", "/v2/images/", 404),
            ("GET", "//v2/images", 404),
            ("GET", "/", 404),
            ("BREW", "/v1/images", 404),
            ("GET", "/v2/images/a/b", 404),
            ("GET", "/v2/images/%zz", 400),
            ("GET", "/v2/images/%00", 400),
            ("GET", "/v2/images/%ff", 400),
            ("GET", "/v2/images/%ed%a0%80", 400),
            ("GET", b"/v2/images/\xff", 400),
            ("GET", "http://elsewhere/v2/images", 200),
        ]:
            answer = await self.ask(method, target)
            self.assertEqual((method, target, answer.status), (method, target, status))
            if method != "HEAD":
                self.assertEqual(answer.headers["content-length"], str(len(answer.body)))

    async def test_allow(self) -> None:
        """
        A 405 lists the methods that there are.
        """
        answer = await self.ask("DELETE", "/v2/images")
        self.assertEqual((answer.status, answer.headers["allow"]), (405, "GET, POST"))
        self.assertNotIn("allow", (await self.ask("DELETE", "/v1")).headers)

    async def test_head_of_an_error(self) -> None:
        """
        An error to HEAD has the head of the error, and no body.
        """
        answer = await self.ask("HEAD", "/v2/images")
        self.assertEqual((answer.status, answer.body, answer.headers["allow"]), (405, b"", "GET, POST"))
        self.assertGreater(int(answer.headers["content-length"]), 0)

    async def test_request_id(self) -> None:
        """
        Every answer names its request, errors and refusals of a path included.
        """
        for target in ("/v2/images", "/nowhere", "/%zz"):
            answer = await self.ask("GET", target, "X-OpenStack-Request-ID: req-mine\r\n")
            self.assertEqual(answer.headers["x-openstack-request-id"], "req-mine")
        self.assertEqual({record.request_id for record in self.records}, {"req-mine"})

    async def test_error_form(self) -> None:
        """
        Errors are negotiated, and quote nothing unescaped.
        """
        answer = await self.ask("GET", "/<b>/x", "Accept: */*\r\n")
        self.assertEqual(answer.headers["content-type"], "text/html; charset=UTF-8")
        self.assertNotIn(b"<b>", answer.body)
        answer = await self.ask("GET", "/x", "Accept: text/plain\r\nAccept: application/json\r\n")
        self.assertEqual(orjson.loads(answer.body)["code"], "404 Not Found")
        answer = await self.ask("GET", "/x", "Accept:\r\n")
        self.assertEqual(answer.headers["content-type"], "text/html; charset=UTF-8")
        answer = await self.ask("GET", "/x")
        self.assertEqual(answer.headers["content-type"], "text/plain; charset=UTF-8")


class RefusalTests(ServingTestCase):
    """
    What is too malformed for a route is answered in the same forms, and recorded too.
    """

    async def test_malformed_head(self) -> None:
        """
        A bad head is refused by its status, with a request id and a record.
        """
        for head, status in [
            (b"GET /x HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
            (b"GET /x HTTP/1.1\r\nHost: x\r\nExpect: miracles\r\n\r\n", 417),
            (b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * 9000), 414),
            (b"GET /x HTTP/1.1\r\nHost: x\r\nX-Long: %b\r\n\r\n" % (b"x" * 17_000), 431),
            (b"\x16\x03\x01\x02\x00", 400),
        ]:
            self.records.clear()
            wire = await self.connect()
            wire.send(head)
            answer = Answer.parse(await wire.ended())
            self.assertEqual((head[:20], answer.status), (head[:20], status))
            self.assertEqual(answer.headers["content-type"], "text/plain; charset=UTF-8")
            record = await self.record()
            self.assertEqual((record.status, record.route), (status, None))
            self.assertEqual(record.request_id, answer.headers["x-openstack-request-id"])


class FallbackTests(ServingTestCase):
    """
    With a fallback, everything without a route is the fallback's.
    """

    def make_app(self, **options: Any) -> App:
        app = super().make_app(**options)
        app.add("GET", "/own", nothing)
        app.fallback(echo)
        return app

    async def test_fallback(self) -> None:
        """
        Any method and target get there as they were sent, bodies too; known routes do not.
        """
        for method, target in [
            ("BREW", "/a%2Fb/%zz?c=%00"),
            ("POST", "/own"),
            ("GET", "/own/"),
            ("GET", "//own"),
            ("HEAD", "/own"),
        ]:
            answer = await self.ask(method, target, body=b"abc")
            expected = b"" if method == "HEAD" else f"{method} {target} abc".encode()
            self.assertEqual((answer.status, answer.body), (200, expected))
        self.assertEqual((await self.ask("GET", "/own")).body, b"ok")
        self.assertEqual([record.route for record in self.records], ["fallback"] * 5 + ["GET /own"])


class RewriteTests(ServingTestCase):
    """
    Paths may be rewritten before the routes are asked.
    """

    def make_app(self, **options: Any) -> App:
        app = super().make_app(rewrite=lambda path, accept: path.replace("/v2.1/", "/v2/"))
        app.add("GET", "/v2/images", nothing)
        return app

    async def test_rewrite(self) -> None:
        """
        Another prefix leads to the same route, and the record has the path as it was sent.
        """
        self.assertEqual((await self.ask("GET", "/v2.1/images")).status, 200)
        self.assertEqual(self.records[0].path, "/v2.1/images")


class BodyRuleTests(ServingTestCase):
    """
    Request bodies are refused, read or streamed, as the route says.
    """

    def make_app(self, **options: Any) -> App:
        app = super().make_app(**options)
        app.add("GET", "/none", nothing)
        app.add("POST", "/json", self.read, BodyRule.JSON)
        app.add("POST", "/short", self.read_short, BodyRule.JSON)
        app.add("PUT", "/stream", echo, BodyRule.STREAM)
        return app

    async def read(self, request: Request) -> Response:
        return json_response(await request_json(request))

    async def read_short(self, request: Request) -> Response:
        return json_response(await request_json(request, limit_bytes=8))

    async def chunked(self, method: str, target: str, body: bytes) -> Answer:
        wire = await self.connect()
        chunks = b"".join(b"%x\r\n%b\r\n" % (1, body[n : n + 1]) for n in range(len(body))) + b"0\r\n\r\n"
        head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        wire.send(head.encode() + chunks)
        return Answer.parse(await wire.ended())

    async def test_none(self) -> None:
        """
        A route that takes no body refuses one, however it is framed; an empty one is none.
        """
        self.assertEqual((await self.ask("GET", "/none")).status, 200)
        self.assertEqual((await self.ask("GET", "/none", "Content-Length: 0\r\n")).status, 200)
        self.assertEqual((await self.ask("GET", "/none", body=b"x")).status, 400)
        self.assertEqual((await self.chunked("GET", "/none", b"")).status, 200)
        self.assertEqual((await self.chunked("GET", "/none", b"x")).status, 400)

    async def test_none_before_continue(self) -> None:
        """
        A client that asks first is refused without being told to send.
        """
        answer = await self.ask("GET", "/none", "Content-Length: 5\r\nExpect: 100-continue\r\n")
        self.assertEqual(answer.status, 400)

    async def test_json(self) -> None:
        """
        A JSON body is parsed; none, or a broken or deep one, is 400.
        """
        for body, status in [
            (b'{"a": [1]}', 200),
            (b"", 400),
            (b"{", 400),
            (b"17", 400),
            (b"[NaN]", 400),
            (b"[" * 50_000, 400),
            (b"[" * 10_000 + b"]" * 10_000, 400),
            (b'["\xff"]', 400),
        ]:
            answer = await self.ask("POST", "/json", body=body)
            self.assertEqual((body[:10], answer.status), (body[:10], status))
        self.assertEqual((await self.chunked("POST", "/json", b'{"a":1}')).body, b'{"a":1}')

    async def test_json_too_long(self) -> None:
        """
        A JSON body beyond its limit is 413, announced or not.
        """
        self.assertEqual((await self.ask("POST", "/short", body=b"[1,2,3]")).status, 200)
        self.assertEqual((await self.ask("POST", "/short", body=b"[1,2,3,4]")).status, 413)
        self.assertEqual((await self.chunked("POST", "/short", b"[1,2,3,4]")).status, 413)
        self.assertEqual((await self.ask("POST", "/json", body=b" " * 114_689)).status, 413)

    async def test_stream(self) -> None:
        """
        A streaming route pulls the body itself.
        """
        self.assertEqual((await self.ask("PUT", "/stream", body=b"abc")).body, b"PUT /stream abc")
        await self.record()
        self.assertEqual((self.records[0].received_bytes, self.records[0].sent_bytes), (3, 15))


class AnswerTests(ServingTestCase):
    """
    Responses go out with the framing that belongs to them.
    """

    response: Response

    def make_app(self, **options: Any) -> App:
        app = super().make_app(**options)
        app.add("GET", "/", self.answer)
        app.add("HEAD", "/", self.answer)
        return app

    async def answer(self, request: Request) -> Response:
        return self.response

    async def test_no_content(self) -> None:
        """
        204 has neither body nor length nor type, even if its maker thought otherwise.
        """
        for response in (Response(204), Response(204, (), b"text"), Response(204, announced_length=5)):
            self.response = response
            answer = await self.ask("GET", "/")
            self.assertEqual((answer.status, answer.body), (204, b""))
            self.assertNotIn("content-length", answer.headers)
            self.assertNotIn("content-type", answer.headers)

    async def test_empty(self) -> None:
        """
        An answer without a body has a length of 0 and no type.
        """
        self.response = Response(202)
        answer = await self.ask("GET", "/")
        self.assertEqual(answer.headers["content-length"], "0")
        self.assertNotIn("content-type", answer.headers)

    async def test_no_invented_type(self) -> None:
        """
        A body that nobody named a type for goes out without one.
        """
        self.response = Response(200, (), b"bytes")
        self.assertNotIn("content-type", (await self.ask("GET", "/")).headers)

    async def test_headers(self) -> None:
        """
        Repeated headers stay repeated; framing headers of a handler count for nothing.
        """
        self.response = Response(
            200,
            (("Link", "a"), ("Content-Length", "99"), ("link", "b"), ("Transfer-Encoding", "chunked"), ("Via", "ö €")),
            b"x",
        )
        wire = await self.connect()
        wire.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        head, _, body = (await wire.ended()).partition(b"\r\n\r\n")
        lines = [line.lower() for line in head.split(b"\r\n")]
        self.assertEqual(body, b"x")
        self.assertIn(b"link: a", lines)
        self.assertIn(b"link: b", lines)
        self.assertIn(b"content-length: 1", lines)
        self.assertIn("via: ö €".encode(), lines)
        self.assertNotIn(b"transfer-encoding: chunked", lines)

    async def test_latin_1(self) -> None:
        """
        A value that came in as Latin-1 goes out the same.
        """
        self.response = Response(200, (("X-Name", b"\xc3\xb6".decode("latin-1")),), b"x")
        wire = await self.connect()
        wire.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        self.assertIn(b": \xc3\xb6\r\n", await wire.ended())

    async def test_head(self) -> None:
        """
        An answer to HEAD announces a length and sends nothing.
        """
        for response, length in [
            (Response(200, (), b"12345"), "5"),
            (Response(200, (), None, announced_length=7), "7"),
            (Response(200, (), b"", announced_length=7), "7"),
            (Response(200), None),
        ]:
            self.response = response
            answer = await self.ask("HEAD", "/")
            self.assertEqual((answer.body, answer.headers.get("content-length")), (b"", length))

    async def test_head_lets_a_body_go(self) -> None:
        """
        A producer given to HEAD tells its length and is let go.
        """
        body = Body([b"12345"], 5)
        self.response = Response(200, (), body)
        answer = await self.ask("HEAD", "/")
        self.assertEqual((answer.body, answer.headers["content-length"]), (b"", "5"))
        self.assertEqual(body.stopped, 1)

    async def test_producer(self) -> None:
        """
        A producer's body has its length; the end of it is told.
        """
        ends: list[bool] = []
        self.response = Response(200, (), Body([b"123", b"45"], 5), on_end=ends.append)
        answer = await self.ask("GET", "/")
        self.assertEqual((answer.body, answer.headers["content-length"]), (b"12345", "5"))
        self.assertEqual(ends, [True])
        record = await self.record()
        self.assertEqual((record.status, record.sent_bytes, record.complete), (200, 5, True))

    def make_file(self, data: bytes, offset: int, length: int) -> FileBody:
        path = Path(self.mktemp())
        path.write_bytes(data)
        return FileBody(os.open(path, os.O_RDONLY), offset, length, WholeFile(offset + length))

    async def test_file(self) -> None:
        """
        A file goes out whole, its bytes are counted, and the connection carries the next request.
        """
        data = bytes(range(256)) * 12_288
        wire = await self.connect()
        self.response = Response(200, (), self.make_file(data, 1, len(data) - 1))
        wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        record = await self.record()
        self.assertEqual((record.sent_bytes, record.complete), (len(data) - 1, True))
        self.response = Response(200, (), b"the end")
        wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        received = await wire.until(b"the end")
        self.assertEqual(received.partition(b"\r\n\r\n")[2][: len(data) - 1], data[1:])

    async def test_short_file(self) -> None:
        """
        A file that ends too early breaks the connection; the record has what went out.
        """
        self.response = Response(200, (), self.make_file(b"short", 0, 100))
        wire = await self.connect()
        wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await wire.ended()
        record = await self.record()
        self.assertEqual((record.status, record.sent_bytes, record.complete), (200, 5, False))

    async def test_unknown_length(self) -> None:
        """
        A producer that does not know its length is sent chunked.
        """
        self.response = Response(200, (), Body([b"123", b"45"], UNKNOWN_LENGTH))
        answer = await self.ask("GET", "/")
        self.assertEqual(answer.headers["transfer-encoding"], "chunked")
        self.assertEqual(answer.body, b"3\r\n123\r\n2\r\n45\r\n0\r\n\r\n")

    async def test_keep_alive(self) -> None:
        """
        The connection carries the next request, after bytes as after a producer.
        """
        wire = await self.connect()
        for response in (Response(200, (), b"first"), Response(200, (), Body([b"second"], 6)), Response(204)):
            self.response = response
            wire.received = b""
            wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await wire.until(b"\r\n\r\n")
        self.assertIsNone(wire.closed)
        self.assertEqual([record.complete for record in self.records], [True] * 3)


class FailureTests(ServingTestCase):
    """
    A failure is an error answer before the first byte, and a broken connection after it.
    """

    FAULTS = {OutOfOrder: 409}

    def make_app(self, **options: Any) -> App:
        app = super().make_app(deadline_seconds=0.05)
        app.add("GET", "/", self.run_handler)
        app.add("PUT", "/slow", self.run_handler, BodyRule.STREAM)
        app.add("GET", "/patient", self.run_handler, deadline_seconds=30)
        return app

    async def run_handler(self, request: Request) -> Response:
        response: Response = await self.handler(request)
        return response

    handler: Any

    async def test_listed(self) -> None:
        """
        A listed exception becomes its status, with its own words.
        """

        async def refuse(request: Request) -> Response:
            raise OutOfOrder("again")

        self.handler = refuse
        answer = await self.ask("GET", "/")
        self.assertEqual((answer.status, answer.body), (409, b"409 Conflict\n\nout of order: again\n"))
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_unlisted(self) -> None:
        """
        An unlisted exception is a 500 without detail, logged once with its traceback.
        """

        async def fail(request: Request) -> Response:
            raise Unforeseen("s3cret")

        self.handler = fail
        for accept in ("", "Accept: */*\r\n", "Accept: application/json\r\n"):
            answer = await self.ask("GET", "/", accept)
            self.assertEqual(answer.status, 500)
            self.assertNotIn(b"s3cret", answer.body)
            self.assertIn("x-openstack-request-id", answer.headers)
            (logged,) = self.flushLoggedErrors(Unforeseen)
            self.assertIn("in fail", logged.getTraceback())

    async def test_inner_cancellation(self) -> None:
        """
        A cancellation that is not the client's leaving is an error like any other.
        """

        async def fail(request: Request) -> Response:
            raise CancelledError

        self.handler = fail
        self.assertEqual((await self.ask("GET", "/")).status, 500)
        self.assertEqual(len(self.flushLoggedErrors(CancelledError)), 1)

    async def test_no_response(self) -> None:
        """
        A handler that answers nothing is a defect: 500, logged once.
        """

        async def forget(request: Request) -> None:
            return None

        self.handler = forget
        self.assertEqual((await self.ask("GET", "/")).status, 500)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    async def test_deadline(self) -> None:
        """
        A handler that takes too long is cancelled and answered for by 503.
        """
        cancelled: list[bool] = []

        async def wait(request: Request) -> Response:
            await Deferred(lambda _: cancelled.append(True))
            raise AssertionError("not reached")

        self.handler = wait
        self.assertEqual((await self.ask("GET", "/")).status, 503)
        self.assertEqual(cancelled, [True])

    async def test_no_deadline(self) -> None:
        """
        A streaming route, and one that asks for it, may take longer.
        """

        async def wait(request: Request) -> Response:
            later: Deferred[None] = Deferred()
            reactor.callLater(0.2, later.callback, None)
            await later
            return Response(200, (), b"late")

        self.handler = wait
        self.assertEqual((await self.ask("PUT", "/slow")).body, b"late")
        self.assertEqual((await self.ask("GET", "/patient")).body, b"late")

    async def test_broken_body(self) -> None:
        """
        A body that breaks off resets the connection: the client does not take it for whole.
        """
        for error in (BodyTooShort(100, 3), ZeroDivisionError()):
            for length in (100, UNKNOWN_LENGTH):
                ends: list[bool] = []
                self.records.clear()
                self.handler = self.giving(Response(200, (), Body([b"abc"], length, error), on_end=ends.append))
                wire = await self.connect()
                wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                received = await wire.ended()
                self.assertNotIn(b"0\r\n\r\n", received)
                self.assertEqual(ends, [False])
                record = await self.record()
                self.assertEqual((record.status, record.sent_bytes, record.complete), (200, 3, False))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_body_fails_at_once(self) -> None:
        """
        A body that fails before its first byte is answered for like any failure, with nothing left of the answer
        that was meant.
        """
        ends: list[bool] = []
        body = Body([], 100, OutOfOrder("no disk"))
        self.handler = self.giving(Response(206, (("Content-Range", "bytes 0-99/100"),), body, on_end=ends.append))
        answer = await self.ask("GET", "/")
        self.assertEqual((answer.status, answer.body), (409, b"409 Conflict\n\nout of order: no disk\n"))
        self.assertNotIn("content-range", answer.headers)
        self.assertEqual(answer.headers["content-length"], str(len(answer.body)))
        self.assertEqual(ends, [False])
        self.assertEqual([record.status for record in self.records], [409])

    def giving(self, response: Response) -> Any:
        async def give(request: Request) -> Response:
            return response

        return give

    async def test_client_leaves_a_handler(self) -> None:
        """
        A client that leaves cancels its handler; that is recorded and no error.
        """
        waiting: Deferred[None] = Deferred()

        async def wait(request: Request) -> Response:
            waiting.callback(None)
            await Deferred()
            raise AssertionError("not reached")

        self.handler = wait
        wire = await self.connect()
        wire.send(b"GET /patient HTTP/1.1\r\nHost: x\r\n\r\n")
        await waiting
        self.assertEqual(self.app.in_progress, 1)
        wire.transport.abortConnection()
        record = await self.record()
        self.assertEqual((record.status, record.sent_bytes, record.complete), (0, 0, False))
        self.assertEqual(record.route, "GET /patient")
        self.assertEqual(self.app.in_progress, 0)

    async def test_client_leaves_a_stubborn_handler(self) -> None:
        """
        A response that comes after the client left is let go unsent, and told so.
        """
        waiting: Deferred[None] = Deferred()
        body = Body([b"abc"], 3)
        ends: list[bool] = []

        async def wait(request: Request) -> Response:
            waiting.callback(None)
            try:
                await Deferred()
            except CancelledError:
                return Response(200, (), body, on_end=ends.append)
            raise AssertionError("not reached")

        self.handler = wait
        wire = await self.connect()
        wire.send(b"GET /patient HTTP/1.1\r\nHost: x\r\n\r\n")
        await waiting
        wire.transport.abortConnection()
        await self.record()
        self.assertEqual((body.stopped, ends), (1, [False]))

    async def test_handler_fails_after_client_left(self) -> None:
        """
        What goes wrong after the client left is logged only if nobody foresaw it.
        """
        for error, logged in ((OutOfOrder("x"), 0), (ZeroDivisionError(), 1)):
            await self.leave_while(error)
            self.assertEqual(len(self.flushLoggedErrors(type(error))), logged)

    async def leave_while(self, error: Exception) -> None:
        waiting: Deferred[None] = Deferred()

        async def wait(request: Request) -> Response:
            waiting.callback(None)
            try:
                await Deferred()
            finally:
                raise error

        self.records.clear()
        self.handler = wait
        wire = await self.connect()
        wire.send(b"GET /patient HTTP/1.1\r\nHost: x\r\n\r\n")
        await waiting
        wire.transport.abortConnection()
        await self.record()

    async def test_client_leaves_a_body(self) -> None:
        """
        A client that leaves in the middle of a body stops it; the record has what was sent.
        """
        body = Body([b"abc"], 100, endless=True)
        ends: list[bool] = []
        self.handler = self.giving(Response(206, (), body, on_end=ends.append))
        wire = await self.connect()
        wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await wire.until(b"abc")
        wire.transport.abortConnection()
        record = await self.record()
        self.assertEqual((record.status, record.sent_bytes, record.complete), (206, 3, False))
        self.assertEqual((bool(body.stopped), ends), (True, [False]))

    async def test_failing_end(self) -> None:
        """
        A failure in what follows an answer is logged and takes nothing away from the client.
        """

        def fail(complete: bool) -> None:
            raise ZeroDivisionError

        self.handler = self.giving(Response(200, (), b"whole", on_end=fail))
        self.assertEqual((await self.ask("GET", "/")).body, b"whole")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class AppTests(SynchronousTestCase):
    """
    Mistakes in a route table show when it is built.
    """

    def test_twice(self) -> None:
        """
        A route can be added once.
        """
        app = App(reactor, FaultTable({}), lambda record: None)
        app.add("GET", "/", nothing)
        self.assertRaises(ValueError, app.add, "GET", "/", nothing)
