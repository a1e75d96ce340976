"""
What this process has served since it started.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Final

from attrs import frozen

from glance_cache.routes import IHitCounter

__all__ = ["Tally"]

_SAMPLES: Final = 61


@frozen
class _Sample:
    at: float
    answers: int
    hits: int
    hit_bytes: int


class Tally:
    """
    Adds up data answers and hits on their way to where they are counted for good.

    :param hits: Counts hits for good.
    :param count: Told of each data answer, by the value of its ``X-Cache``.
    """

    def __init__(self, hits: IHitCounter, count: Callable[[str], object]) -> None:
        self._hits = hits
        self._count = count
        self.answers: Counter[str] = Counter()
        self.hits = 0
        self.hit_bytes = 0
        self._samples: deque[_Sample] = deque(maxlen=_SAMPLES)

    def record(self, image_id: str, bytes_sent: int, project: str | None = None) -> None:
        """
        See `IHitCounter.record`.
        """
        self.hits += 1
        self.hit_bytes += bytes_sent
        self._hits.record(image_id, bytes_sent, project)

    def count(self, state: str) -> None:
        """
        Take note of a data answer.
        """
        self.answers[str(state)] += 1
        self._count(state)

    def sample(self, now: float) -> None:
        """
        Take note of how things are; to be done every second.
        """
        self._samples.append(_Sample(now, self.answers.total(), self.hits, self.hit_bytes))

    def rates(self) -> Mapping[str, float]:
        """
        Tell how much there was a second, over the last minute.
        """
        if not self._samples:
            return {"seconds": 0.0, "answers": 0.0, "hits": 0.0, "hit_bytes": 0.0}
        first, last = self._samples[0], self._samples[-1]
        seconds = last.at - first.at
        part = 1 / seconds if seconds > 0 else 0.0
        return {
            "seconds": round(seconds, 1),
            "answers": round((last.answers - first.answers) * part, 3),
            "hits": round((last.hits - first.hits) * part, 3),
            "hit_bytes": round((last.hit_bytes - first.hit_bytes) * part, 1),
        }
