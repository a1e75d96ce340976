"""
Ordered blocking work on a bounded pool of threads shared by everyone.

Note [Cold reads]

All transfers share a few threads, and each reader of cold data keeps one of them waiting for a disk. A hundred such
readers, or eight on a disk that hangs, would keep everything else out of the pool: what uploads hash and write, the
hits that are counted, the index. So jobs that read image data from a disk (`ILane.read`) get half of the threads at
most, however many there are, and wait for each other in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Any, Final, ParamSpec, Protocol, TypeVar, cast
from weakref import WeakSet

from twisted.internet.defer import Deferred, fail
from twisted.internet.defer import TimeoutError as DeadlinePassed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from glance_tx.streaming.arenas import bound_arenas
from glance_tx.streaming.errors import LaneStopped
from glance_tx.streaming.interfaces import ILane

__all__ = ["DRAIN_SECONDS", "BodyThreads", "Lane", "Lanes"]

DRAIN_SECONDS: Final = 30.0
"""How long the end of a daemon waits for jobs under way. An fsync on a busy disk takes seconds."""

_NAMED: Final = 8

P = ParamSpec("P")
T = TypeVar("T")


class BodyThreads(ThreadPool):
    """
    A pool whose threads do not keep the process from ending: one that hangs at a disk is left behind.
    """

    # As a plain attribute a partial is to become a method.
    threadFactory = staticmethod(partial(Thread, daemon=True))  # type: ignore[assignment]


class _Reactor(Protocol):
    def callFromThread(self, call: Callable[..., object], *args: object, **kw: object) -> None: ...

    def callLater(self, delay: float, call: Callable[..., object], *args: object, **kw: object) -> IDelayedCall: ...

    def seconds(self) -> float: ...


class _Threads(Protocol):
    """
    What a lane asks of a pool.
    """

    @property
    def joined(self) -> bool: ...

    def callInThreadWithCallback(
        self, on_result: Callable[[bool, Any], object] | None, call: Callable[..., Any], /
    ) -> object: ...


class _Share:
    """
    A pool of which so many threads may be taken. Whoever comes later waits his turn.

    :param threads: How many.
    """

    def __init__(self, reactor: _Reactor, pool: _Threads, threads: int) -> None:
        self._reactor = reactor
        self._pool = pool
        self._left = threads
        self._waiting: deque[tuple[Callable[[bool, Any], object], Callable[[], object]]] = deque()

    @property
    def joined(self) -> bool:
        """
        Whether the pool has been stopped.
        """
        return self._pool.joined

    def callInThreadWithCallback(
        self, on_result: Callable[[bool, Any], object] | None, call: Callable[[], Any], /
    ) -> None:
        """
        Do the same as the pool, now or later.
        """
        assert on_result is not None  # noqa: S101  # lanes always give one
        self._waiting.append((on_result, call))
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._pool.joined:
            on_result, _ = self._waiting.popleft()
            on_result(False, Failure(LaneStopped("cold reads")))  # noqa: FBT003  (as Twisted's pool calls it)
        while self._waiting and self._left:
            self._left -= 1
            on_result, call = self._waiting.popleft()
            self._pool.callInThreadWithCallback(self._and_next(on_result), call)

    def _and_next(self, on_result: Callable[[bool, Any], object]) -> Callable[[bool, object], None]:
        def in_thread(succeeded: bool, result: object) -> None:
            self._reactor.callFromThread(self._ended)
            on_result(succeeded, result)

        return in_thread

    def _ended(self) -> None:
        self._left += 1
        self._admit()


class _Job:
    """
    One call on its way to a thread and back.

    :param threads: Where it is to be done.
    """

    def __init__(self, threads: _Threads, call: Callable[[], object]) -> None:
        self.threads = threads
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
    :param cold: Those threads of the pool that cold reads may take; ``None`` for all of them.
    """

    def __init__(self, reactor: _Reactor, pool: ThreadPool, name: str, cold: _Threads | None = None) -> None:
        self._reactor = reactor
        self._pool = pool
        self._cold = pool if cold is None else cold
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
        return self._run(self._pool, lambda: job(*args, **kwargs))

    def read(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """
        Queue a job that waits for a disk (see `ILane` and Note [Cold reads]).

        :raises LaneStopped: (by the Deferred) The pool has been stopped; the job was not begun.
        """
        return self._run(self._cold, lambda: job(*args, **kwargs))

    def _run(self, threads: _Threads, call: Callable[[], T]) -> Deferred[T]:
        if self._pool.joined:
            return fail(LaneStopped(self._name))
        queued = _Job(threads, call)
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

    @property
    def jobs(self) -> int:
        """
        How many jobs of this lane are not done yet.
        """
        return len(self._queue) + (self._running is not None)

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
            job.threads.callInThreadWithCallback(self._hand_back(job), job.run)

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

    :param reactor: Where results are delivered, and what measures time.
    :param pool: Its size bounds how many jobs run at once, over all lanes.
    """

    _log = Logger()

    def __init__(self, reactor: _Reactor, pool: ThreadPool) -> None:
        self._reactor = reactor
        self._clock = cast(IReactorTime, reactor)
        self._pool = pool
        # See Note [Cold reads].
        self._cold = _Share(reactor, pool, max(1, pool.max // 2))
        # A lane with work is kept alive by the pool and the reactor; one without need not be known.
        self._lanes: WeakSet[Lane] = WeakSet()

    @property
    def running(self) -> int:
        """
        How many jobs threads are at.
        """
        return len(self._pool.working)

    @property
    def waiting(self) -> int:
        """
        How many jobs wait: for a thread, or for an earlier job of their lane.
        """
        # A thread that just finished a job counts as working until the reactor hears of it, and the other way round.
        return max(0, sum(lane.jobs for lane in self._lanes) - self.running)

    def lane(self, name: str) -> Lane:
        """
        Make a new lane. It needs no closing.

        :param name: What it is for; need not be unique.
        """
        lane = Lane(self._reactor, self._pool, name, self._cold)
        self._lanes.add(lane)
        return lane

    def run(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """
        Do one job in no particular order to any other.
        """
        return self.lane(getattr(job, "__name__", "job")).run(job, *args, **kwargs)

    async def start(self) -> None:
        """
        Start the threads.
        """
        bound_arenas()
        self._pool.start()

    async def drain(self, seconds: float = DRAIN_SECONDS) -> bool:
        """
        Wait until every lane is idle; to be awaited before the pool is stopped.

        :param seconds: Longest wait: nothing ends a job that hangs at a disk.
        :return: Whether all of them are. Those that are not are logged.
        """
        ends_at = self._clock.seconds() + seconds
        while busy := [lane for lane in self._lanes if not lane.idle_now]:
            try:
                await busy[0].idle().addTimeout(max(0, ends_at - self._clock.seconds()), self._clock)
            except DeadlinePassed:
                self._log.warn(
                    "{count} lanes were still at work after {seconds:g} s: {busy}",
                    count=len(busy),
                    seconds=seconds,
                    busy=", ".join(map(repr, busy[:_NAMED])),
                )
                return False
        return True

    async def stop(self, seconds: float = DRAIN_SECONDS) -> None:
        """
        Wait for all jobs, as `drain` does, and end the threads.

        Where some job does not come to its end, the threads are left as they are: waiting for them would hold the
        reactor for ever (see `BodyThreads`).
        """
        if await self.drain(seconds):
            self._pool.stop()
