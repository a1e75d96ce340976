"""
Tests of how a daemon starts, stops, and says that it cannot.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.application.service import Application, IService
from twisted.internet import defer, reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource

from glance_tx import tap as api_tap
from glance_tx.settings.daemon import LogSettings
from glance_tx.telemetry.logs import set_log_level
from glance_tx.web.connections import DrainingSite
from glance_tx.web.daemon import PART_SECONDS, Daemon, DaemonOptions, Part, _end_with_failure
from glance_tx.web.errors import ListenFailed
from glance_tx.web.server import WebService, tcp_endpoint


class RecordingReactor(Clock):
    """
    Notes what a daemon that cannot start asks of the reactor.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stopped = 0
        self.triggers: list[tuple[object, ...]] = []

    def addSystemEventTrigger(self, *trigger: object) -> None:
        self.triggers.append(trigger)

    def callWhenRunning(self, call: Callable[[], object]) -> None:
        call()

    def stop(self) -> None:
        self.stopped += 1


class DaemonTests(TestCase):
    """
    `Daemon` starts its parts in order, then serves, and ends the other way round.
    """

    def setUp(self) -> None:
        self.calls: list[str] = []
        self.reactor = RecordingReactor()
        self.events: list[LogEvent] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def part(self, name: str, *, waits: Deferred[None] | None = None, fails: Exception | None = None) -> Part:
        async def start() -> None:
            self.calls.append(f"start {name}")
            if waits is not None:
                await waits
            if fails is not None:
                raise fails

        async def stop() -> None:
            self.calls.append(f"stop {name}")

        return Part(start, stop)

    def port(self, number: int = 0) -> WebService:
        site = DrainingSite(Resource(), reactor)  # type: ignore[arg-type]
        return WebService(reactor, tcp_endpoint(reactor, "127.0.0.1", number), site, drain_seconds=5)  # type: ignore[arg-type]

    def daemon(self, *parts: Part, ports: tuple[WebService, ...] = (), warnings: tuple[str, ...] = ()) -> Daemon:
        return Daemon(self.reactor, "test-daemon", LogSettings(), warnings, parts, ports)

    def new_path(self) -> Path:
        return Path(self.mktemp()).absolute()

    def said(self) -> list[str]:
        return [formatEvent(event) or "" for event in self.events]

    async def test_order(self) -> None:
        """
        Parts start one after another and stop in the opposite order.
        """
        daemon = self.daemon(self.part("a"), self.part("b"))
        daemon.startService()
        await daemon.stopService()
        self.assertEqual(self.calls, ["start a", "start b", "stop b", "stop a"])

    async def test_ports_last(self) -> None:
        """
        A port is served when every part has started, and closed before the first one stops.
        """
        ready: Deferred[None] = Deferred()
        port = self.port()
        daemon = self.daemon(self.part("slow", waits=ready), ports=(port,))
        daemon.startService()
        self.assertFalse(port.running)
        ready.callback(None)
        self.assertTrue(port.running)
        await daemon.stopService()
        self.assertFalse(port.running)

    async def test_stopped_while_starting(self) -> None:
        """
        A daemon that is stopped before it is ready stops the parts that had started, and serves nothing.
        """
        port = self.port()
        daemon = self.daemon(self.part("a"), self.part("slow", waits=Deferred()), ports=(port,))
        daemon.startService()
        await daemon.stopService()
        self.assertEqual(self.calls, ["start a", "start slow", "stop a"])
        self.assertFalse(port.running)
        self.assertEqual(self.reactor.stopped, 0)

    async def test_part_fails(self) -> None:
        """
        A part that cannot start ends the process with status 1, and is said in a line without a traceback.
        """
        daemon = self.daemon(self.part("a", fails=ListenFailed("here", "no")), self.part("b"))
        daemon.startService()
        self.assertEqual(self.calls, ["start a"])
        self.assertEqual(self.reactor.stopped, 1)
        self.assertEqual(self.reactor.triggers, [("after", "shutdown", atexit.register, _end_with_failure)])
        self.assertIn("test-daemon cannot start: cannot listen on here: no", self.said())
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_defect_in_a_part(self) -> None:
        """
        A defect in a part ends the process too, with a traceback in the log.
        """
        self.daemon(self.part("a", fails=ZeroDivisionError("oops"))).startService()
        self.assertEqual(self.reactor.stopped, 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_taken_port(self) -> None:
        """
        A port that somebody else has ends the process too.
        """
        taken = reactor.listenTCP(0, Factory.forProtocol(Protocol), interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(taken.stopListening)
        daemon = self.daemon(self.part("a"), ports=(self.port(taken.getHost().port),))
        daemon.startService()
        self.assertEqual(self.reactor.stopped, 1)
        await daemon.stopService()
        self.assertEqual(self.calls, ["start a", "stop a"])

    async def test_part_does_not_stop_well(self) -> None:
        """
        A part that fails to stop does not keep the others from being stopped.
        """

        async def fail() -> None:
            raise ZeroDivisionError("oops")

        daemon = self.daemon(self.part("a"), Part(stop=fail))
        daemon.startService()
        await daemon.stopService()
        self.assertEqual(self.calls, ["start a", "stop a"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_part_that_hangs(self) -> None:
        """
        A part that does not come to its end is left behind after a while.
        """

        async def hang() -> None:
            await Deferred()

        daemon = self.daemon(self.part("a"), Part(stop=hang))
        daemon.startService()
        stopping = daemon.stopService()
        self.reactor.advance(PART_SECONDS)
        await stopping
        self.assertEqual(self.calls, ["start a", "stop a"])
        self.assertEqual(len(self.flushLoggedErrors(defer.TimeoutError)), 1)

    async def test_warnings(self) -> None:
        """
        What is to be said of the configuration is said once, at the start.
        """
        daemon = self.daemon(warnings=("[DEFAULT] x: no effect",))
        daemon.startService()
        await daemon.stopService()
        self.assertEqual(self.said().count("[DEFAULT] x: no effect"), 1)

    async def test_log(self) -> None:
        """
        An application with a daemon logs in the daemon's way, into its file.
        """
        self.addCleanup(set_log_level, debug=False)
        path = self.new_path()
        application: Any = Application("test")
        settings = LogSettings(log_file=path, log_format="json")
        Daemon(self.reactor, "test-daemon", settings, (), (), ()).setServiceParent(application)
        observer = application.getComponent(ILogObserver)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        IService(application).startService()
        await succeed(None)
        self.assertIn('"message":"test-daemon is ready"', path.read_text())

    async def test_log_is_reopened(self) -> None:
        """
        On SIGHUP the log goes on in a new file of the same name, for whoever rotates it.
        """
        self.addCleanup(set_log_level, debug=False)
        path = self.new_path()
        application: Any = Application("test")
        daemon = Daemon(reactor, "test-daemon", LogSettings(log_file=path), (), (), ())
        daemon.setServiceParent(application)
        before = signal.getsignal(signal.SIGHUP)
        daemon.startService()
        path.rename(path.with_suffix(".1"))
        os.kill(os.getpid(), signal.SIGHUP)
        while not path.exists():
            await self.turn()
        await daemon.stopService()
        self.assertEqual(signal.getsignal(signal.SIGHUP), before)

    async def test_signals(self) -> None:
        """
        SIGTERM and SIGINT stop the reactor, once however often they come, and are handled as before when it is over.
        """
        before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
        daemon = self.daemon(self.part("a"))
        self.reactor.callFromThread = lambda call, *args: call(*args)  # type: ignore[attr-defined]
        daemon.startService()
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
        self.assertEqual(self.reactor.stopped, 1)
        await daemon.stopService()
        after = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
        self.assertEqual(after, before)

    async def test_hangup_and_ready(self) -> None:
        """
        Who wants to know is told when all is served, and of each SIGHUP.
        """
        told: list[str] = []
        daemon = Daemon(
            self.reactor,
            "test-daemon",
            LogSettings(),
            (),
            (),
            (),
            when_ready=lambda: told.append("ready"),
            on_hangup=lambda: told.append("hung up"),
        )
        self.reactor.callFromThread = lambda call, *args: call(*args)  # type: ignore[attr-defined]
        daemon.startService()
        os.kill(os.getpid(), signal.SIGHUP)
        await daemon.stopService()
        self.assertEqual(told, ["ready", "hung up"])

    def turn(self) -> Deferred[None]:
        """
        Wait for one turn of the reactor.
        """
        turned: Deferred[None] = Deferred()
        reactor.callLater(0, turned.callback, None)  # type: ignore[attr-defined]
        return turned


APPLICATION = """
from twisted.application.service import Application
from twisted.internet import reactor
from glance_tx.settings.daemon import LogSettings
from glance_tx.web.daemon import Daemon, Part
from glance_tx.web.errors import ListenFailed

async def fail():
    raise ListenFailed("here", "no")

application = Application("test")
Daemon(reactor, "test-daemon", LogSettings(), (), (Part(fail),), ()).setServiceParent(application)
"""


class ProcessTests(SynchronousTestCase):
    """
    The same as a process.
    """

    def test_fails_at_once(self) -> None:
        """
        A part that fails before the reactor runs ends the process, which leaves no pidfile and a status of 1.
        """
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        application = folder / "application.tac"
        application.write_text(APPLICATION)
        command = [Path(sys.executable).with_name("twistd"), "--nodaemon", "--pidfile=pid", "--python", application]
        ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(ended.returncode, 1, ended.stderr)
        self.assertIn("test-daemon cannot start: cannot listen on here: no", ended.stderr)
        self.assertNotIn("Traceback", ended.stderr)
        self.assertFalse((folder / "pid").exists())


class OptionsTests(SynchronousTestCase):
    """
    The command line names files, and nothing else.
    """

    def test_defaults(self) -> None:
        """
        Without arguments no file is named.
        """
        options = DaemonOptions()
        options.parseOptions([])
        self.assertEqual((options["config_files"], options["config_dirs"]), ([], []))

    def test_files(self) -> None:
        """
        Files and folders may be repeated, and keep their order.
        """
        options = api_tap.Options()
        options.parseOptions(["--config-file", "/a", "--config-dir=/d", "--config-file=b"])
        self.assertEqual(options["config_files"], [Path("/a"), Path("b").absolute()])
        self.assertEqual(options["config_dirs"], [Path("/d")])

    def test_unknown(self) -> None:
        """
        Anything else is refused.
        """
        self.assertRaises(usage.UsageError, DaemonOptions().parseOptions, ["--port", "1"])
