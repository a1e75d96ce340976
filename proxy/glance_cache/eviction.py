"""
What goes first when room is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from zope.interface import implementer

from glance_cache.interfaces import IEvictionPolicy

__all__ = ["LeastRecentlyUsed", "choose_victims"]

T = TypeVar("T")


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
