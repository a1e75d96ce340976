"""
Ordered blocking work on a bounded pool of threads shared by everyone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import ParamSpec, TypeVar
from weakref import WeakSet

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from glance_tx.streaming.errors import LaneStopped
from glance_tx.streaming.interfaces import ILane

__all__ = ["Lane", "Lanes"]

P = ParamSpec("P")
T = TypeVar("T")


class _Job:
    """
    One call on its way to a thread and back.
    """

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        # Written in the reactor only; a thread of the pool looks at it once, as it takes the job up.
        self.dropped = False
        self.result: Deferred[object] = Deferred(self._drop)

    def _drop(self, _: Deferred[object]) -> None:
        # Deferred.cancel fires the result with CancelledError after this; what a running job returns is for nobody.
        self.dropped = True

    def run(self) -> object:
        """
        Do the work, in a thread of the pool.
        """
        return None if self.dropped else self._call()


@implementer(ILane)
class Lane:
    """
    Jobs done one after another, whichever thread of the pool each of them gets.

    A lane takes up one thread at most, and none while it has no job: any number of lanes shares the pool, in
    the order in which their jobs become due.

    :param reactor: Where results are delivered.
    :param pool: Started and stopped by its owner. A job that can no longer be run, because the pool was
        stopped, fails with `LaneStopped`.
    :param name: For whoever looks at a lane in a debugger.
    """

    def __init__(self, reactor: IReactorFromThreads, pool: ThreadPool, name: str) -> None:
        self._reactor = reactor
        self._pool = pool
        self._name = name
        self._queue: deque[_Job] = deque()
        self._running: _Job | None = None
        self._idle: list[Deferred[None]] = []

    def __repr__(self) -> str:
        return f"<Lane {self._name} running={self._running is not None} queued={len(self._queue)}>"

    def run(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """
        Queue a job behind those already given to this lane (see `ILane`).

        :raises LaneStopped: (by the Deferred) The pool has been stopped; the job was not begun.
        """
        if self._pool.joined:
            return fail(LaneStopped(self._name))
        queued = _Job(lambda: job(*args, **kwargs))
        self._queue.append(queued)
        self._next()
        return queued.result  # type: ignore[return-value]  # the job's own type, which the queue forgets

    def idle(self) -> Deferred[None]:
        """
        Wait until no job of this lane is running or queued.
        """
        waiting: Deferred[None] = Deferred(self._forget)
        self._idle.append(waiting)
        self._tell_idle()
        return waiting

    @property
    def idle_now(self) -> bool:
        """
        Whether no job of this lane is running or queued.
        """
        return self._running is None and not self._queue

    def _forget(self, waiting: Deferred[None]) -> None:
        self._idle.remove(waiting)

    def _tell_idle(self) -> None:
        while self._idle and self.idle_now:
            self._idle.pop(0).callback(None)

    def _next(self) -> None:
        while self._running is None and self._queue:
            job = self._queue.popleft()
            if job.dropped:
                continue
            if self._pool.joined:
                job.result.errback(LaneStopped(self._name))
                continue
            self._running = job
            self._pool.callInThreadWithCallback(self._hand_back(job), job.run)

    def _hand_back(self, job: _Job) -> Callable[[bool, object], None]:
        def in_thread(succeeded: bool, result: object) -> None:
            self._reactor.callFromThread(self._done, job, result)

        return in_thread

    def _done(self, job: _Job, result: object) -> None:
        # The thread is kept busy with the next job before anyone acts on this one's result.
        self._running = None
        self._next()
        if not job.dropped:
            job.result.callback(result)  # a Failure, which the pool makes of an exception, goes to the errbacks
        self._tell_idle()  # last: acting on a result may have queued more


class Lanes:
    """
    Makes lanes over one pool.

    :param reactor: Where results are delivered.
    :param pool: Its size bounds how many jobs run at once, over all lanes.
    """

    def __init__(self, reactor: IReactorFromThreads, pool: ThreadPool) -> None:
        self._reactor = reactor
        self._pool = pool
        # A lane with work is kept alive by the pool and the reactor; one without need not be known.
        self._lanes: WeakSet[Lane] = WeakSet()

    def lane(self, name: str) -> Lane:
        """
        Make a new lane. It needs no closing.

        :param name: What it is for; need not be unique.
        """
        lane = Lane(self._reactor, self._pool, name)
        self._lanes.add(lane)
        return lane

    def run(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """
        Do one job in no particular order to any other.
        """
        return self.lane(getattr(job, "__name__", "job")).run(job, *args, **kwargs)

    async def drain(self) -> None:
        """
        Wait until every lane is idle; to be awaited before the pool is stopped.
        """
        while busy := [lane for lane in self._lanes if not lane.idle_now]:
            for lane in busy:
                await lane.idle()
