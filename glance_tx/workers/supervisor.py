"""
Keeps workers running: starts those that died anew, replaces all of them for a new configuration, ends them in peace.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

from attrs import define, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from glance_tx.settings import Settings
from glance_tx.telemetry.metrics import Metrics
from glance_tx.telemetry.totals import Totals
from glance_tx.workers.errors import NoWorker, WorkerFailed
from glance_tx.workers.messages import REOPEN_LOG, SIBLING_DIED, WORKER_ENDED
from glance_tx.workers.process import IWorkerEvents, State, Worker

__all__ = ["KILL_SECONDS", "Plan", "Supervisor"]

_log = Logger()

KILL_SECONDS: Final = 120.0
"""How long a worker may take to end beyond the time for transfers: its parts may each wait for a disk that hangs."""

_READY_SECONDS: Final = 120.0
"""How long workers may take to get ready, before they are given up."""

_QUICK_SECONDS: Final = 10.0
"""A worker that served no longer may be about to die again."""

_LONGEST_PAUSE: Final = 30.0


@frozen
class Plan:
    """
    What is to run.

    :param settings: The configuration of the workers.
    :param count: How many of them.
    :param drain_seconds: How long transfers may take when one is told to end.
    """

    settings: Settings
    count: int
    drain_seconds: float


class Launch(Protocol):
    """
    Starts a worker in a slot.
    """

    def __call__(self, slot: int, count: int, settings: Settings, events: IWorkerEvents) -> Worker: ...


@define(eq=False)
class _Slot:
    worker: Worker
    quick_deaths: int = 0
    restarting: IDelayedCall | None = None


class Supervisor:
    """
    Workers in their slots.

    :param clock: Times restarts.
    :param launch: See `glance_tx.workers.process.Launcher.launch`.
    :param refuse: Lets go of the listening sockets: called once, at the end.
    :param metrics: Where it counts.
    """

    def __init__(self, clock: Any, launch: Launch, refuse: Callable[[], object], metrics: Metrics, plan: Plan) -> None:
        self.totals = Totals(metrics)
        self._clock = clock
        self._launch_process = launch
        self._refuse = refuse
        self._plan = plan
        self._slots: dict[int, _Slot] = {}
        self._leaving: set[Worker] = set()
        """Those that nobody waits for to serve: on their way out, or not ready yet in a slot that another one has."""
        self._started = False
        self._stopping = False
        self._restarts = metrics.counter("worker_restarts", "Workers started anew because they had died.")
        metrics.watch("workers_ready", "Workers that serve.", lambda: self.ready)
        metrics.watch("workers_leaving", "Workers that finish what they are at, or get ready.", self._count_leaving)

    @property
    def plan(self) -> Plan:
        """
        What runs.
        """
        return self._plan

    @property
    def workers(self) -> Sequence[Worker]:
        """
        Those that have a slot, in whatever state they are.
        """
        return [slot.worker for slot in self._slots.values()]

    @property
    def ready(self) -> int:
        """
        How many workers serve.
        """
        return sum(worker.state is State.READY for worker in self.workers)

    async def start(self) -> None:
        """
        Start all workers, and wait until they serve.

        :raises WorkerFailed: One of them ended; the others have, too.
        """
        for number in range(1, self._plan.count + 1):
            self._slots[number] = _Slot(self._launch(number, self._plan))
        try:
            await self._all_ready(self.workers)
        except (WorkerFailed, CancelledError):
            await self.stop()
            raise
        self._started = True

    async def stop(self) -> None:
        """
        Have all workers finish what they are at, and wait for their end. New connections are refused at once.
        """
        self._stopping = True
        self._refuse()
        for slot in self._slots.values():
            _cancel(slot.restarting)
            self._dismiss(slot.worker, self._plan)
        for worker in list(self._leaving):
            await _shielded(worker.ended)

    async def replace(self, plan: Plan) -> None:
        """
        Start workers by another plan, wait until they serve, and only then have the others end.

        :raises WorkerFailed: One of the new ones ended. All is as it was before.
        """
        newcomers: dict[int, Worker] = {}
        try:
            for number in range(1, plan.count + 1):
                newcomers[number] = self._launch(number, plan)
                self._leaving.add(newcomers[number])
            await self._all_ready(list(newcomers.values()))
        except (WorkerFailed, CancelledError):
            for worker in newcomers.values():
                self._dismiss(worker, plan)
            raise
        former, former_plan, self._plan = self._slots, self._plan, plan
        self._slots = {number: _Slot(worker) for number, worker in newcomers.items()}
        self._leaving.difference_update(newcomers.values())
        for slot in former.values():
            _cancel(slot.restarting)
            self._dismiss(slot.worker, former_plan)

    def visit(self) -> socket.socket:
        """
        Connect to a worker that serves: the first of them, for as long as it does.

        :raises OSError: There is none, or it takes nobody in.
        """
        for _, slot in sorted(self._slots.items()):
            if slot.worker.state is State.READY:
                return slot.worker.visit()
        raise NoWorker

    def reopen_logs(self) -> None:
        """
        Have all workers go on in the log file that now has the name.
        """
        for worker in (*self.workers, *self._leaving):
            worker.order(REOPEN_LOG)

    # `IWorkerEvents`

    def worker_ready(self, worker: Worker) -> None:
        """
        See `IWorkerEvents`.
        """
        _log.info("worker {slot} serves, as process {pid}", slot=worker.slot, pid=worker.pid)

    def worker_reported(self, worker: Worker, metrics: Any) -> None:
        """
        See `IWorkerEvents`.
        """
        self.totals.report(worker, metrics)

    def worker_told(self, worker: Worker, message: Any) -> None:
        """
        See `IWorkerEvents`. All others are told, those that are on their way out or in included.
        """
        self._tell_others(worker, message)

    def _tell_others(self, worker: Worker, message: Any) -> None:
        for sibling in (*self.workers, *self._leaving):
            if sibling is not worker:
                sibling.hear(message)

    def worker_ended(self, worker: Worker) -> None:
        """
        See `IWorkerEvents`.
        """
        self.totals.end(worker)
        self._tell_others(worker, [WORKER_ENDED, worker.pid])
        if worker in self._leaving:
            self._leaving.discard(worker)
            _log.info("worker {slot} (process {pid}) {how}", slot=worker.slot, pid=worker.pid, how=worker.how)
            return
        _log.error("worker {slot} (process {pid}) {how}", slot=worker.slot, pid=worker.pid, how=worker.how)
        for sibling in self.workers:
            # What the dead one was at need not wait for its successor to be cleared up.
            sibling.order(SIBLING_DIED)
        if self._started and not self._stopping:
            self._plan_restart(worker)

    def _launch(self, number: int, plan: Plan) -> Worker:
        return self._launch_process(number, plan.count, plan.settings, self)

    def _plan_restart(self, worker: Worker) -> None:
        slot = self._slots[worker.slot]
        quick = worker.ready_at is None or self._clock.seconds() - worker.ready_at < _QUICK_SECONDS
        slot.quick_deaths = slot.quick_deaths + 1 if quick else 0
        pause = _pause(slot.quick_deaths)
        if pause:
            _log.warn(
                "worker {slot} died {count} times soon after its start; the next one waits for {pause} s",
                slot=worker.slot,
                count=slot.quick_deaths,
                pause=pause,
            )
        slot.restarting = self._clock.callLater(pause, self._restart, worker.slot, slot)

    def _restart(self, number: int, slot: _Slot) -> None:
        self._restarts.inc()
        slot.worker = self._launch(number, self._plan)

    async def _all_ready(self, workers: Sequence[Worker]) -> None:
        overdue = [self._clock.callLater(_READY_SECONDS, _give_up, worker) for worker in workers]
        try:
            for worker in workers:
                if not await _shielded(worker.settled):
                    raise WorkerFailed(worker.slot, worker.how)
        finally:
            for call in overdue:
                _cancel(call)

    def _dismiss(self, worker: Worker, plan: Plan) -> None:
        if worker.state is not State.ENDED:
            self._leaving.add(worker)
            worker.drain(plan.drain_seconds + KILL_SECONDS)

    def _count_leaving(self) -> int:
        return len(self._leaving)


def _pause(quick_deaths: int) -> float:
    # The first one may have been an accident.
    return min(2.0 ** (quick_deaths - 2), _LONGEST_PAUSE) if quick_deaths > 1 else 0.0


def _give_up(worker: Worker) -> None:
    if worker.state is State.STARTING:
        _log.error("worker {slot} is not ready after {seconds} s", slot=worker.slot, seconds=_READY_SECONDS)
        worker.kill()


def _cancel(call: IDelayedCall | None) -> None:
    if call is not None and call.active():
        call.cancel()


def _shielded(event: Deferred[Any]) -> Awaitable[Any]:
    """
    Wait for what others wait for, too: cancelling the wait leaves the event alone.
    """
    waiting: Deferred[Any] = Deferred()

    def happened(result: Any) -> Any:
        if not waiting.called:
            waiting.callback(result)
        return result

    event.addCallback(happened)
    return waiting
