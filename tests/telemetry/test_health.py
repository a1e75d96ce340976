"""
Health checks.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import Logger, LogPublisher
from twisted.trial.unittest import TestCase

from glance_tx.telemetry.health import HealthChecks


class HealthTests(TestCase):
    """
    `HealthChecks`.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.checks = HealthChecks(self.clock, timeout_seconds=5.0)
        self.events: list[str] = []
        self.checks.log = Logger(observer=LogPublisher(lambda event: self.events.append(str(event.get("name")))))

    async def fine(self) -> None:
        """
        A check that passes.
        """

    async def broken(self) -> None:
        """
        A check that does not.
        """
        raise RuntimeError("password=secret")

    async def test_nothing_to_check(self) -> None:
        """
        A daemon without checks is healthy.
        """
        report = await self.checks.run()
        self.assertEqual((report.status, report.text), (200, "OK"))

    async def test_all_well(self) -> None:
        """
        With every check passed, the answer is 200 and OK.
        """
        self.checks.add("database", self.fine)
        self.checks.add("store", self.fine)
        report = await self.checks.run()
        self.assertEqual((report.status, report.text, report.results), (200, "OK", {"database": True, "store": True}))

    async def test_failure(self) -> None:
        """
        A failed check makes it 503 and is named; why it failed is for the log alone.
        """
        self.checks.add("store", self.fine)
        self.checks.add("database", self.broken)
        report = await self.checks.run()
        self.assertEqual((report.status, report.text), (503, "FAILED: database"))
        self.assertEqual(self.events, ["database"])

    def test_timeout(self) -> None:
        """
        A check that does not end in time has failed, and the others count.
        """
        waiting: Deferred[None] = Deferred()
        self.checks.add("slow", lambda: waiting)
        self.checks.add("store", self.fine)
        running = Deferred.fromCoroutine(self.checks.run())
        self.clock.advance(4.9)
        self.assertNoResult(running)
        self.clock.advance(0.1)
        self.assertEqual(self.successResultOf(running).results, {"slow": False, "store": True})
        self.assertEqual(self.events, ["slow"])

    def test_together(self) -> None:
        """
        Checks run at the same time: several slow ones take no longer than one.
        """
        for name in ("a", "b", "c"):
            self.checks.add(name, Deferred)
        running = Deferred.fromCoroutine(self.checks.run())
        self.clock.advance(5.0)
        self.assertEqual(set(self.successResultOf(running).results.values()), {False})

    def test_cancelled(self) -> None:
        """
        When whoever asked has left, checks in progress are cancelled and nothing is left behind.
        """
        cancelled: list[str] = []
        for name in ("a", "b"):
            self.checks.add(name, lambda name=name: Deferred(lambda _: cancelled.append(name)))  # type: ignore[misc]
        running = Deferred.fromCoroutine(self.checks.run())
        running.cancel()
        self.failureResultOf(running, CancelledError)
        self.assertEqual(sorted(cancelled), ["a", "b"])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.events, [])

    def test_taken(self) -> None:
        """
        A name is given once.
        """
        self.checks.add("store", self.fine)
        self.assertRaises(ValueError, self.checks.add, "store", self.fine)
