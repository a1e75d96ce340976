"""
Numbers for a monitoring system, in a registry of our own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal, Protocol, TypeAlias

from attrs import field, frozen
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from glance_tx.telemetry.access import AccessRecord

__all__ = [
    "Counter",
    "Exposition",
    "Gauge",
    "Histogram",
    "Merge",
    "Metric",
    "Metrics",
    "RequestMetrics",
    "expose",
    "service_seconds",
]

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200)
"""From a show answered out of memory to the download of a terabyte."""


Merge: TypeAlias = Literal["sum", "max", "min"]
"""
What the gauges of several processes come to together: parts of a whole are added up; of a flag or a limit that each
process has for itself, the worst or the only one stands for all.
"""


@frozen
class Exposition:
    """
    All metrics as text, ready to be sent.
    """

    content_type: str
    body: bytes = field(repr=False)


class Metrics:
    """
    The metrics of one daemon. Components make their own here, once each, when they are built.

    :param prefix: Put before every name, with an underscore: ``glance_api``.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._registry = CollectorRegistry()
        self._merges: dict[str, Merge] = {"process_start_time_seconds": "min", "process_max_fds": "min"}
        # Memory, descriptors and CPU time, read from /proc when asked.
        ProcessCollector(registry=self._registry)

    def counter(self, name: str, meaning: str, labels: Sequence[str] = ()) -> Counter:
        """
        Make a number that only grows. ``_total`` is added to its name.

        :param labels: Their values must come from small, fixed sets; never an image id or anything a client sends.
        :raises ValueError: The name is taken.
        """
        return Counter(name, meaning, labels, namespace=self._prefix, registry=self._registry)

    def gauge(self, name: str, meaning: str, labels: Sequence[str] = (), *, merge: Merge = "sum") -> Gauge:
        """
        Make a number that goes up and down.

        :param merge: What those of several processes come to together.
        :raises ValueError: The name is taken.
        """
        made = Gauge(name, meaning, labels, namespace=self._prefix, registry=self._registry)
        self._merges[f"{self._prefix}_{name}"] = merge
        return made

    def watch(self, name: str, meaning: str, read: Callable[[], float], *, merge: Merge = "sum") -> None:
        """
        Make a gauge that is read when somebody asks for the metrics.

        :param read: Must not wait.
        :param merge: What those of several processes come to together.
        :raises ValueError: The name is taken.
        """
        self.gauge(name, meaning, merge=merge).set_function(read)

    def merge(self, name: str) -> Merge:
        """
        Tell what a metric of several processes comes to, by its full name.
        """
        return self._merges.get(name, "sum")

    def histogram(self, name: str, meaning: str, buckets: Sequence[float], labels: Sequence[str] = ()) -> Histogram:
        """
        Make a distribution.

        :param buckets: Upper bounds, ascending.
        :raises ValueError: The name is taken.
        """
        return Histogram(name, meaning, labels, namespace=self._prefix, registry=self._registry, buckets=buckets)

    def collect(self) -> Iterable[Metric]:
        """
        Read all metrics.
        """
        return self._registry.collect()

    def render(self) -> Exposition:
        """
        Write all metrics down in the text format of Prometheus.
        """
        return expose(self._registry)


def service_seconds(metrics: Metrics, service: str, what: str, labels: Sequence[str] = ()) -> Histogram:
    """
    Make the distribution of how long another service takes: ``<service>_seconds``.

    :param what: What is timed, for the meaning.
    """
    return metrics.histogram(
        f"{service}_seconds", f"How long {what}, waits for a connection included.", _SECONDS, labels
    )


class _Collected(Protocol):
    def collect(self) -> Iterable[Metric]: ...


def expose(collected: _Collected) -> Exposition:
    """
    Write metrics down in the text format of Prometheus.
    """
    return Exposition(CONTENT_TYPE_LATEST, generate_latest(collected))


class RequestMetrics:
    """
    Counts finished requests: how many, how long, how many bytes. An `AccessSink`.

    Requests in progress are read from the application with `Metrics.watch`.
    """

    def __init__(self, metrics: Metrics) -> None:
        # Labels come from small sets, and finding a child costs more than counting.
        self._counts: dict[tuple[str, int, str | None], tuple[Counter, Histogram]] = {}
        labels = ("method", "status", "route")
        self._requests = metrics.counter("requests", "Finished requests, by class of status.", labels)
        self._aborted = metrics.counter("requests_aborted", "Requests whose answer did not leave whole.")
        self._seconds = metrics.histogram("request_seconds", "Time to the end of an answer.", _SECONDS, ("route",))
        self._sent = metrics.counter("sent_bytes", "Bytes of answers' bodies.")
        self._received = metrics.counter("received_bytes", "Bytes of requests' bodies.")

    def __call__(self, record: AccessRecord) -> None:
        """
        Count one finished request.
        """
        # A method is whatever the client typed; a label must be one of few.
        method = record.method if record.method in _METHODS else "other"
        kind = method, record.status // 100, record.route
        requests, seconds = self._counts.get(kind) or self._children(*kind)
        requests.inc()
        seconds.observe(record.seconds)
        self._sent.inc(record.sent_bytes)
        if record.received_bytes:
            self._received.inc(record.received_bytes)
        if not record.complete:
            self._aborted.inc()

    def _children(self, method: str, status_class: int, route: str | None) -> tuple[Counter, Histogram]:
        status = f"{status_class}xx" if status_class else "none"
        found = self._requests.labels(method, status, route or "none"), self._seconds.labels(route or "none")
        self._counts[method, status_class, route] = found
        return found
