"""
Tests of metrics of several processes, added up.
"""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from glance_tx.telemetry.metrics import Metrics
from glance_tx.telemetry.totals import Totals, snapshot


class TotalsTests(SynchronousTestCase):
    """
    `Totals` says what one process with all that work would have said.
    """

    def setUp(self) -> None:
        self.own = Metrics("daemon")
        self.totals = Totals(self.own)

    def value(self, name: str, **labels: str) -> float:
        """
        Read one sample of the totals.
        """
        (found,) = [
            sample.value
            for metric in self.totals.collect()
            for sample in metric.samples
            if sample.name == name and sample.labels == labels
        ]
        return float(found)

    def names(self) -> set[str]:
        return {sample.name for metric in self.totals.collect() for sample in metric.samples}

    def report(self, source: str, metrics: Metrics) -> None:
        # As it comes through a pipe.
        self.totals.report(source, json.loads(json.dumps(snapshot(metrics))))

    def test_sums(self) -> None:
        """
        Counters, gauges and histograms are added up, each by its labels, those of this process included.
        """
        for source, count in (("a", 2), ("b", 3)):
            metrics = Metrics("daemon")
            metrics.counter("requests", "Requests.", ["method"]).labels("GET").inc(count)
            metrics.gauge("busy", "Busy.").set(count)
            seconds = metrics.histogram("seconds", "Time.", [1, 5])
            seconds.observe(count)
            self.report(source, metrics)
        self.own.counter("requests", "Requests.", ["method"]).labels("PUT").inc()
        self.assertEqual(self.value("daemon_requests_total", method="GET"), 5)
        self.assertEqual(self.value("daemon_requests_total", method="PUT"), 1)
        self.assertEqual(self.value("daemon_busy"), 5)
        self.assertEqual(self.value("daemon_seconds_sum"), 5)
        self.assertEqual(self.value("daemon_seconds_bucket", le="1.0"), 0)
        self.assertEqual(self.value("daemon_seconds_bucket", le="+Inf"), 2)

    def test_flags(self) -> None:
        """
        Flags and limits are not added up: the largest or the least one counts, by labels.
        """
        for source, stale, reachable in (("a", 1, 0), ("b", 1, 1), ("c", 0, 1)):
            metrics = Metrics("daemon")
            metrics.gauge("stale", "Wrong.", ["file"], merge="max").labels("x").set(stale)
            metrics.watch("reachable", "There.", lambda reachable=reachable: reachable, merge="min")
            self.report(source, metrics)
        self.assertEqual((self.value("daemon_stale", file="x"), self.value("daemon_reachable")), (1, 0))
        self.totals.end("a")
        self.assertEqual(self.value("daemon_reachable"), 1)

    def test_latest(self) -> None:
        """
        Of one process the latest report counts.
        """
        metrics = Metrics("daemon")
        counter = metrics.counter("requests", "Requests.")
        for _ in range(3):
            counter.inc()
            self.report("a", metrics)
        self.assertEqual(self.value("daemon_requests_total"), 3)

    def test_ended(self) -> None:
        """
        What a process that ended had counted stays, what it was at does not.
        """
        for source in ("a", "b"):
            metrics = Metrics("daemon")
            metrics.counter("requests", "Requests.").inc(5)
            metrics.histogram("seconds", "Time.", [1]).observe(2)
            metrics.gauge("busy", "Busy.").set(1)
            self.report(source, metrics)
            self.totals.end(source)
            self.totals.end(source)
        self.assertEqual(self.value("daemon_requests_total"), 10)
        self.assertEqual(self.value("daemon_seconds_count"), 2)
        self.assertNotIn("daemon_busy", self.names())

    def test_moments(self) -> None:
        """
        Moments are not added up: the earliest one counts.
        """
        now = self.value("process_start_time_seconds")
        self.report("a", Metrics("daemon"))
        self.assertEqual(self.value("process_start_time_seconds"), now)
        self.report("a", Metrics("daemon"))
        self.totals.end("a")
        self.assertEqual(self.value("process_start_time_seconds"), now)

    def test_text(self) -> None:
        """
        The totals look as the metrics of a process do.
        """
        metrics = Metrics("daemon")
        metrics.counter("requests", "Requests.").inc()
        self.report("a", metrics)
        text = self.totals.render().body.decode()
        self.assertIn("# TYPE daemon_requests_total counter\ndaemon_requests_total 1.0\n", text)
