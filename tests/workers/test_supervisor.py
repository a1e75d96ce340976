"""
Tests of how workers are kept running.
"""

from __future__ import annotations

import socket
import sys

from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

import glance_tx
from glance_tx.settings import Settings
from glance_tx.telemetry.metrics import Metrics
from glance_tx.web.server import Inherited
from glance_tx.workers.errors import NoWorker, WorkerFailed
from glance_tx.workers.messages import ORDERS, REOPEN_LOG, REPORTS, SIBLING_DIED, WORKER_ENDED
from glance_tx.workers.process import Launcher
from glance_tx.workers.sockets import Sockets
from glance_tx.workers.supervisor import KILL_SECONDS, Plan, Supervisor
from tests.workers.processes import MemoryProcess, MemoryProcesses, handover_of


class SupervisorTestCase(SynchronousTestCase):
    """
    A supervisor of two workers that exist in memory.
    """

    def setUp(self) -> None:
        self.reactor = MemoryProcesses()
        self.sockets = Sockets("127.0.0.1", 0)
        self.sockets.open(2, 5)
        self.addCleanup(self.sockets.close)
        self.events: list[LogEvent] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)
        self.settings = Settings(())
        launcher = Launcher(self.reactor, "some.module", self.sockets)
        self.supervisor = Supervisor(
            self.reactor, launcher.launch, self.sockets.close, Metrics("test"), Plan(self.settings, 2, 60)
        )

    def begin(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.supervisor.start())

    def started(self) -> tuple[MemoryProcess, MemoryProcess]:
        """
        Start, with both workers ready.
        """
        starting = self.begin()
        first, second = self.reactor.all
        first.say(ready=True)
        second.say(ready=True)
        self.successResultOf(starting)
        return first, second

    def said(self, text: str) -> int:
        """
        Tell how often something was logged.
        """
        return sum(text in (formatEvent(event) or "") for event in self.events)

    def metric(self, name: str) -> float:
        found = [s.value for m in self.supervisor.totals.collect() for s in m.samples if s.name == name]
        return sum(found)


class StartTests(SupervisorTestCase):
    """
    All workers are started, or none is left.
    """

    def test_launched(self) -> None:
        """
        Each worker is the same interpreter with a module of ours, and gets its pipes, its socket and its settings.
        """
        self.begin()
        for slot, process in enumerate(self.reactor.all, 1):
            runner = [sys.executable, "-m", "glance_tx.workers.runner", "some.module", glance_tx.__version__]
            self.assertEqual(process.arguments, runner)
            (opened,) = self.sockets.share(slot, 2)
            expected = {0: 0, 1: 1, 2: 2, ORDERS: "w", REPORTS: "r", 5: opened.fileno()}
            self.assertEqual(process.descriptors, expected)
            handover = handover_of(process)
            self.assertEqual((handover.slot, handover.settings), (slot, self.settings))
            self.assertEqual(handover.sockets, (Inherited(5, socket.AF_INET),))

    def test_waits(self) -> None:
        """
        It has started when every worker serves.
        """
        starting = self.begin()
        first, second = self.reactor.all
        second.say(ready=True)
        self.assertNoResult(starting)
        self.assertEqual(self.supervisor.ready, 1)
        first.say(ready=True)
        self.successResultOf(starting)
        self.assertEqual(self.supervisor.ready, 2)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_one_fails(self) -> None:
        """
        A worker that ends before it serves is not started anew: the others are ended, and the start has failed.
        """
        starting = self.begin()
        first, second = self.reactor.all
        first.say(ready=True)
        second.say(failed="no room")
        second.end(status=1)
        self.assertNoResult(starting)
        self.assertEqual(first.signals, ["TERM"])
        first.end()
        failure = self.failureResultOf(starting, WorkerFailed)
        self.assertEqual(failure.getErrorMessage(), "worker 2 ended with status 1 before it was ready")
        self.assertEqual(self.said("worker 2 cannot start: no room"), 1)
        self.assertEqual((len(self.reactor.all), self.reactor.getDelayedCalls()), (2, []))

    def test_one_hangs(self) -> None:
        """
        A worker that does not get ready is given up after a while.
        """
        starting = self.begin()
        self.reactor.all[0].say(ready=True)
        self.reactor.advance(120)
        self.assertEqual(self.reactor.all[1].signals, ["KILL"])
        self.reactor.all[0].end()
        self.failureResultOf(starting, WorkerFailed)

    def test_stopped(self) -> None:
        """
        A start that is given up ends the workers that there are.
        """
        starting = self.begin()
        starting.addErrback(lambda _: None)
        starting.cancel()
        for process in self.reactor.all:
            self.assertEqual(process.signals, ["TERM"])
            process.end(signal=15)
        self.successResultOf(starting)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_nonsense(self) -> None:
        """
        A worker that cannot be understood is killed.
        """
        first, _ = self.started()
        first.protocol.childDataReceived(REPORTS, b"\xff" * 8)
        self.assertEqual(first.signals, ["KILL"])


