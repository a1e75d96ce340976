"""
Health and metrics, as tools ask for them.
"""

from __future__ import annotations

from typing import Any

from glance_tx.telemetry.health import HealthChecks
from glance_tx.telemetry.metrics import Exposition
from glance_tx.web.app import App
from glance_tx.web.faults import FaultTable
from glance_tx.web.management import management_app
from tests.web.serving import ServingTestCase, reactor


async def well() -> None:
    pass


async def unwell() -> None:
    raise RuntimeError("the secret reason")


class ManagementTests(ServingTestCase):
    """
    The management port answers without a token.
    """

    def make_app(self, **options: Any) -> App:
        super().make_app()
        self.checks = HealthChecks(reactor)
        self.checks.add("database", well)
        return management_app(
            reactor,
            self.checks,
            lambda: Exposition("text/plain; version=1.0.0", b"up 1\n"),
            self.note,
            FaultTable({}),
        )

    async def test_metrics(self) -> None:
        """
        Metrics come as text of the type that they say.
        """
        answer = await self.ask("GET", "/metrics")
        self.assertEqual((answer.status, answer.body), (200, b"up 1\n"))
        self.assertEqual(answer.headers["content-type"], "text/plain; version=1.0.0")

    async def test_healthy(self) -> None:
        """
        All is well: 200 and OK. To HEAD, the same without a body.
        """
        answer = await self.ask("GET", "/healthcheck")
        self.assertEqual((answer.status, answer.body), (200, b"OK"))
        self.assertEqual(answer.headers["content-type"], "text/plain; charset=UTF-8")
        answer = await self.ask("HEAD", "/healthcheck")
        self.assertEqual((answer.status, answer.body, answer.headers["content-length"]), (200, b"", "2"))

    async def test_unhealthy(self) -> None:
        """
        A failed check is 503 and its name, never its reason.
        """
        self.checks.add("store", unwell)
        answer = await self.ask("GET", "/healthcheck")
        self.assertEqual(answer.status, 503)
        self.assertIn(b"store", answer.body)
        self.assertNotIn(b"database", answer.body)
        self.assertNotIn(b"secret", answer.body)

    async def test_nothing_else(self) -> None:
        """
        Other paths and methods are refused.
        """
        self.assertEqual((await self.ask("GET", "/")).status, 404)
        self.assertEqual((await self.ask("POST", "/metrics")).status, 405)
