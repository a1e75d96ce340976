"""
One question to the upstream, asked for everybody who waits for its answer.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from glance_cache.grant import Grant, Marks
from glance_cache.interfaces import ImageFacts

__all__ = ["Probe"]


class Probe:
    """
    One question to the upstream, and everybody who waits for its answer.

    :ivar marks: As they were when the upstream was asked.
    """

    def __init__(self, marks: Marks, asked_at: float, asking: Deferred[ImageFacts | None]) -> None:
        self.marks = marks
        self.asked_at = asked_at
        self._asking = asking
        self._answer: list[ImageFacts | Failure | None] = []
        self._waiting: list[Deferred[ImageFacts | None]] = []

    def grant(self, facts: ImageFacts | None, ttl_seconds: float) -> Grant:
        """
        Make a grant of the answer.
        """
        return Grant(facts, self.asked_at + ttl_seconds, self.marks)

    def wait(self) -> Deferred[ImageFacts | None]:
        """
        Wait for the answer; cancelling that concerns nobody else.
        """
        waiter: Deferred[ImageFacts | None] = Deferred(self._forget)
        self._waiting.append(waiter)
        self._pass_on()
        return waiter

    def answer(self, answer: ImageFacts | Failure | None) -> None:
        """
        Take the answer, or the failure, for everybody.
        """
        self._answer = [answer]
        self._pass_on()

    def cancel(self) -> None:
        """
        Ask no more.
        """
        self._asking.cancel()

    def _pass_on(self) -> None:
        for answer in self._answer:
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                if waiter.called:  # cancelled by one before it
                    continue
                if isinstance(answer, Failure):
                    waiter.errback(Failure(answer.value))
                else:
                    waiter.callback(answer)

    def _forget(self, waiter: Deferred[ImageFacts | None]) -> None:
        if waiter in self._waiting:
            self._waiting.remove(waiter)
