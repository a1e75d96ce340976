"""
Workers that live and do nothing any more are noticed, ended and replaced.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase, TestCase

from glance_tx.settings import Settings
from glance_tx.telemetry.metrics import Metrics
from glance_tx.workers.process import Launcher, State
from glance_tx.workers.sockets import Sockets
from glance_tx.workers.supervisor import Plan, Supervisor
from glance_tx.workers.watchdog import Watchdog
from tests.workers.processes import MemoryProcess, MemoryProcesses

LIMIT = 30


def counted(metrics: Metrics) -> float:
    """
    Read how many workers were found hanging.
    """
    return next(s.value for m in metrics.collect() for s in m.samples if s.name == "test_worker_hangs_total")


class WatchdogTests(SynchronousTestCase):
    """
    Two workers that exist in memory.
    """

    limit = LIMIT

    def setUp(self) -> None:
        self.reactor = MemoryProcesses()
        sockets = Sockets("127.0.0.1", 0)
        sockets.open(2, 5)
        self.addCleanup(sockets.close)
        metrics = Metrics("test")
        launcher = Launcher(self.reactor, "some.module", sockets)
        self.supervisor = Supervisor(self.reactor, launcher.launch, sockets.close, metrics, Plan(Settings(()), 2, 60))
        self.watchdog = Watchdog(self.reactor, lambda: self.supervisor.workers, lambda: self.limit, metrics)
        self.metrics = metrics
        starting = Deferred.fromCoroutine(self.supervisor.start())
        for process in self.reactor.all:
            process.say(ready=True)
        self.successResultOf(starting)
        self.successResultOf(Deferred.fromCoroutine(self.watchdog.start()))

    def go_on(self, seconds: int, *talking: MemoryProcess) -> None:
        """
        Let time pass, in which some workers report.
        """
        for _ in range(seconds):
            self.reactor.advance(1)
            for process in talking:
                process.say(metrics=[])

    def test_silent(self) -> None:
        """
        One that is silent for too long is aborted, once, and killed if it still lives; then it has a successor.
        """
        hung, well = self.reactor.all
        with capturedLogs() as logged:
            self.go_on(LIMIT, well)
            self.assertEqual(hung.signals, [])
            self.go_on(1, well)
            self.assertEqual(hung.signals, [signal.SIGABRT])
            self.go_on(5, well)
        self.assertEqual(hung.signals, [signal.SIGABRT, "KILL"])
        errors = [formatEvent(event) for event in logged if event["log_level"] is LogLevel.error]
        self.assertIn("worker 1 (process 1000) was not heard of for 31 s and is aborted", errors)
        self.reactor.advance(0)
        self.assertEqual((len(self.reactor.all), counted(self.metrics)), (3, 1))
        self.reactor.all[2].say(ready=True)
        self.assertEqual((self.supervisor.ready, well.signals), (2, []))

    def test_ends_in_time(self) -> None:
        """
        One that ends when it is aborted is not killed.
        """
        hung, well = self.reactor.all
        self.go_on(LIMIT + 1, well)
        hung.end(signal=signal.SIGABRT)
        self.go_on(20, *self.reactor.alive)
        self.assertEqual(hung.signals, [signal.SIGABRT])

    def test_starting(self) -> None:
        """
        One that is not ready yet is left to its own deadline.
        """
        first, second = self.reactor.all
        first.end(status=1)
        self.go_on(2 * LIMIT, second)
        self.assertEqual(self.reactor.all[2].signals, [])

    def test_absent_parent(self) -> None:
        """
        A parent that was away itself does not blame its workers, and takes up counting.
        """
        self.go_on(1, *self.reactor.all)
        self.reactor.advance(3600)
        self.go_on(LIMIT)
        self.assertEqual([process.signals for process in self.reactor.all], [[], []])
        self.go_on(1)
        self.assertEqual([process.signals for process in self.reactor.all], [[signal.SIGABRT]] * 2)

    def test_off(self) -> None:
        """
        Nobody is ended where that is not wanted, or after the watchdog stopped.
        """
        self.limit = 0
        self.go_on(10 * LIMIT)
        self.limit = LIMIT
        self.successResultOf(Deferred.fromCoroutine(self.watchdog.stop()))
        self.go_on(10 * LIMIT)
        self.assertEqual([process.signals for process in self.reactor.all], [[], []])


class HungProcessTests(TestCase):
    """
    Workers that are real processes.
    """

    async def wait_for(self, condition) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            self.assertLess(time.monotonic(), deadline)
            await deferLater(reactor, 0.02)

    async def start(self) -> Supervisor:
        sockets = Sockets("127.0.0.1", 0)
        sockets.open(2, 5)
        self.addCleanup(sockets.close)
        root = str(Path(__file__).parents[2])
        self.patch(os, "environ", os.environ | {"PYTHONPATH": os.pathsep.join([root, f"{root}/proxy"])})
        metrics = Metrics("test")
        launcher = Launcher(reactor, "tests.workers.hanging", sockets)
        supervisor = Supervisor(reactor, launcher.launch, sockets.close, metrics, Plan(Settings(()), 2, 60))
        await supervisor.start()
        watchdog = Watchdog(reactor, lambda: supervisor.workers, lambda: 3, metrics)
        await watchdog.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(supervisor.stop()))
        self.addCleanup(lambda: Deferred.fromCoroutine(watchdog.stop()))
        return supervisor

    async def test_replaced(self) -> None:
        """
        One whose reactor is held, and one that was stopped, are replaced by others; nobody else is.
        """
        supervisor = await self.start()
        held, stopped = supervisor.workers
        held.order("hang")
        await self.wait_for(lambda: supervisor.workers[0] is not held and supervisor.ready == 2)
        self.assertEqual(held.how, f"was killed by signal {signal.SIGABRT:d}")
        self.assertIs(supervisor.workers[1], stopped)
        os.kill(stopped.pid, signal.SIGSTOP)
        await self.wait_for(lambda: supervisor.workers[1] is not stopped and supervisor.ready == 2)
        self.assertEqual(stopped.how, f"was killed by signal {signal.SIGKILL:d}")
        self.assertEqual(supervisor.workers[0].state, State.READY)
