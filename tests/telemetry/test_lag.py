"""
Tests of how late a reactor is.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from glance_tx.telemetry.lag import ReactorLag
from glance_tx.telemetry.metrics import Metrics


class ReactorLagTests(SynchronousTestCase):
    """
    `ReactorLag` counts how late it is called.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.metrics = Metrics("test")
        self.lag = ReactorLag(self.clock, self.metrics)

    def seen(self) -> dict[str, float]:
        """
        How often it was how late at most, by seconds; and all of it together.
        """
        samples = [s for m in self.metrics.collect() if m.name == "test_reactor_lag_seconds" for s in m.samples]
        return {s.labels.get("le", s.name.rpartition("_")[2]): s.value for s in samples}

    def do(self, step) -> None:
        self.successResultOf(Deferred.fromCoroutine(step()))

    def test_late(self) -> None:
        """
        A reactor that is held is as late as that; one that is not is in time.
        """
        self.do(self.lag.start)
        self.clock.pump([0.1] * 20)
        self.assertEqual((self.seen()["0.001"], self.seen()["count"]), (20, 20))
        self.clock.rightNow += 0.1 + 0.007
        self.clock.advance(0)
        seen = self.seen()
        self.assertEqual((seen["0.005"], seen["0.01"], seen["count"]), (20, 21, 21))
        self.assertAlmostEqual(seen["sum"], 0.007)
        self.clock.pump([0.1] * 5)
        self.assertEqual(self.seen()["0.005"], 25)

    def test_stopped(self) -> None:
        """
        It leaves nothing behind.
        """
        self.do(self.lag.start)
        self.do(self.lag.stop)
        self.do(self.lag.stop)
        self.assertEqual(self.clock.getDelayedCalls(), [])
