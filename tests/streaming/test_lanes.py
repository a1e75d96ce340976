"""
Lanes keep order, share a pool, and survive cancellation and the end of the pool.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from glance_tx.streaming.errors import LaneStopped
from glance_tx.streaming.interfaces import ILane
from glance_tx.streaming.lanes import BodyThreads, Lane, Lanes
from tests.doubles.pools import InlinePool, SteppedPool, ThreadClock


class LaneTests(SynchronousTestCase):
    """
    One `Lane` over a pool whose threads the test drives.
    """

    def setUp(self) -> None:
        self.pool = SteppedPool()
        self.lane = Lane(ThreadClock(), self.pool, "test")
        self.done: list[str] = []

    def note(self, name: str) -> str:
        self.done.append(name)
        return name

    def test_provides_interface(self) -> None:
        """
        A lane provides `ILane`.
        """
        verifyObject(ILane, self.lane)

    def test_result(self) -> None:
        """
        A job's result arrives by the Deferred of its call.
        """
        result = self.lane.run(self.note, "a")
        self.assertNoResult(result)
        self.pool.step()
        self.assertEqual(self.successResultOf(result), "a")

    def test_exception(self) -> None:
        """
        A job's exception arrives by its Deferred, and the jobs behind it are done all the same.
        """

        def breaks() -> None:
            raise OSError(5, "broken disk")

        failing, following = self.lane.run(breaks), self.lane.run(self.note, "next")
        self.pool.run_all()
        self.failureResultOf(failing, OSError)
        self.assertEqual(self.successResultOf(following), "next")

    def test_one_at_a_time_in_order(self) -> None:
        """
        The pool gets the next job of a lane only after the one before it has ended.
        """
        for name in "abc":
            self.lane.run(self.note, name)
        self.assertEqual(self.pool.waiting, 1)
        self.pool.step()
        self.assertEqual((self.done, self.pool.waiting), (["a"], 1))
        self.pool.run_all()
        self.assertEqual(self.done, ["a", "b", "c"])

    def test_lanes_side_by_side(self) -> None:
        """
        Two lanes do not wait for each other.
        """
        other = Lane(ThreadClock(), self.pool, "other")
        self.lane.run(self.note, "a")
        other.run(self.note, "b")
        self.assertEqual(self.pool.waiting, 2)

    def test_job_given_from_a_result(self) -> None:
        """
        A job queued by the callback of another comes behind those queued before.
        """
        self.lane.run(self.note, "a").addCallback(lambda _: self.lane.run(self.note, "c"))
        self.lane.run(self.note, "b")
        self.pool.run_all()
        self.assertEqual(self.done, ["a", "b", "c"])

    def test_cancel_queued(self) -> None:
        """
        A job cancelled in the queue is never done; those around it are.
        """
        self.lane.run(self.note, "a")
        dropped = self.lane.run(self.note, "b")
        self.lane.run(self.note, "c")
        dropped.cancel()
        self.failureResultOf(dropped, CancelledError)
        self.pool.run_all()
        self.assertEqual(self.done, ["a", "c"])

    def test_cancel_handed_to_pool(self) -> None:
        """
        A job cancelled while it waits for a free thread is never done.
        """
        dropped = self.lane.run(self.note, "a")
        self.lane.run(self.note, "b")
        dropped.cancel()
        self.failureResultOf(dropped, CancelledError)
        self.pool.run_all()
        self.assertEqual(self.done, ["b"])

    def test_cancel_running(self) -> None:
        """
        A job cancelled after it began runs on, its outcome is dropped, and the next job waits for its end.
        """
        lane = self.lane
        results: list[Deferred[object]] = []

        def begins() -> None:
            results[0].cancel()
            self.done.append("ran to its end")
            self.assertEqual(self.pool.waiting, 0)
            raise ValueError("nobody hears of this")

        results.append(lane.run(begins))
        following = lane.run(self.note, "next")
        self.pool.step()
        self.failureResultOf(results[0], CancelledError)
        self.assertEqual(self.done, ["ran to its end"])
        self.pool.step()
        self.assertEqual(self.successResultOf(following), "next")

    def test_pool_stopped_before(self) -> None:
        """
        A job given after the pool was stopped fails; it does not wait for ever.
        """
        self.pool.stop()
        self.failureResultOf(self.lane.run(self.note, "a"), LaneStopped)

    def test_pool_stopped_meanwhile(self) -> None:
        """
        When the pool is stopped, the job it already has is done and those behind it fail.
        """
        running, queued = self.lane.run(self.note, "a"), self.lane.run(self.note, "b")
        self.pool.stop()
        self.assertEqual(self.successResultOf(running), "a")
        self.failureResultOf(queued, LaneStopped)
        self.assertEqual(self.done, ["a"])

    def test_pool_stopped_after_cancel(self) -> None:
        """
        A job that was cancelled in the queue is not failed again when the pool is stopped.
        """
        self.lane.run(self.note, "a")
        dropped = self.lane.run(self.note, "b")
        dropped.cancel()
        self.failureResultOf(dropped, CancelledError)
        self.pool.stop()
        self.assertEqual((self.done, self.lane.idle_now), (["a"], True))

    def test_idle(self) -> None:
        """
        A lane says when it has nothing to do.
        """
        self.successResultOf(self.lane.idle())
        self.lane.run(self.note, "a")
        self.lane.run(self.note, "b")
        idle, impatient = self.lane.idle(), self.lane.idle()
        impatient.cancel()
        self.failureResultOf(impatient, CancelledError)
        self.pool.step()
        self.assertNoResult(idle)
        self.pool.step()
        self.successResultOf(idle)

    def test_inline_pool(self) -> None:
        """
        With a pool that runs jobs at once a lane has the result at once.
        """
        lane = Lane(ThreadClock(), InlinePool(), "inline")
        self.assertEqual(self.successResultOf(lane.run(self.note, "a")), "a")


class ColdReadTests(SynchronousTestCase):
    """
    Jobs that wait for a disk, on a pool of eight threads.
    """

    def setUp(self) -> None:
        self.pool = SteppedPool()
        self.lanes = Lanes(ThreadClock(), self.pool)  # type: ignore[arg-type]
        self.done: list[object] = []

    def test_others_have_threads(self) -> None:
        """
        However many cold reads there are, half of the threads are left to other jobs.
        """
        for number in range(20):
            self.lanes.lane("cold").read(self.done.append, number)
        self.assertEqual(self.pool.waiting, 4)
        self.lanes.run(self.done.append, "hash")
        self.assertEqual(self.pool.waiting, 5)

    def test_turns(self) -> None:
        """
        Cold reads are done in the order in which they were asked for, each as soon as one before it has ended.
        """
        reads = [self.lanes.lane("cold").read(self.done.append, number) for number in range(6)]
        self.pool.step()
        self.assertEqual((self.done, self.pool.waiting), ([0], 4))
        self.pool.run_all()
        self.assertEqual(self.done, list(range(6)))
        for read in reads:
            self.successResultOf(read)

    def test_failure(self) -> None:
        """
        A cold read that fails makes room for the next one, too.
        """

        def breaks() -> None:
            raise OSError(5, "broken disk")

        for _ in range(4):
            self.failureResultOf(self.after_all(self.lanes.lane("cold").read(breaks)), OSError)
        self.successResultOf(self.after_all(self.lanes.lane("cold").read(self.done.append, "next")))

    def after_all(self, work: Deferred[None]) -> Deferred[None]:
        self.pool.run_all()
        return work

    def test_order_in_lane(self) -> None:
        """
        In its lane a cold read keeps its place among the other jobs.
        """
        lane = self.lanes.lane("entry")
        for run, name in ((lane.run, "open"), (lane.read, "read"), (lane.run, "close")):
            run(self.done.append, name)
        self.assertEqual(self.pool.waiting, 1)
        self.pool.run_all()
        self.assertEqual(self.done, ["open", "read", "close"])

    def test_pool_stopped(self) -> None:
        """
        Cold reads that did not have their turn when the pool was stopped fail.
        """
        reads = [self.lanes.lane("cold").read(self.done.append, number) for number in range(6)]
        self.pool.stop()
        for read in reads[:4]:
            self.successResultOf(read)
        for read in reads[4:]:
            self.failureResultOf(read, LaneStopped)

    def test_single_thread(self) -> None:
        """
        On a pool of one thread they are done all the same.
        """
        self.pool.max = 1
        lanes = Lanes(ThreadClock(), self.pool)  # type: ignore[arg-type]
        self.successResultOf(self.after_all(lanes.lane("cold").read(self.done.append, "alone")))


class EndTests(SynchronousTestCase):
    """
    The end of `Lanes`.
    """

    def setUp(self) -> None:
        self.pool = SteppedPool()
        self.clock = ThreadClock()
        self.lanes = Lanes(self.clock, self.pool)  # type: ignore[arg-type]

    def test_start(self) -> None:
        """
        The threads are started with the lanes.
        """
        pool = BodyThreads(0, 1)
        self.successResultOf(Deferred.fromCoroutine(Lanes(self.clock, pool).start()))
        self.addCleanup(pool.stop)
        self.assertTrue(pool.started)

    def test_stop(self) -> None:
        """
        The threads are ended once all jobs are done.
        """
        self.lanes.run(lambda: None)
        stopped = Deferred.fromCoroutine(self.lanes.stop())
        self.assertNoResult(stopped)
        self.assertFalse(self.pool.joined)
        self.pool.run_all()
        self.successResultOf(stopped)
        self.assertTrue(self.pool.joined)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_hung_job(self) -> None:
        """
        A job that does not end is waited for no longer than told, and its thread, for which one would have to wait,
        is left as it is; the log says what was under way.
        """
        warnings: list[LogEvent] = []
        globalLogPublisher.addObserver(warnings.append)
        self.addCleanup(globalLogPublisher.removeObserver, warnings.append)
        self.lanes.lane("store file").run(lambda: None)
        stopped = Deferred.fromCoroutine(self.lanes.stop(7))
        self.clock.advance(6.9)
        self.assertNoResult(stopped)
        self.clock.advance(0.1)
        self.successResultOf(stopped)
        self.assertFalse(self.pool.joined)
        (warning,) = [formatEvent(event) for event in warnings]
        self.assertIn("1 lanes were still at work after 7 s: <Lane store file running=True queued=0>", warning)

    def test_cancelled(self) -> None:
        """
        Whoever is cancelled while he waits leaves no timer behind.
        """
        self.lanes.run(lambda: None)
        draining = Deferred.fromCoroutine(self.lanes.drain())
        draining.cancel()
        self.failureResultOf(draining, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.pool.run_all()

    def test_threads_in_background(self) -> None:
        """
        The threads of `BodyThreads` do not keep a process from ending.
        """
        pool = BodyThreads(1, 1)
        pool.start()
        self.addCleanup(pool.stop)
        self.assertEqual([thread.daemon for thread in pool.threads], [True])


class LanesTests(TestCase):
    """
    `Lanes` over real threads.
    """

    def setUp(self) -> None:
        self.pool = ThreadPool(0, 2, "test")
        self.pool.start()
        self.addCleanup(self.pool.stop)
        self.lanes = Lanes(reactor, self.pool)
        self.reactor_thread = threading.get_ident()

    async def test_off_the_reactor(self) -> None:
        """
        A job runs in another thread; its result is delivered in the reactor's.
        """
        thread = await self.lanes.run(threading.get_ident)
        self.assertNotEqual(thread, self.reactor_thread)
        self.assertEqual(threading.get_ident(), self.reactor_thread)

    async def test_counted(self) -> None:
        """
        Jobs that threads are at and jobs that wait are told, whatever they wait for; done ones are forgotten.
        """
        self.assertEqual((self.lanes.running, self.lanes.waiting), (0, 0))
        go_on = threading.Event()
        first, second = self.lanes.lane("first"), self.lanes.lane("second")
        jobs = [lane.run(go_on.wait, 30) for lane in (first, first, second)]
        jobs += [self.lanes.lane("third").read(go_on.wait, 30)]
        # Two threads: the last lane waits for one, the second job of the first lane for the first job.
        self.assertEqual((self.lanes.running, self.lanes.waiting), (2, 2))
        go_on.set()
        for job in jobs:
            await job
        self.assertEqual(self.lanes.waiting, 0)

    async def test_bounded(self) -> None:
        """
        However many lanes have work, no more jobs run at once than the pool has threads.
        """
        lock, running, seen = threading.Lock(), [0], [0]
        both = threading.Barrier(2, timeout=30)

        def job(meet: Callable[[], object]) -> None:
            with lock:
                running[0] += 1
                seen[0] = max(seen[0], running[0])
            meet()
            with lock:
                running[0] -= 1

        # The first two meet, which shows that lanes do run side by side.
        jobs = [self.lanes.run(job, both.wait), self.lanes.run(job, both.wait)]
        jobs += [self.lanes.run(job, lambda: None) for _ in range(20)]
        for waiting in jobs:
            await waiting
        self.assertEqual(seen[0], 2)

    async def test_drain(self) -> None:
        """
        Draining waits for running and queued jobs of every lane, those begun meanwhile included.
        """
        done: list[str] = []
        lane = self.lanes.lane("a")
        lane.run(done.append, "first").addCallback(lambda _: self.lanes.run(done.append, "second"))
        await self.lanes.drain()
        self.assertEqual(done, ["first", "second"])
