"""
Transfers of image data are counted by kind.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from glance_tx.streaming.memory import MemoryBody
from glance_tx.telemetry.metrics import Metrics
from glance_tx.telemetry.transfers import UPLOAD, TransferMetrics
from glance_tx.web.app import App, BodyRule
from glance_tx.web.errors import BadRequest
from glance_tx.web.request import Request
from glance_tx.web.response import Response
from tests.web.serving import ServingTestCase, reactor


class TransferTests(ServingTestCase):
    """
    What `/metrics` tells of transfers.
    """

    timeout = 20

    def make_app(self, **options: Any) -> App:
        self.metrics = Metrics("test")
        self.go_on: Deferred[None] = Deferred()
        app = super().make_app(transfers=TransferMetrics(self.metrics), **options)
        app.add("GET", "/data", self.send)
        app.add("GET", "/other", self.other)
        app.add("PUT", "/data", self.take, BodyRule.STREAM)
        app.add("PUT", "/refused", self.refuse, BodyRule.STREAM)
        return app

    async def send(self, request: Request) -> Response:
        request.begin_transfer("hit")
        request.begin_transfer("bypass")  # too late
        await self.go_on
        return Response(200, (), MemoryBody(b"d" * 1000))

    async def other(self, request: Request) -> Response:
        return Response(200, (), b"other")

    async def take(self, request: Request) -> Response:
        request.begin_transfer(UPLOAD)
        while await request.body.read(1):
            pass
        return Response(200, (), b"taken")

    async def refuse(self, request: Request) -> Response:
        request.begin_transfer(UPLOAD)
        raise BadRequest("no")

    def value(self, name: str, kind: str) -> float | None:
        """
        Read one number of a kind; ``None`` where there is none.
        """
        samples = [s for m in self.metrics.collect() for s in m.samples if s.name == f"test_{name}"]
        return next((s.value for s in samples if s.labels.get("kind") == kind), None)

    async def test_out(self) -> None:
        """
        A transfer counts as under way until its answer is out, with its bytes and the time to the first of them.
        """
        answer = Deferred.fromCoroutine(self.ask("GET", "/data"))
        while self.value("transfers_in_progress", "hit") != 1:
            await deferLater(reactor, 0.001)
        self.assertIsNone(self.value("transfers_total", "hit"))
        await deferLater(reactor, 0.03)
        self.go_on.callback(None)
        await answer
        while self.value("transfers_in_progress", "hit"):
            await deferLater(reactor, 0.001)
        self.assertEqual((self.value("transfers_total", "hit"), self.value("transfer_bytes_total", "hit")), (1, 1000))
        self.assertEqual(self.value("transfer_first_byte_seconds_count", "hit"), 1)
        self.assertGreaterEqual(self.value("transfer_first_byte_seconds_sum", "hit") or 0, 0.03)
        self.assertIsNone(self.value("transfers_total", "bypass"))

    async def test_in(self) -> None:
        """
        Of uploads the bytes that came count, of refused ones too; the answer's first byte says nothing of them.
        """
        await self.ask("PUT", "/data", body=b"u" * 100_000)
        await self.ask("PUT", "/refused", body=b"u" * 10)
        self.assertEqual(self.value("transfers_in_progress", UPLOAD), 0)
        self.assertEqual(
            (self.value("transfers_total", UPLOAD), self.value("transfer_bytes_total", UPLOAD)), (2, 100_010)
        )
        self.assertIsNone(self.value("transfer_first_byte_seconds_count", UPLOAD))

    async def test_others(self) -> None:
        """
        Requests that transfer no image data are not counted.
        """
        await self.ask("GET", "/other")
        self.assertEqual([s for m in self.metrics.collect() if "transfer" in m.name for s in m.samples], [])
