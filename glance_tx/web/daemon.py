"""
What it takes to be a daemon under ``twistd``: options, a log, parts that start and stop in order, and ports.
"""

# Twisted left the methods of its services and options untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn, Protocol

from attrs import field, frozen
from twisted.application.service import MultiService
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import ILogObserver, Logger
from twisted.python import usage
from twisted.python.components import Componentized
from twisted.python.failure import Failure

from glance_tx.errors import FactualError
from glance_tx.settings import Loaded, Program, SettingsError, load
from glance_tx.settings.daemon import LogSettings
from glance_tx.telemetry.logs import LogFile, log_observer, open_log, set_log_level
from glance_tx.web.server import WebService

__all__ = ["Daemon", "DaemonOptions", "IPart", "Part", "load_or_exit", "refuse_to_start"]


PART_SECONDS: Final = 40.0
"""How long one part may take to stop; longer than lanes wait for a job that hangs."""


class DaemonOptions(usage.Options):
    """
    The command line of a daemon: which files to read.
    """

    def __init__(self) -> None:
        super().__init__()
        self["config_files"] = []
        self["config_dirs"] = []

    def opt_config_file(self, path: str) -> None:
        """
        Read this configuration file; may be repeated, the last one wins.
        """
        self["config_files"].append(Path(path).absolute())

    def opt_config_dir(self, path: str) -> None:
        """
        Read all *.conf files of this folder, after the others; may be repeated.
        """
        self["config_dirs"].append(Path(path).absolute())


def refuse_to_start(program: str, text: str) -> NoReturn:
    """
    End the program before it began, with one line on standard error for each line of the text.
    """
    # Under twistd, sys.stderr may lead into the log.
    for line in text.splitlines():
        print(f"{program}: {line}", file=sys.__stderr__)
    raise SystemExit(1)


def load_or_exit(program: Program, options: DaemonOptions) -> Loaded:
    """
    Read the configuration. Where it is wrong, say everything that is, and end the program.
    """
    try:
        return load(program, options["config_files"], options["config_dirs"])
    except SettingsError as error:
        refuse_to_start(program.name, str(error))


def _no_call() -> None:
    pass


class IPart(Protocol):
    """
    Something that a daemon starts before it serves, and stops after it has.
    """

    async def start(self) -> None:
        """
        Get ready.
        """

    async def stop(self) -> None:
        """
        Let go.
        """


async def _nothing() -> None:
    pass


@frozen
class Part:
    """
    A part made of two functions.
    """

    _start: Callable[[], Awaitable[object]] = field(default=_nothing)
    _stop: Callable[[], Awaitable[object]] = field(default=_nothing)

    async def start(self) -> None:
        """
        See `IPart.start`.
        """
        await self._start()

    async def stop(self) -> None:
        """
        See `IPart.stop`.
        """
        await self._stop()


