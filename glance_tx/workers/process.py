"""
One worker, as its parent sees it.
"""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from enum import Enum, auto
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

import glance_tx
from glance_tx.settings import Settings
from glance_tx.web.server import Inherited
from glance_tx.workers.errors import NoWorker
from glance_tx.workers.messages import FIRST_SOCKET, ORDERS, REPORTS, Frames, Handover, pack, pack_handover, unpack
from glance_tx.workers.sockets import Sockets
from glance_tx.workers.visits import Doorway

__all__ = ["IWorkerEvents", "Launcher", "State", "Worker"]

_log = Logger()

_ABORT_SECONDS: Final = 5.0
"""How long a worker that is aborted may take to end: it only writes a few lines. One that is stopped never does."""


class State(Enum):
    """
    How far a worker is.
    """

    STARTING = auto()
    READY = auto()
    DRAINING = auto()
    ENDED = auto()


class IWorkerEvents(Protocol):
    """
    Who wants to know of a worker.
    """

    def worker_ready(self, worker: Worker) -> None:
        """
        It serves.
        """

    def worker_reported(self, worker: Worker, metrics: Any) -> None:
        """
        It said what it counted so far.
        """

    def worker_told(self, worker: Worker, message: Any) -> None:
        """
        It has something to say to its siblings.
        """

    def worker_ended(self, worker: Worker) -> None:
        """
        Its process is gone.
        """


class Worker(ProcessProtocol):
    """
    A process that serves for its parent.

    :param slot: Its place among its siblings, counted from 1.
    :param handover: The first message to it.
    :param clock: Tells when it was ready.
    :param doorway: Leads to it; ``None`` where it has no visitors.
    """

    transport: Any

    def __init__(
        self,
        slot: int,
        handover: bytes,
        events: IWorkerEvents,
        clock: IReactorTime,
        doorway: Doorway | None = None,
    ) -> None:
        self.slot = slot
        self.ready_at: float | None = None
        """In the clock's seconds."""
        self.heard_at = clock.seconds()
        """When it last said anything, in the clock's seconds."""
        self.state = State.STARTING
        self.pid = 0
        self.how = ""
        """How it ended, in words."""
        self.settled: Deferred[bool] = Deferred()
        """Fires when the worker is ready (``True``), or ended before it was."""
        self.ended: Deferred[None] = Deferred()
        self._handover = handover
        self._events = events
        self._clock = clock
        self._doorway = doorway
        self._frames = Frames()
        self._killing: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """
        Tell it what to do.
        """
        self.pid = self.transport.pid
        self.transport.writeToChild(ORDERS, self._handover)

    def childDataReceived(self, childFD: int, data: bytes) -> None:  # noqa: N803  # Twisted's name
        """
        Hear what it says.
        """
        try:
            for frame in self._frames.feed(data):
                self._said(unpack(frame))
        except ValueError as error:
            _log.error("worker {slot} cannot be understood: {error}", slot=self.slot, error=str(error))
            self.kill()

    def _said(self, message: dict[str, Any]) -> None:
        self.heard_at = self._clock.seconds()
        if "metrics" in message:
            self._events.worker_reported(self, message["metrics"])
        if "tell" in message:
            self._events.worker_told(self, message["tell"])
        if "failed" in message:
            _log.critical("worker {slot} cannot start: {reason}", slot=self.slot, reason=message["failed"])
        if "ready" in message and self.state is State.STARTING:
            self.state = State.READY
            self.ready_at = self._clock.seconds()
            self._events.worker_ready(self)
            self.settled.callback(True)  # noqa: FBT003  # what it fires with

    def processEnded(self, reason: Failure) -> None:
        """
        Note the end, and how it came.
        """
        self.how = _how(reason)
        self.state = State.ENDED
        if self._doorway is not None:
            self._doorway.close()
        if self._killing is not None and self._killing.active():
            self._killing.cancel()
        self._events.worker_ended(self)
        if not self.settled.called:
            self.settled.callback(False)  # noqa: FBT003
        self.ended.callback(None)

    def order(self, name: str) -> None:
        """
        Have it do something. It does nothing where it is on its way out.
        """
        if self.state in {State.STARTING, State.READY}:
            self.transport.writeToChild(ORDERS, pack({"order": name}))

    def hear(self, message: Any) -> None:
        """
        Pass on what a sibling says. One that finishes what it is at hears it, too, for as long as it listens.
        """
        if self.state is not State.ENDED:
            # Its pipe is gone before it is itself.
            with suppress(KeyError):
                self.transport.writeToChild(ORDERS, pack({"told": message}))

    def visit(self) -> socket.socket:
        """
        Connect to it. See Note [Visits].

        :raises OSError: That cannot be.
        """
        if self._doorway is None:
            raise NoWorker
        return self._doorway.visit()

    def drain(self, kill_seconds: float) -> None:
        """
        Have it finish what it is at, and end. Harmless when repeated.

        :param kill_seconds: How long that may take at most.
        """
        if self.state in {State.STARTING, State.READY}:
            self.state = State.DRAINING
            self._killing = self._clock.callLater(kill_seconds, self._overdue, kill_seconds)
            self._signal("TERM")

    def abort(self, silent_seconds: float) -> None:
        """
        End it, by force in the end, after it wrote down what its threads are at: it does not answer any more.
        """
        _log.error(
            "worker {slot} (process {pid}) was not heard of for {seconds:.0f} s and is aborted",
            slot=self.slot,
            pid=self.pid,
            seconds=silent_seconds,
        )
        self.state = State.DRAINING
        self._killing = self._clock.callLater(_ABORT_SECONDS, self.kill)
        self._signal(signal.SIGABRT)

    def kill(self) -> None:
        """
        End it at once.
        """
        self._signal("KILL")

    def _overdue(self, seconds: float) -> None:
        _log.error(
            "worker {slot} (process {pid}) did not end within {seconds} s and is killed",
            slot=self.slot,
            pid=self.pid,
            seconds=seconds,
        )
        self.kill()

    def _signal(self, name: str | int) -> None:
        # Where it ended already, that is about to be noted.
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess(name)


