"""
Numbers, kept in a registry of each daemon's own.
"""

from __future__ import annotations

from itertools import product

from attrs import evolve
from prometheus_client import REGISTRY
from twisted.trial.unittest import SynchronousTestCase

from glance_tx.telemetry.metrics import Metrics, RequestMetrics
from tests.telemetry.test_access import RECORD


def lines(metrics: Metrics) -> set[str]:
    """
    The lines of an exposition that are no comments.
    """
    return {line for line in metrics.render().body.decode().splitlines() if not line.startswith("#")}


class MetricsTests(SynchronousTestCase):
    """
    `Metrics`.
    """

    def test_kinds(self) -> None:
        """
        A component's numbers show under the daemon's prefix.
        """
        metrics = Metrics("glance_x")
        metrics.counter("fills", "Fills.", ["outcome"]).labels("failed").inc(2)
        metrics.gauge("entries", "Entries.").set(7)
        metrics.histogram("wait_seconds", "Waits.", [1, 2]).observe(1.5)
        held = [1, 2, 3]
        metrics.watch("held", "Held.", lambda: len(held))
        held.append(4)
        self.assertLessEqual(
            {
                'glance_x_fills_total{outcome="failed"} 2.0',
                "glance_x_entries 7.0",
                'glance_x_wait_seconds_bucket{le="1.0"} 0.0',
                'glance_x_wait_seconds_bucket{le="2.0"} 1.0',
                "glance_x_held 4.0",
            },
            lines(metrics),
        )

    def test_process(self) -> None:
        """
        The process's own memory and descriptors are there.
        """
        names = {line.partition(" ")[0] for line in lines(Metrics("glance_x"))}
        self.assertLessEqual({"process_resident_memory_bytes", "process_open_fds"}, names)

    def test_own_registry(self) -> None:
        """
        Two daemons in one process share nothing, and the library's global registry stays untouched.
        """
        one, other = Metrics("glance_x"), Metrics("glance_x")
        one.counter("fills", "Fills.").inc()
        other.counter("fills", "Fills.")
        self.assertIn("glance_x_fills_total 1.0", lines(one))
        self.assertIn("glance_x_fills_total 0.0", lines(other))
        self.assertIsNone(REGISTRY.get_sample_value("glance_x_fills_total"))

    def test_taken(self) -> None:
        """
        A name is given once.
        """
        metrics = Metrics("glance_x")
        metrics.counter("fills", "Fills.")
        self.assertRaises(ValueError, metrics.counter, "fills", "Fills.")

    def test_content_type(self) -> None:
        """
        The exposition says what it is.
        """
        self.assertTrue(Metrics("glance_x").render().content_type.startswith("text/plain; version="))


class RequestMetricsTests(SynchronousTestCase):
    """
    `RequestMetrics`.
    """

    def test_counts(self) -> None:
        """
        A finished request counts by method, class of status and route, with its bytes and its time.
        """
        metrics = Metrics("glance_x")
        note = RequestMetrics(metrics)
        note(RECORD)
        note(evolve(RECORD, complete=False))
        self.assertLessEqual(
            {
                'glance_x_requests_total{method="GET",route="image_data",status="2xx"} 2.0',
                "glance_x_requests_aborted_total 1.0",
                "glance_x_sent_bytes_total 20.0",
                "glance_x_received_bytes_total 4.0",
                'glance_x_request_seconds_count{route="image_data"} 2.0',
                'glance_x_request_seconds_sum{route="image_data"} 0.5',
            },
            lines(metrics),
        )

    def test_apart(self) -> None:
        """
        Each method, class of status and route is counted by itself, whatever was counted before it.
        """
        metrics = Metrics("glance_x")
        note = RequestMetrics(metrics)
        for method, status, route in product(("GET", "PUT", "X"), (200, 204, 404, 0), ("show", "list", None)):
            note(evolve(RECORD, method=method, status=status, route=route))
        counted = {line for line in lines(metrics) if line.startswith("glance_x_requests_total")}
        expected = {
            f'glance_x_requests_total{{method="{method}",route="{route}",status="{status}"}} {count}.0'
            for method in ("GET", "PUT", "other")
            for status, count in (("2xx", 2), ("4xx", 1), ("none", 1))
            for route in ("show", "list", "none")
        }
        self.assertEqual(counted, expected)
        timed = {line for line in lines(metrics) if line.startswith("glance_x_request_seconds_count")}
        self.assertEqual(
            timed, {f'glance_x_request_seconds_count{{route="{r}"}} 12.0' for r in ("show", "list", "none")}
        )

    def test_labels_are_few(self) -> None:
        """
        However many methods clients make up, and whatever paths they ask for, the labels stay the same few.
        """
        metrics = Metrics("glance_x")
        note = RequestMetrics(metrics)
        note(evolve(RECORD, status=0, route=None))
        before = len(lines(metrics))
        for number in range(50):
            note(evolve(RECORD, method=f"M{number}", path=f"/{number}", status=0, route=None))
        self.assertIn('glance_x_requests_total{method="other",route="none",status="none"} 50.0', lines(metrics))
        # One more line: the counter, and when it began, for the methods made up.
        self.assertLessEqual(len(lines(metrics)) - before, 2)