class Daemon(MultiService):
    """
    Parts that are started one after another, then ports that are served; and the other way round at the end.

    A part or a port that cannot be started ends the process, with one line in the log and an exit status that is
    not 0. On SIGHUP the log file is opened anew, as those who rotate logs expect. SIGTERM and SIGINT stop it, with
    status 0 at the end.

    :param log: How the daemon logs.
    :param warnings: What is to be said of the configuration.
    :param when_ready: Called when all ports are served.
    :param on_hangup: Called on SIGHUP, after the log was opened anew.
    :param worker: Which of several processes that share a log this is.
    :param part_seconds: How long one part may take to stop.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        name: str,
        log: LogSettings,
        warnings: Sequence[object],
        parts: Sequence[IPart],
        ports: Sequence[WebService],
        *,
        when_ready: Callable[[], object] = _no_call,
        on_hangup: Callable[[], object] = _no_call,
        worker: int | None = None,
        part_seconds: float = PART_SECONDS,
    ) -> None:
        super().__init__()
        self.setName(name)
        self.ports = tuple(ports)
        self._reactor = reactor
        self._log_settings = log
        self._warnings = warnings
        self._parts = tuple(parts)
        self._when_ready = when_ready
        self._on_hangup = on_hangup
        self._worker = worker
        self._part_seconds = part_seconds
        self._log_file: LogFile | None = None
        self._handlers: dict[signal.Signals, Any] = {}
        self._started: list[IPart] = []
        self._starting: Deferred[None] | None = None
        self._ending = False

    def setServiceParent(self, parent: Componentized) -> None:
        """
        Become part of an application, which logs our way from then on.
        """
        settings = self._log_settings
        try:
            out = open_log(settings.log_file)
        except OSError as error:
            refuse_to_start(str(self.name), f"cannot write the log {settings.log_file}: {error.strerror}")
        self._log_file = out if isinstance(out, LogFile) else None
        set_log_level(debug=settings.debug)
        observer = log_observer(out, settings.log_format, debug=settings.debug, worker=self._worker)
        parent.setComponent(ILogObserver, observer)
        super().setServiceParent(parent)

    def startService(self) -> None:
        """
        Start everything, in the background.
        """
        super().startService()
        # twistd leaves this signal alone, and it would end the process.
        self._handle(signal.SIGHUP, self._hung_up)
        for warning in self._warnings:
            # Not as "warning": Twisted takes an event with that key for one of Python's warnings.
            self._log.warn("{problem}", problem=str(warning))
        # twistd starts services before the reactor, and only a reactor that runs can be stopped.
        self._reactor.callWhenRunning(self._begin)

    def stopService(self) -> Deferred[None]:
        """
        Stop everything.

        :return: Fires when it has stopped.
        """
        return Deferred.fromCoroutine(self._stop())

    def _handle(self, number: signal.Signals, handler: Callable[..., object]) -> None:
        former = signal.getsignal(number)
        # A shell has programs in the background ignore SIGINT, and a parent its workers.
        if former is not signal.SIG_IGN:
            signal.signal(number, handler)
            self._handlers[number] = former

    def _begin(self) -> None:
        if not self.running:
            return
        # The reactor has installed its own by now, which end the process by the signal that it was sent, and take a
        # second one for a mistake.
        self._handle(signal.SIGTERM, self._told_to_stop)
        self._handle(signal.SIGINT, self._told_to_stop)
        self._starting = Deferred.fromCoroutine(self._start())
        self._starting.addErrback(self._failed)

    async def _start(self) -> None:
        for part in self._parts:
            await part.start()
            self._started.append(part)
        for port in self.ports:
            port.setServiceParent(self)
        self._log.info("{name} is ready", name=self.name)
        self._when_ready()

    async def _stop(self) -> None:
        try:
            await self._stop_all()
        finally:
            for number, former in self._handlers.items():
                signal.signal(number, former)
            self._handlers = {}

    async def _stop_all(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
            await self._starting
        await super().stopService()
        while self._started:
            part = self._started.pop()
            try:
                # A disk that hangs must not keep the process from ending.
                await Deferred.fromCoroutine(part.stop()).addTimeout(self._part_seconds, self._reactor)
            except Exception:  # the others are to be stopped all the same
                self._log.failure("{part} did not stop well", part=part)

    def _hung_up(self, *_: object) -> None:
        # In the middle of anything: the log itself may be at work.
        self._reactor.callFromThread(self._after_hangup)

    def _after_hangup(self) -> None:
        self.reopen_log()
        self._on_hangup()

    def reopen_log(self) -> None:
        """
        Go on in the log file that now has the name.
        """
        if self._log_file is not None:
            try:
                self._log_file.reopen()
            except OSError as error:
                self._log.error("the log cannot be opened anew: {reason}", reason=error.strerror)

    def _told_to_stop(self, number: int, _: object) -> None:
        self._reactor.callFromThread(self._end, signal.Signals(number).name)

    def _end(self, why: str) -> None:
        if not self._ending:
            self._ending = True
            self._log.info("{name} stops: {why}", name=self.name, why=why)
            self._reactor.stop()

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return
        if failure.check(FactualError):
            self._log.critical("{name} cannot start: {reason}", name=self.name, reason=failure.getErrorMessage())
        else:
            self._log.failure("{name} cannot start", failure, name=self.name)
        if self._log_settings.log_file is not None:
            print(f"{self.name}: cannot start: {failure.getErrorMessage()}", file=sys.__stderr__)
        # twistd has no other way to end with a status of one's own; by then it has removed its pidfile.
        self._reactor.addSystemEventTrigger("after", "shutdown", atexit.register, _end_with_failure)
        self._reactor.stop()


def _end_with_failure() -> NoReturn:
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            stream.flush()
    os._exit(1)
