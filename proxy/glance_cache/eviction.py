"""
What goes first when room is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeVar

from zope.interface import implementer

from glance_cache.interfaces import IEvictionPolicy
from glance_cache.sketch import MOST_USES, FrequencySketch

__all__ = ["LeastFrequentlyUsed", "LeastRecentlyUsed", "choose_victims"]

T = TypeVar("T")

_SKETCH_WIDTH: Final = 16 * 1024
"""With four bytes for each: 64 KiB, and hardly a name that shares all its counters among 10000."""

_AGE_USES: Final = 1000
_AGE_USES_PER_ENTRY: Final = 10
"""After how many uses half of them is forgotten: long enough for a common image to be told from a rare one."""


@implementer(IEvictionPolicy)
class LeastRecentlyUsed:
    """
    What was not used for longest goes first.
    """

    def __init__(self) -> None:
        # In order of use, while `_in_order`: a dict keeps the order in which keys were put into it.
        self._used_at: dict[str, float] = {}
        self._newest = float("-inf")
        self._in_order = True

    def touch(self, name: str, at: float) -> None:
        """
        Take note of a use (see `IEvictionPolicy`).
        """
        at = max(at, self._used_at.pop(name, at))
        self._used_at[name] = at
        self._in_order = self._in_order and at >= self._newest
        self._newest = max(self._newest, at)

    def used_before(self, name: str, uses: int) -> None:
        """
        See `IEvictionPolicy`. Does nothing: how often does not count here.
        """

    def used_at(self, name: str) -> float | None:
        """
        Tell when an entry was used last; ``None`` where it is not known.
        """
        return self._used_at.get(name)

    def forget(self, name: str) -> None:
        """
        Drop what is known of an entry (see `IEvictionPolicy`).
        """
        self._used_at.pop(name, None)

    def candidates(self) -> Sequence[str]:
        """
        List every entry known, the one to go first at the front (see `IEvictionPolicy`).
        """
        if not self._in_order:
            self._used_at = dict(sorted(self._used_at.items(), key=lambda item: item[1]))
            self._in_order = True
        return list(self._used_at)


@implementer(IEvictionPolicy)
class LeastFrequentlyUsed:
    """
    What was used least often goes first, and among those what was not used for longest.

    Uses are counted past the end of an entry, so that an image which is asked for again and again earns its place
    although it had to go; and all counts are halved from time to time, so that what was common once makes way. An
    image that was used once is the next to go: however many of them come, they take each other's room and leave what
    is used more often alone.
    """

    def __init__(self) -> None:
        self._sketch = FrequencySketch(_SKETCH_WIDTH)
        self._classes = [LeastRecentlyUsed() for _ in range(MOST_USES + 1)]
        self._class_of: dict[str, int] = {}
        self._uses = 0

    def touch(self, name: str, at: float) -> None:
        """
        Count a use (see `IEvictionPolicy`).
        """
        known_at = self._used_at(name)
        if known_at is None or at > known_at:
            self._count(name, at, 1)

    def used_before(self, name: str, uses: int) -> None:
        """
        Count uses from before the start (see `IEvictionPolicy`).
        """
        at = self._used_at(name)
        if at is not None and uses > 0:
            # In an unknown time, which may have been long: ten times as many are worth some more.
            self._count(name, at, uses.bit_length())

    def forget(self, name: str) -> None:
        """
        Drop an entry; how often it was used is still known (see `IEvictionPolicy`).
        """
        number = self._class_of.pop(name, None)
        if number is not None:
            self._classes[number].forget(name)

    def candidates(self) -> Iterator[str]:
        """
        Go through all entries known, the one to go first at the front (see `IEvictionPolicy`).
        """
        for entries in self._classes:
            yield from entries.candidates()

    def _used_at(self, name: str) -> float | None:
        number = self._class_of.get(name)
        return None if number is None else self._classes[number].used_at(name)

    def _count(self, name: str, at: float, uses: int) -> None:
        self._put(name, at, self._sketch.add(name, uses))
        self._uses += uses
        if self._uses >= max(_AGE_USES, _AGE_USES_PER_ENTRY * len(self._class_of)):
            self._age()

    def _put(self, name: str, at: float, number: int) -> None:
        self.forget(name)
        self._class_of[name] = number
        self._classes[number].touch(name, at)

    def _age(self) -> None:
        self._uses = 0
        self._sketch.halve()
        for number, entries in enumerate(self._classes):
            for name in entries.candidates():
                self._put(name, entries.used_at(name) or 0.0, number // 2)


def choose_victims(evictable: Iterable[tuple[T, int]], needed_bytes: int) -> Sequence[T]:
    """
    Choose what to evict: no more than needed, and all of it where even that is not enough.

    :param evictable: What may go and how many bytes that frees, the one to go first at the front.
    """
    victims: list[T] = []
    candidates = iter(evictable)
    # No further than needed: there may be ten thousand more.
    while needed_bytes > 0 and (candidate := next(candidates, None)) is not None:
        victim, size_bytes = candidate
        victims.append(victim)
        needed_bytes -= size_bytes
    return victims