def _how(reason: Failure) -> str:
    if reason.check(ProcessDone):
        return "ended"
    end = reason.value
    if not isinstance(end, ProcessTerminated):
        return "was lost"
    return f"was killed by signal {end.signal}" if end.signal else f"ended with status {end.exitCode}"


class Launcher:
    """
    Starts workers: the same interpreter, a module of ours, the descriptors they need and no others.

    :param module: Has ``make_worker``; see `glance_tx.workers.runner`.
    :param kept: Further descriptors that each worker is to keep open, whatever they are.
    :param visited: Whether the parent connects to workers. See Note [Visits].
    """

    def __init__(
        self, reactor: Any, module: str, sockets: Sockets, kept: Sequence[int] = (), *, visited: bool = False
    ) -> None:
        self._reactor = reactor
        self._arguments: Final = [sys.executable, "-m", "glance_tx.workers.runner", module, glance_tx.__version__]
        self._sockets = sockets
        self._kept = tuple(kept)
        self._visited = visited

    def launch(self, slot: int, count: int, settings: Settings, events: IWorkerEvents) -> Worker:
        """
        Start one.

        :param slot: Its place among ``count``.
        """
        share = dict(enumerate(self._sockets.share(slot, count), FIRST_SOCKET))
        inherited = tuple(Inherited(number, int(opened.family)) for number, opened in share.items())
        doorway = Doorway() if self._visited else None
        further = [*self._kept, *([] if doorway is None else [doorway.theirs.fileno()])]
        visitors = None if doorway is None else FIRST_SOCKET + len(share) + len(self._kept)
        handover = pack_handover(Handover(slot, settings, inherited, visitors))
        worker = Worker(slot, handover, events, self._reactor, doorway)
        self._reactor.spawnProcess(
            worker,
            sys.executable,
            self._arguments,
            env=None,
            childFDs={
                0: 0,
                1: 1,
                2: 2,
                ORDERS: "w",
                REPORTS: "r",
                **{number: opened.fileno() for number, opened in share.items()},
                **dict(enumerate(further, FIRST_SOCKET + len(share))),
            },
        )
        if doorway is not None:
            doorway.theirs.close()
        return worker
