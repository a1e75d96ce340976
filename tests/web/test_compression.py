"""
JSON for clients that like it compressed.
"""

from __future__ import annotations

import gzip
import json
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from glance_tx.streaming.lanes import Lanes
from glance_tx.web.accept import accepts_gzip
from glance_tx.web.app import App
from glance_tx.web.compression import CompressionSettings, JsonCompression
from glance_tx.web.request import Request
from glance_tx.web.response import Response, json_response
from tests.doubles.pools import SteppedPool, ThreadClock
from tests.web.serving import ServingTestCase, Wire

LONG = {"images": [{"name": f"image-{number}"} for number in range(400)]}
HUGE = {"images": [{"name": f"image-{number}"} for number in range(4000)]}
GZIP = "Accept-Encoding: gzip, deflate\r\n"


class CompressionTests(ServingTestCase):
    """
    An application that compresses.
    """

    def make_app(self, **options: Any) -> App:
        self.pool, self.clock = SteppedPool(), Clock()
        lanes = Lanes(ThreadClock(), self.pool)  # type: ignore[arg-type]
        app = super().make_app(compression=JsonCompression(self.clock, lanes), **options)
        for name, response in {
            "long": json_response(LONG),
            "huge": json_response(HUGE),
            "short": json_response({"a": "b"}),
            "data": Response(200, (("Content-Type", "application/octet-stream"),), b"\0" * 100_000),
            "encoded": Response(200, (("Content-Type", "application/json"), ("Content-Encoding", "x")), b"{" * 9000),
        }.items():
            app.add("GET", f"/{name}", self.answering(response))
            app.add("HEAD", f"/{name}", self.answering(response))
        return app

    def answering(self, response: Response) -> Any:
        async def answer(request: Request) -> Response:
            return response

        return answer

    async def begin(self, path: str) -> Wire:
        """
        Send a request, and wait until a thread was asked to compress its answer.
        """
        wire = await self.connect()
        wire.send(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{GZIP}\r\n".encode())
        for _ in range(100):
            if self.pool.waiting:
                return wire
            await self.turn()
        raise AssertionError("no thread was asked")

    async def turn(self) -> None:
        """
        Let the reactor go round once, by way of the network.
        """
        await self.ask("GET", "/short")

    async def test_long(self) -> None:
        """
        A long document is compressed for a client that accepts it, and says how long it is then.
        """
        answer = await self.ask("GET", "/long", GZIP)
        self.assertEqual((answer.status, answer.headers["content-encoding"]), (200, "gzip"))
        self.assertEqual(answer.headers["vary"], "Accept-Encoding")
        self.assertEqual(int(answer.headers["content-length"]), len(answer.body))
        self.assertLess(len(answer.body), len(json.dumps(LONG)) / 3)
        self.assertEqual(json.loads(gzip.decompress(answer.body)), LONG)
        self.assertEqual(self.pool.jobs_done, 0)

    async def test_unwanted(self) -> None:
        """
        Other clients get it as it is, and caches hear that there is a choice.
        """
        for header in ("", "Accept-Encoding: identity\r\n", "Accept-Encoding: gzip;q=0, br\r\n"):
            answer = await self.ask("GET", "/long", header)
            self.assertNotIn("content-encoding", answer.headers)
            self.assertEqual((json.loads(answer.body), answer.headers["vary"]), (LONG, "Accept-Encoding"))

    async def test_left_alone(self) -> None:
        """
        Short documents, data, and what has an encoding already are not touched.
        """
        for path in ("/short", "/data", "/encoded"):
            answer = await self.ask("GET", path, GZIP)
            self.assertNotEqual((path, answer.headers.get("content-encoding")), (path, "gzip"))
            self.assertNotIn("vary", answer.headers)

    async def test_head(self) -> None:
        """
        The head of a document that is not sent is that of the document as it is.
        """
        answer = await self.ask("HEAD", "/long", GZIP)
        self.assertNotIn("content-encoding", answer.headers)
        self.assertEqual(answer.headers["vary"], "Accept-Encoding")

    async def test_thread(self) -> None:
        """
        What would hold the reactor up is compressed in a thread, while others are answered.
        """
        wire = await self.begin("/huge")
        await self.turn()
        self.assertEqual(wire.received, b"")
        self.pool.run_all()
        head, _, body = (await wire.ended()).partition(b"\r\n\r\n")
        self.assertIn(b"Content-Encoding: gzip", head)
        self.assertEqual(json.loads(gzip.decompress(body)), HUGE)

    async def test_no_thread(self) -> None:
        """
        Where no thread has time, the document goes out as it is.
        """
        wire = await self.begin("/huge")
        self.clock.advance(2)
        head, _, body = (await wire.ended()).partition(b"\r\n\r\n")
        self.assertNotIn(b"Content-Encoding", head)
        self.assertEqual(json.loads(body), HUGE)

    async def test_stopping(self) -> None:
        """
        So it does while the daemon stops.
        """
        self.pool.stop()
        answer = await self.ask("GET", "/huge", GZIP)
        self.assertEqual((answer.status, json.loads(answer.body)), (200, HUGE))

    async def test_client_leaves(self) -> None:
        """
        A client that leaves meanwhile ends its request.
        """
        wire = await self.begin("/huge")
        wire.transport.abortConnection()
        self.assertEqual((await self.record_of("GET", 0)).path, "/huge")
        self.pool.run_all()


class SettingsTests(SynchronousTestCase):
    """
    Compression is an operator's choice.
    """

    def test_default(self) -> None:
        """
        It is off until it is asked for.
        """
        lanes = Lanes(ThreadClock(), SteppedPool())  # type: ignore[arg-type]
        self.assertIsNone(JsonCompression.of(CompressionSettings(), Clock(), lanes))
        self.assertIsNotNone(JsonCompression.of(CompressionSettings(compress_json=True), Clock(), lanes))


class AcceptEncodingTests(SynchronousTestCase):
    """
    `accepts_gzip` reads Accept-Encoding.
    """

    def test_accepts_gzip(self) -> None:
        """
        By name or by wildcard, with a weight above 0; what is named beats the wildcard.
        """
        for header in ("gzip", "GZIP", "x-gzip", "br, gzip;q=0.1", "*", "br;q=1, *;q=0.5", "deflate , gzip ; q=1"):
            self.assertTrue(accepts_gzip(header), header)
        for header in (
            None,
            "",
            "identity",
            "br",
            "gzip;q=0",
            "gzip;q=0.0",
            "*;q=0",
            "gzip;q=0, *",
            "gzipped",
            "gzip;q=x",
        ):
            self.assertFalse(accepts_gzip(header), header)
