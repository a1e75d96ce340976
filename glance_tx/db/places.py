"""
A fixed number of places, and an orderly queue before them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from glance_tx.domain.errors import CatalogUnavailable

__all__ = ["Places"]

_Place = TypeVar("_Place")


@frozen(eq=False)
class _Waiter(Generic[_Place]):
    writes: bool
    admitted: Deferred[_Place]


class Places(Generic[_Place]):
    """
    Hands places out in the order of asking, and takes them back.

    :param clock: Measures how long a caller waits.
    :param places: What there is to hand out.
    :param writers: How many places may be in writers' hands at once. A reader overtakes writers that wait for that.
    :param wait_seconds: Longest wait for a place.
    """

    def __init__(self, clock: IReactorTime, places: Iterable[_Place], writers: int, wait_seconds: float) -> None:
        self._clock = clock
        self._free = deque(places)
        self._writers_left = writers
        self._wait_seconds = wait_seconds
        self._waiting: deque[_Waiter[_Place]] = deque()
        self._closed = False

    async def take(self, *, writes: bool) -> _Place:
        """
        Wait for a place. It has to be given back, with the same ``writes``.

        :raises CatalogUnavailable: None came free in time, or they were closed.
        """
        if self._closed:
            raise _closed()
        waiter = _Waiter[_Place](writes, Deferred(self._forget))
        self._waiting.append(waiter)
        self._admit()
        if waiter.admitted.called:
            return await waiter.admitted
        overdue = self._clock.callLater(self._wait_seconds, self._give_up, waiter)
        try:
            return await waiter.admitted
        finally:
            if overdue.active():
                overdue.cancel()

    def give_back(self, place: _Place, *, writes: bool) -> None:
        """
        Return a place; the next in the queue has it at once.
        """
        if writes:
            self._writers_left += 1
        # The one used last is handed out first: the others may rest until they are needed.
        self._free.append(place)
        self._admit()

    def close(self) -> None:
        """
        Hand out no more places, and send away all who wait for one.
        """
        self._closed = True
        waiting, self._waiting = self._waiting, deque()
        for waiter in waiting:
            waiter.admitted.errback(_closed())

    def _admit(self) -> None:
        while self._free:
            waiter = next((each for each in self._waiting if self._writers_left or not each.writes), None)
            if waiter is None:
                return
            self._waiting.remove(waiter)
            if waiter.writes:
                self._writers_left -= 1
            waiter.admitted.callback(self._free.pop())

    def _give_up(self, waiter: _Waiter[_Place]) -> None:
        self._waiting.remove(waiter)
        reason = f"all its connections were busy for {self._wait_seconds:g} seconds"
        waiter.admitted.errback(CatalogUnavailable(reason))

    def _forget(self, admitted: Deferred[_Place]) -> None:
        # The caller was cancelled while it waited.
        self._waiting = deque(waiter for waiter in self._waiting if waiter.admitted is not admitted)


def _closed() -> CatalogUnavailable:
    return CatalogUnavailable("it is shutting down")