class RestartTests(SupervisorTestCase):
    """
    Workers that die are started anew.
    """

    def test_at_once(self) -> None:
        """
        The first time at once, in the same slot with the same socket, and the siblings are told.
        """
        first, second = self.started()
        first.end(signal=9)
        self.reactor.advance(0)
        successor = self.reactor.all[2]
        self.assertEqual(handover_of(successor).slot, 1)
        self.assertEqual(successor.descriptors, first.descriptors)
        self.assertEqual(second.orders, [SIBLING_DIED])
        self.assertEqual(second.told, [[WORKER_ENDED, first.pid]])
        self.assertEqual(self.supervisor.ready, 1)
        successor.say(ready=True)
        self.assertEqual(self.supervisor.ready, 2)
        self.assertEqual(self.said(f"worker 1 (process {first.pid}) was killed by signal 9"), 1)
        self.assertEqual(self.metric("test_worker_restarts_total"), 1)

    def test_visited(self) -> None:
        """
        The parent connects to the first worker that serves: while that is replaced, to the next one.
        """
        first, second = self.started()
        for worker in self.supervisor.workers:
            self.patch(worker, "visit", lambda slot=worker.slot: slot)
        self.assertEqual(self.supervisor.visit(), 1)
        first.end(signal=9)
        self.assertEqual(self.supervisor.visit(), 2)
        self.reactor.advance(0)
        self.assertEqual(self.supervisor.visit(), 2)
        second.end(signal=9)
        self.assertRaises(NoWorker, self.supervisor.visit)

    def test_pauses(self) -> None:
        """
        One that dies again soon, ready or not, is waited with, longer each time up to half a minute.
        """
        process = self.started()[0]
        pauses = []
        for ready in (True, False, True, False, True, False, True, True):
            count = len(self.reactor.all)
            process.end(status=1)
            began = self.reactor.seconds()
            while len(self.reactor.all) == count:
                self.reactor.advance(0.5 if self.reactor.getDelayedCalls()[0].getTime() > began else 0)
            pauses.append(self.reactor.seconds() - began)
            process = self.reactor.all[-1]
            if ready:
                process.say(ready=True)
        self.assertEqual(pauses, [0, 1, 2, 4, 8, 16, 30, 30])

    def test_long_life(self) -> None:
        """
        One that has served for a while is started at once again.
        """
        process = self.started()[0]
        for _ in range(3):
            self.reactor.advance(10)
            process.end(status=1)
            self.reactor.advance(0)
            process = self.reactor.all[-1]
            process.say(ready=True)
        self.assertEqual(len(self.reactor.all), 5)

    def test_told_from_outside(self) -> None:
        """
        One that ended in peace though nobody here wanted it is started anew, too.
        """
        self.started()[0].end()
        self.reactor.advance(0)
        self.assertEqual(len(self.reactor.alive), 2)


class StopTests(SupervisorTestCase):
    """
    Workers are ended in peace.
    """

    def test_drains(self) -> None:
        """
        The sockets are let go of, all workers are told once, and it has stopped when the last one has.
        """
        first, second = self.started()
        stopping = Deferred.fromCoroutine(self.supervisor.stop())
        self.assertEqual(self.sockets.share(1, 1), [])
        self.assertEqual((first.signals, second.signals), (["TERM"], ["TERM"]))
        second.end()
        self.assertNoResult(stopping)
        first.end()
        self.successResultOf(stopping)
        self.assertEqual((len(self.reactor.all), self.reactor.getDelayedCalls()), (2, []))

    def test_overdue(self) -> None:
        """
        One that does not end within the time for transfers and then some is killed.
        """
        first, second = self.started()
        stopping = Deferred.fromCoroutine(self.supervisor.stop())
        first.end()
        self.reactor.advance(60 + KILL_SECONDS - 1)
        self.assertEqual(second.signals, ["TERM"])
        self.reactor.advance(1)
        self.assertEqual(second.signals, ["TERM", "KILL"])
        self.successResultOf(stopping)

    def test_restart_given_up(self) -> None:
        """
        One that waits to be started anew is not.
        """
        first, second = self.started()
        first.end()
        stopping = Deferred.fromCoroutine(self.supervisor.stop())
        second.end()
        self.successResultOf(stopping)
        self.reactor.advance(60)
        self.assertEqual(len(self.reactor.all), 2)


