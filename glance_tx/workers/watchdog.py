"""
Noticing workers that live and do nothing any more.

Note [Silent workers]

A worker reports once a second, from its reactor. One whose reactor is held, by a call that does not return or a lock
that nobody gives back, falls silent, while the kernel goes on filling the queue of its socket: its share of the clients
waits for ever. So a worker that was silent for too long is told to abort, which has it write down what each of its
threads is at, and is killed if even that does not end it. Its successor takes over the socket and whoever waits there.

Silence counts only while the parent itself listens. A machine that was suspended, or a parent that got no processor,
finds all workers silent, and their reports waiting to be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from twisted.internet.task import LoopingCall

from glance_tx.telemetry.metrics import Metrics
from glance_tx.workers.process import State, Worker

__all__ = ["Watchdog"]

_LOOK_SECONDS: Final = 1.0
_LATE_SECONDS: Final = 2.0
"""A look that comes later than this says nothing about workers."""


class Watchdog:
    """
    Ends workers that fell silent. An `IPart`. See Note [Silent workers].

    :param clock: Times the looks.
    :param workers: Those that should serve.
    :param limit_seconds: Silence that is too long; 0 for none.
    :param metrics: Where it counts.
    """

    def __init__(
        self,
        clock: Any,
        workers: Callable[[], Iterable[Worker]],
        limit_seconds: Callable[[], float],
        metrics: Metrics,
    ) -> None:
        self._clock = clock
        self._workers = workers
        self._limit_seconds = limit_seconds
        self._hung = metrics.counter("worker_hangs", "Workers ended because they had fallen silent.")
        self._looked_at = 0.0
        self._listening_since = 0.0
        self._loop = LoopingCall(self._look)
        self._loop.clock = clock

    async def start(self) -> None:
        """
        Begin to look.
        """
        self._looked_at = self._listening_since = self._clock.seconds()
        self._loop.start(_LOOK_SECONDS, now=False)

    async def stop(self) -> None:
        """
        Leave off.
        """
        if self._loop.running:
            self._loop.stop()

    def _look(self) -> None:
        now, limit = self._clock.seconds(), self._limit_seconds()
        if now - self._looked_at > _LOOK_SECONDS + _LATE_SECONDS:
            self._listening_since = now
        self._looked_at = now
        for worker in self._workers():
            silent = now - max(worker.heard_at, self._listening_since)
            if limit and worker.state is State.READY and silent > limit:
                self._hung.inc()
                worker.abort(silent)
