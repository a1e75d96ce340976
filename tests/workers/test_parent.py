"""
Tests of reloading.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from glance_tx.settings import Loaded, Problem, Settings, SettingsError
from glance_tx.settings.daemon import LogSettings
from glance_tx.telemetry.metrics import Metrics
from glance_tx.web.options import ListenSettings, ManagementSettings, ManagementTlsSettings
from glance_tx.workers.messages import REOPEN_LOG
from glance_tx.workers.options import WorkerSettings
from glance_tx.workers.parent import Program, Reloading
from glance_tx.workers.process import Launcher
from glance_tx.workers.sockets import Sockets
from glance_tx.workers.supervisor import Plan, Supervisor
from tests.workers.processes import MemoryProcesses, handover_of


def settings(count: int = 2, debug: bool = False, **listen: Any) -> Settings:
    """
    Make a configuration.
    """
    listening = ListenSettings(**({"bind_host": "127.0.0.1", "bind_port": 9292} | listen))
    management = (ManagementSettings(), ManagementTlsSettings())
    return Settings((listening, WorkerSettings(count=count), LogSettings(debug=debug), *management))


class ReloadingTests(SynchronousTestCase):
    """
    `Reloading` replaces workers for a configuration that is right, and leaves all as it is for one that is not.
    """

    def setUp(self) -> None:
        self.events: list[LogEvent] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)
        self.written: Loaded | Exception = Loaded(settings(), ())
        self.prepared: list[Settings] = []
        self.threads: list[str] = []
        self.reactor = MemoryProcesses()
        sockets = Sockets("127.0.0.1", 0)
        sockets.open(2, 5)
        self.addCleanup(sockets.close)
        launcher = Launcher(self.reactor, "some.module", sockets)
        self.supervisor = Supervisor(
            self.reactor, launcher.launch, sockets.close, Metrics("test"), Plan(settings(), 2, 60)
        )
        program = Program("daemon", "some.module", "test", self.load, self.prepare)
        self.reloading = Reloading(self.reactor, program, settings(), sockets, self.supervisor)
        starting = Deferred.fromCoroutine(self.supervisor.start())
        self.make_ready()
        self.successResultOf(starting)
        self.successResultOf(Deferred.fromCoroutine(self.reloading.start()))
        self.former = list(self.reactor.all)

    def load(self) -> Loaded:
        if isinstance(self.written, Exception):
            raise self.written
        return self.written

    def prepare(self, settings: Settings) -> Iterable[object]:
        self.prepared.append(settings)
        self.threads.append(threading.current_thread().name)
        return ["beware"]

    def make_ready(self) -> None:
        for process in self.reactor.alive:
            process.say(ready=True)

    def said(self, text: str) -> int:
        return sum(text in (formatEvent(event) or "") for event in self.events)

    def assert_as_before(self) -> None:
        """
        The same workers serve, and nobody was told to end.
        """
        self.assertEqual(self.reactor.alive, self.former)
        self.assertEqual([process.signals for process in self.former], [[], []])
        self.assertEqual(self.said("not reloaded, all stays as it is"), 1)

    def test_right(self) -> None:
        """
        A configuration that is right is prepared for once, and given to all new workers; warnings are in the log.
        """
        new = settings(count=3, debug=True, backlog=7)
        self.written = Loaded(new, (Problem("odd"),))
        self.reloading.hung_up()
        self.assertEqual(self.prepared, [new])
        self.assertEqual([handover_of(process).settings for process in self.reactor.all[2:]], [new] * 3)
        self.assertEqual(self.said("reloaded: the workers have the configuration as it is now"), 0)
        self.make_ready()
        self.assertEqual([process.signals for process in self.former], [["TERM"], ["TERM"]])
        self.assertEqual((self.said("odd"), self.said("beware")), (1, 1))
        self.assertEqual(self.said("reloaded: the workers have the configuration as it is now"), 1)

    def test_wrong(self) -> None:
        """
        Of one that is wrong each mistake is told.
        """
        self.written = SettingsError((Problem("much too much", option="a", section="b"),))
        self.reloading.hung_up()
        self.assert_as_before()
        self.assertEqual(self.said("[b] a: much too much"), 1)
        self.assertEqual(self.prepared, [])

    def test_fixed(self) -> None:
        """
        What is the parent's own takes a restart.
        """
        for change in ({"bind_host": "127.0.0.2"}, {"bind_port": 9393}):
            self.events.clear()
            self.written = Loaded(settings(**change), ())
            self.reloading.hung_up()
            self.assert_as_before()
            self.assertEqual(self.said(f"{next(iter(change))} changed, which takes a restart"), 1)

    def test_one_fails(self) -> None:
        """
        Where a new worker cannot start, nothing has changed, and the next attempt may succeed.
        """
        self.reloading.hung_up()
        for process in self.reactor.all[2:]:
            process.end(status=1)
        self.assert_as_before()
        self.reloading.hung_up()
        self.make_ready()
        self.assertEqual(self.said("reloaded: the workers have the configuration as it is now"), 1)

    def test_defect(self) -> None:
        """
        A defect in reading leaves all as it is, too.
        """
        self.written = ZeroDivisionError()
        self.reloading.hung_up()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assert_as_before()

    def test_again(self) -> None:
        """
        Being told so again and again in the middle of reloading has one more follow it, with what is written by then.
        """
        self.reloading.hung_up()
        self.reloading.hung_up()
        self.reloading.hung_up()
        self.assertEqual(len(self.reactor.all), 4)
        latest = settings(debug=True)
        self.written = Loaded(latest, ())
        self.make_ready()
        self.assertEqual([handover_of(process).settings for process in self.reactor.all[4:]], [latest] * 2)
        self.make_ready()
        self.assertEqual(len(self.reactor.all), 6)

    def test_logs(self) -> None:
        """
        Logs are opened anew whether the configuration is right or not.
        """
        self.written = SettingsError((Problem("wrong"),))
        self.reloading.hung_up()
        self.assertEqual([process.orders for process in self.former], [[REOPEN_LOG], [REOPEN_LOG]])

    def test_stopped(self) -> None:
        """
        Stopping gives a reload up, and none is begun after it.
        """
        self.reloading.hung_up()
        self.reloading.hung_up()
        self.successResultOf(Deferred.fromCoroutine(self.reloading.stop()))
        self.assertEqual([process.signals for process in self.reactor.all], [[], [], ["TERM"], ["TERM"]])
        self.reloading.hung_up()
        self.assertEqual(len(self.reactor.all), 4)
