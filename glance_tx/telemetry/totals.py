"""
The metrics of several processes, added up.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from attrs import define, field

from glance_tx.telemetry.metrics import Exposition, Metric, Metrics, expose

__all__ = ["Snapshot", "Totals", "snapshot"]

Snapshot: TypeAlias = list[tuple[str, str, str, str, list[tuple[str, Mapping[str, str], float]]]]
"""
All metrics of a process as plain values: name, kind, meaning, what they come to together with those of others
(`glance_tx.telemetry.metrics.Merge`), and samples by name and labels.
"""

_GROWING: Final = frozenset({"counter", "histogram", "gaugehistogram", "summary"})

_Key = tuple[str, tuple[tuple[str, str], ...]]


def snapshot(metrics: Metrics) -> Snapshot:
    """
    Write the metrics of this process down.
    """
    return [
        (
            metric.name,
            metric.type,
            metric.documentation,
            metrics.merge(metric.name),
            [(sample.name, sample.labels, sample.value) for sample in metric.samples],
        )
        for metric in metrics.collect()
    ]


def _sum(a: float, b: float) -> float:
    return a + b


_MERGES: Final[Mapping[str, Callable[[float, float], float]]] = {"sum": _sum, "max": max, "min": min}


@define
class _Family:
    kind: str
    meaning: str
    merge: str
    samples: dict[_Key, float] = field(factory=dict)

    def take(self, samples: Iterable[tuple[str, Mapping[str, str], float]]) -> None:
        for sample_name, labels, value in samples:
            # When a counter was made is a moment, and the earliest one counts.
            combine = min if sample_name.endswith("_created") else _MERGES[self.merge]
            key = (sample_name, tuple(sorted(labels.items())))
            there = self.samples.get(key)
            self.samples[key] = value if there is None else combine(there, value)


class Totals:
    """
    Adds up what processes report. What only grows goes on growing when a process ends.

    :param own: Metrics of this process, which are part of it.
    """

    def __init__(self, own: Metrics) -> None:
        self._own = own
        self._latest: dict[Hashable, Snapshot] = {}
        self._ended: dict[str, _Family] = {}

    def report(self, source: Hashable, report: Any) -> None:
        """
        Take what a process says in place of what it said before.

        :param source: Tells it from others, those that ran earlier included.
        :param report: A `Snapshot`, also one that was JSON meanwhile.
        """
        self._latest[source] = report

    def end(self, source: Hashable) -> None:
        """
        Note that a process ended. Harmless where it never said anything.
        """
        latest = self._latest.pop(source, [])
        _add(self._ended, [family for family in latest if family[1] in _GROWING])

    def collect(self) -> Iterator[Metric]:
        """
        Read the totals.
        """
        families: dict[str, _Family] = {}
        for report in (snapshot(self._own), *self._latest.values()):
            _add(families, report)
        _add(
            families,
            [
                (
                    name,
                    family.kind,
                    family.meaning,
                    family.merge,
                    [(key[0], dict(key[1]), value) for key, value in samples],
                )
                for name, family in self._ended.items()
                if (samples := family.samples.items())
            ],
        )
        for name, family in families.items():
            metric = Metric(name, family.meaning, family.kind)
            for (sample_name, labels), value in family.samples.items():
                metric.add_sample(sample_name, dict(labels), value)
            yield metric

    def render(self) -> Exposition:
        """
        Write the totals down in the text format of Prometheus.
        """
        return expose(self)


def _add(families: dict[str, _Family], report: Snapshot) -> None:
    for name, kind, meaning, merge, samples in report:
        families.setdefault(name, _Family(kind, meaning, merge)).take(samples)