class ReplaceTests(SupervisorTestCase):
    """
    Workers are replaced by others.
    """

    def replace(self, count: int = 2) -> Deferred[None]:
        self.sockets.open(count, 5)
        return Deferred.fromCoroutine(self.supervisor.replace(Plan(self.settings, count, 5)))

    def test_replaced(self) -> None:
        """
        The old ones are told to end when all new ones serve, and not before; the new ones have the same sockets.
        """
        first, second = self.started()
        replacing = self.replace()
        third, fourth = self.reactor.all[2:]
        self.assertEqual(third.descriptors, first.descriptors)
        third.say(ready=True)
        self.assertEqual((first.signals, second.signals), ([], []))
        self.assertNoResult(replacing)
        fourth.say(ready=True)
        self.successResultOf(replacing)
        self.assertEqual((first.signals, second.signals), (["TERM"], ["TERM"]))
        self.assertEqual((self.supervisor.ready, self.metric("test_workers_leaving")), (2, 2))
        first.end()
        second.end()
        self.assertEqual(len(self.reactor.all), 4)
        self.assertEqual(self.metric("test_workers_leaving"), 0)

    def test_tell_each_other(self) -> None:
        """
        What one worker says all others hear, those that are on their way out included, and its end last.
        """
        first, _ = self.started()
        replacing = self.replace()
        for newcomer in self.reactor.all[2:]:
            newcomer.say(ready=True)
        self.successResultOf(replacing)
        first.say(tell=["subject", 1])
        first.end()
        expected = [["subject", 1], [WORKER_ENDED, first.pid]]
        self.assertEqual([process.told for process in self.reactor.all], [[], expected, expected, expected])

    def test_old_ones_end_by_their_own_plan(self) -> None:
        """
        Old ones have the time for transfers that they were started with.
        """
        first, _ = self.started()
        replacing = self.replace()
        for process in self.reactor.all[2:]:
            process.say(ready=True)
        self.successResultOf(replacing)
        self.reactor.advance(5 + KILL_SECONDS)
        self.assertEqual(first.signals, ["TERM"])
        self.reactor.advance(55)
        self.assertEqual(first.signals, ["TERM", "KILL"])

    def test_one_fails(self) -> None:
        """
        Where a new one cannot start, the new ones end and the old ones stay, and are started anew by their own plan.
        """
        first, second = self.started()
        replacing = self.replace()
        third, fourth = self.reactor.all[2:]
        third.say(ready=True)
        fourth.end(status=1)
        self.failureResultOf(replacing, WorkerFailed)
        self.assertEqual((first.signals, second.signals, third.signals), ([], [], ["TERM"]))
        third.end()
        self.assertEqual(self.supervisor.ready, 2)
        self.assertEqual(self.supervisor.plan.drain_seconds, 60)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_old_one_dies_meanwhile(self) -> None:
        """
        An old one that dies before the new ones serve is started anew, and replaced like the others.
        """
        first, second = self.started()
        replacing = self.replace()
        third, fourth = self.reactor.all[2:]
        first.end(signal=9)
        self.reactor.advance(0)
        fifth = self.reactor.all[4]
        third.say(ready=True)
        fourth.say(ready=True)
        self.successResultOf(replacing)
        self.assertEqual((second.signals, fifth.signals), (["TERM"], ["TERM"]))

    def test_fewer(self) -> None:
        """
        Where there are fewer than before, the sockets of those that are gone are served by the others.
        """
        self.started()
        replacing = self.replace(1)
        (third,) = self.reactor.all[2:]
        self.assertEqual([third.descriptors[5], third.descriptors[6]], [s.fileno() for s in self.sockets.share(1, 1)])
        self.assertEqual(len(handover_of(third).sockets), 2)
        third.say(ready=True)
        self.successResultOf(replacing)
        self.assertEqual(self.supervisor.ready, 1)

    def test_more(self) -> None:
        """
        Where there are more, each has a socket of its own.
        """
        self.started()
        self.replace(3)
        self.assertEqual(len({process.descriptors[5] for process in self.reactor.all[2:]}), 3)

    def test_stop(self) -> None:
        """
        The end of the service ends new and old ones alike.
        """
        self.started()
        replacing = self.replace()
        replacing.cancel()
        replacing.addErrback(lambda _: None)
        stopping = Deferred.fromCoroutine(self.supervisor.stop())
        for process in self.reactor.all:
            self.assertEqual(process.signals, ["TERM"])
            self.assertNoResult(stopping)
            process.end()
        self.successResultOf(stopping)

    def test_logs(self) -> None:
        """
        Log files are opened anew by those that leave, too.
        """
        self.started()
        self.replace()
        self.supervisor.reopen_logs()
        for process in self.reactor.all:
            self.assertEqual(process.orders, [REOPEN_LOG])


class MetricsTests(SupervisorTestCase):
    """
    What workers count is added up.
    """

    def report(self, process: MemoryProcess, count: float) -> None:
        process.say(metrics=[["test_requests", "counter", "Requests.", "sum", [["test_requests_total", {}, count]]]])

    def test_monotonic(self) -> None:
        """
        The numbers of a worker that died stay in the sum, to which its successor adds its own.
        """
        first, second = self.started()
        self.report(first, 3)
        self.report(second, 4)
        self.report(first, 5)
        self.assertEqual(self.metric("test_requests_total"), 9)
        first.end(signal=9)
        self.reactor.advance(0)
        self.assertEqual(self.metric("test_requests_total"), 9)
        self.report(self.reactor.all[2], 1)
        self.assertEqual(self.metric("test_requests_total"), 10)
