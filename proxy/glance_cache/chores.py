"""
Work that goes on when whoever asked for it leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from glance_tx.errors import FactualError

__all__ = ["Chores"]

T = TypeVar("T")


class Chores:
    """
    Owns coroutines that must not be cut off in the middle, such as those that keep the books of a folder.
    """

    _log = Logger()

    def __init__(self) -> None:
        self._running: set[Deferred[Any]] = set()
        self._idle: list[Deferred[None]] = []

    def run(self, work: Coroutine[Any, Any, T], unwanted: Callable[[T], object] | None = None) -> Deferred[T]:
        """
        Begin a piece of work and wait for it.

        :param unwanted: Gets the result if nobody waits any more.
        :return: Its result or failure. Cancelling it stops the wait and nothing else; a failure is logged then.
        """
        waiting: Deferred[T] = Deferred(lambda _: None)
        working = Deferred.fromCoroutine(work)
        self._running.add(working)

        def succeeded(result: T) -> None:
            self._forget(working)
            if not waiting.called:
                waiting.callback(result)
            elif unwanted is not None:
                unwanted(result)

        def failed(failure: Failure) -> None:
            self._forget(working)
            if not waiting.called:
                waiting.errback(failure)
            else:
                self._tell(failure)

        working.addCallbacks(succeeded, failed)
        return waiting

    def start(self, work: Coroutine[Any, Any, object]) -> None:
        """
        Begin a piece of work that nobody waits for; its failure is logged.
        """
        self.run(work).addErrback(self._tell)

    def _tell(self, failure: Failure) -> None:
        if failure.check(FactualError):
            self._log.warn("work that nobody waits for failed: {error}", error=failure.value)
        else:
            self._log.failure("work that nobody waits for failed", failure)

    def _forget(self, working: Deferred[Any]) -> None:
        self._running.discard(working)
        if not self._running:
            idle, self._idle = self._idle, []
            for waiting in idle:
                waiting.callback(None)

    async def done(self) -> None:
        """
        Wait until no work is left, what is begun meanwhile included.
        """
        while self._running:
            waiting: Deferred[None] = Deferred(self._idle.remove)
            self._idle.append(waiting)
            await waiting
