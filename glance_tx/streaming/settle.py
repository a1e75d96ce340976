"""
Waiting for several things at once, to the end of each.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

__all__ = ["settle"]

T = TypeVar("T")


def settle(works: Iterable[Deferred[T]]) -> Deferred[list[T]]:
    """
    Wait until every one of them has ended, well or badly.

    The first failure cancels the others; so does cancelling the wait. Those that clean up first are waited for
    all the same, so nothing is at work any more when this fires.

    :return: Their results in order, or what failed first, not wrapped.
    """
    settling = _Settling(list(works))
    done: Deferred[list[tuple[bool, T]]] = DeferredList(settling.works, consumeErrors=True)
    return done.addCallback(settling.conclude)


class _Settling(Generic[T]):
    """
    Several works, and the first failure among them.
    """

    def __init__(self, works: list[Deferred[T]]) -> None:
        self._failure: Failure | None = None
        self.works = works
        for work in works:
            work.addErrback(self._failed)

    def _failed(self, failure: Failure) -> Failure:
        if self._failure is None:
            self._failure = failure
            for work in self.works:
                work.cancel()
        return failure

    def conclude(self, outcomes: list[tuple[bool, T]]) -> list[T]:
        """
        Make one result of all.
        """
        if self._failure is not None:
            self._failure.raiseException()
        return [result for _, result in outcomes]
