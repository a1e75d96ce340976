"""
What this process has served since it started.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from attrs import frozen

from glance_cache.routes import IHitCounter

__all__ = ["FROM_CACHE", "MOST_MINUTES", "ITally", "Minute", "Tally"]

FROM_CACHE: Final = ("hit", "offline")
"""What ``X-Cache`` says of answers from the cache, those to whom a permission lived on included."""

MOST_MINUTES: Final = 180
"""As far back as a curve of the node's work goes."""

_SAMPLES: Final = 61


@frozen
class _Sample:
    at: float
    answers: int
    hit_answers: int
    hits: int
    hit_bytes: int


@frozen
class Minute:
    """
    What one minute brought.

    :param at: Its beginning, in seconds since the epoch.
    :param answers: With image data, counted when they began.
    :param hits: Those of them that came from the cache.
    :param hit_bytes: Of hits that ended whole.
    """

    at: float
    answers: int = 0
    hits: int = 0
    hit_bytes: int = 0

    def plus(self, other: Minute | None) -> Minute:
        """
        Add what another process did in the same minute.
        """
        if other is None:
            return self
        return Minute(self.at, self.answers + other.answers, self.hits + other.hits, self.hit_bytes + other.hit_bytes)


class ITally(Protocol):
    """
    What was served since the start.
    """

    @property
    def answers(self) -> Counter[str]:
        """
        How many data answers there were, by the value of ``X-Cache``.
        """

    @property
    def from_cache(self) -> int:
        """
        How many of them came from the cache.
        """

    @property
    def hits(self) -> int:
        """
        How many hits ended whole.
        """

    @property
    def hit_bytes(self) -> int:
        """
        How many bytes were sent in them.
        """

    def rates(self) -> Mapping[str, float]:
        """
        Tell how much there was a second, over the last minute.
        """

    def minutes(self) -> Sequence[Minute]:
        """
        Tell what each of the last minutes brought, the one that is not over included: three hours at most, and none
        from before the start.
        """


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
        self._minutes: deque[Minute] = deque(maxlen=MOST_MINUTES)

    @property
    def from_cache(self) -> int:
        """
        See `ITally.from_cache`.
        """
        return sum(self.answers[state] for state in FROM_CACHE)

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
        sample = _Sample(now, self.answers.total(), self.from_cache, self.hits, self.hit_bytes)
        before = self._samples[-1] if self._samples else _Sample(now, 0, 0, 0, 0)
        self._samples.append(sample)
        began = now - now % 60
        # A clock that was set back goes on with the minute that there is.
        if not self._minutes or began > self._minutes[-1].at:
            self._minutes.append(Minute(began))
        minute = self._minutes[-1]
        self._minutes[-1] = Minute(
            minute.at,
            minute.answers + sample.answers - before.answers,
            minute.hits + sample.hit_answers - before.hit_answers,
            minute.hit_bytes + sample.hit_bytes - before.hit_bytes,
        )

    def minutes(self) -> Sequence[Minute]:
        """
        See `ITally.minutes`.
        """
        return tuple(self._minutes)

    def rates(self) -> Mapping[str, float]:
        """
        See `ITally.rates`.
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
