"""
Questions that many ask at once, and that are asked once.
"""

from __future__ import annotations

from collections.abc import Coroutine, Hashable
from typing import Any, Generic, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

__all__ = ["Flights"]

_Key = TypeVar("_Key", bound=Hashable)
_Answer = TypeVar("_Answer")


@define
class _Flight(Generic[_Answer]):
    asking: Deferred[_Answer]
    waiting: list[Deferred[_Answer]] = field(factory=list)


class Flights(Generic[_Key, _Answer]):
    """
    Work in progress, one piece for each key. Whoever waits for it may leave without taking it from the others; it
    goes on to its end even when all have left.
    """

    def __init__(self) -> None:
        self._flights: dict[_Key, _Flight[_Answer]] = {}

    def join(self, key: _Key) -> Deferred[_Answer] | None:
        """
        Wait for the work under a key.

        :return: ``None`` where there is none.
        """
        flight = self._flights.get(key)
        if flight is None:
            return None
        waiter: Deferred[_Answer] = Deferred(lambda left: _leave(flight, left))
        flight.waiting.append(waiter)
        return waiter

    def begin(self, key: _Key, work: Coroutine[Any, Any, _Answer]) -> Deferred[_Answer]:
        """
        Begin work under a key that has none, and wait for it.
        """
        flight: _Flight[_Answer] = _Flight(Deferred())
        self._flights[key] = flight
        waiter = self.join(key)
        assert waiter is not None  # noqa: S101  # it was put there above
        # Last: work that needs no waiting is done by the time this returns.
        flight.asking = Deferred.fromCoroutine(work)
        flight.asking.addBoth(self._land, key, flight)
        return waiter

    def stop(self) -> None:
        """
        Cancel all work; whoever waits for it is cancelled.
        """
        for flight in tuple(self._flights.values()):
            flight.asking.cancel()

    def _land(self, answer: _Answer | Failure, key: _Key, flight: _Flight[_Answer]) -> None:
        del self._flights[key]
        while flight.waiting:
            waiter = flight.waiting.pop(0)
            if isinstance(answer, Failure):
                waiter.errback(Failure(answer.value))
            else:
                waiter.callback(answer)


def _leave(flight: _Flight[_Answer], waiter: Deferred[_Answer]) -> None:
    if waiter in flight.waiting:
        flight.waiting.remove(waiter)
