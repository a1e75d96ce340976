"""
The parent of workers, put together: what ``twistd`` runs where several processes are to serve.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from attrs import field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from glance_tx.errors import FactualError
from glance_tx.settings import Loaded, Settings
from glance_tx.settings.daemon import LogSettings
from glance_tx.telemetry.access import AccessLog
from glance_tx.telemetry.health import HealthChecks
from glance_tx.telemetry.metrics import Metrics
from glance_tx.web.app import App
from glance_tx.web.daemon import Daemon, refuse_to_start
from glance_tx.web.edge import management_port
from glance_tx.web.faults import FaultTable
from glance_tx.web.management import management_app
from glance_tx.web.options import ListenSettings, ManagementSettings, ManagementTlsSettings
from glance_tx.web.ports import PortsTls
from glance_tx.workers.errors import NoWorker
from glance_tx.workers.options import WorkerSettings
from glance_tx.workers.process import Launcher
from glance_tx.workers.sockets import Sockets
from glance_tx.workers.supervisor import KILL_SECONDS, Plan, Supervisor
from glance_tx.workers.watchdog import Watchdog

__all__ = ["Program", "make_parent"]

_log = Logger()

_SLACK_SECONDS: Final = 10.0


@frozen
class Program:
    """
    What there is to run.

    :param name: Of the daemon.
    :param module: Has ``make_worker``; see `glance_tx.workers.runner`.
    :param prefix: Begins the names of all metrics.
    :param load: Reads the configuration anew. Blocks; raises `SettingsError`.
    :param prepare: Does once what no worker has to do, such as migrating a database, and finds out what would
        keep all of them from starting. Blocks; raises `FactualError`; returns warnings.
    :param claim: Takes at start, before anything else, what the daemon must have for itself. Blocks; raises
        `FactualError`; returns descriptors, which each worker keeps open as well: what they hold is let go when
        the last process has ended.
    :param furnish: Adds to the application of the parent's port for operators what goes on to workers, and gets what
        connects to one, which raises `OSError`; ``None`` where nothing does.
    :param faults: What becomes of exceptions of that.
    :param fixed: Further options, by name, that cannot change without a restart.
    """

    name: str
    module: str
    prefix: str
    load: Callable[[], Loaded]
    prepare: Callable[[Settings], Iterable[object]]
    claim: Callable[[Settings], Sequence[int]] = lambda _: ()
    fixed: Mapping[str, Callable[[Settings], object]] = field(factory=dict)
    furnish: Callable[[App, Callable[[], socket.socket]], object] | None = None
    faults: FaultTable = field(factory=partial(FaultTable, {}))


def make_parent(reactor: Any, program: Program, loaded: Loaded) -> Daemon:
    """
    Make the service of a parent. The port is taken from now on.
    """
    settings = loaded.settings
    listen = settings[ListenSettings]
    sockets = Sockets(listen.bind_host, listen.bind_port)
    try:
        sockets.open(settings[WorkerSettings].count, listen.backlog)
        tls = PortsTls.of(settings)
        kept = program.claim(settings)
        warnings = [*loaded.warnings, *program.prepare(settings)]
    except FactualError as error:
        refuse_to_start(program.name, str(error))
    metrics = Metrics(program.prefix)
    launcher = Launcher(reactor, program.module, sockets, kept, visited=program.furnish is not None)
    supervisor = Supervisor(reactor, launcher.launch, sockets.close, metrics, _plan(settings))
    reloading = Reloading(reactor, program, settings, sockets, supervisor)
    watchdog = Watchdog(
        reactor,
        lambda: supervisor.workers,
        lambda: supervisor.plan.settings[WorkerSettings].hang_seconds,
        metrics,
    )
    checks = HealthChecks(reactor)
    checks.add("workers", partial(_check_workers, supervisor))
    management = management_app(reactor, checks, supervisor.totals.render, AccessLog(), program.faults)
    if program.furnish is not None:
        program.furnish(management, supervisor.visit)
    return Daemon(
        reactor,
        program.name,
        settings[LogSettings],
        warnings,
        [supervisor, watchdog, reloading],
        management_port(reactor, settings, management, tls.management),
        on_hangup=reloading.hung_up,
        part_seconds=listen.drain_seconds + KILL_SECONDS + _SLACK_SECONDS,
    )


def _plan(settings: Settings) -> Plan:
    return Plan(settings, max(settings[WorkerSettings].count, 1), settings[ListenSettings].drain_seconds)


async def _check_workers(supervisor: Supervisor) -> None:
    if not supervisor.ready:
        raise NoWorker


class Reloading:
    """
    Has a parent's workers replaced by others with the configuration that now stands in the files.

    :param settings: What the parent was started with.
    """

    def __init__(
        self, reactor: Any, program: Program, settings: Settings, sockets: Sockets, supervisor: Supervisor
    ) -> None:
        self._reactor = reactor
        self._program = program
        self._settings = settings
        self._sockets = sockets
        self._supervisor = supervisor
        self._started = False
        self._running: Deferred[None] | None = None
        self._again = False

    async def start(self) -> None:
        """
        Be ready to reload.
        """
        self._started = True

    async def stop(self) -> None:
        """
        Leave off.
        """
        self._started = self._again = False
        running = self._running
        if running is not None:
            running.cancel()
            await running

    def hung_up(self) -> None:
        """
        Reload, once more after the time that is under way. Log files are opened anew at once.
        """
        self._supervisor.reopen_logs()
        if not self._started:
            return
        if self._running is not None:
            self._again = True
            return
        self._running = Deferred.fromCoroutine(self._reload())
        self._running.addBoth(self._done)

    def _done(self, _: object) -> None:
        self._running = None
        if self._again:
            self._again = False
            self.hung_up()

    async def _reload(self) -> None:
        try:
            loaded, warnings = await self._in_thread(self._read)
            self._refuse_what_is_fixed(loaded.settings)
            plan = _plan(loaded.settings)
            self._sockets.open(plan.count, loaded.settings[ListenSettings].backlog)
            for warning in warnings:
                _log.warn("{problem}", problem=str(warning))
            _log.info("starting {count} workers with the configuration as it is now", count=plan.count)
            await self._supervisor.replace(plan)
        except CancelledError:
            pass  # by stop
        except FactualError as error:
            for line in str(error).splitlines():
                _log.error("not reloaded, all stays as it is: {reason}", reason=line)
        except Exception:  # the outer loop of a service
            _log.failure("not reloaded, all stays as it is")
        else:
            _log.info("reloaded: the workers have the configuration as it is now")

    def _read(self) -> tuple[Loaded, list[object]]:
        loaded = self._program.load()
        return loaded, [*loaded.warnings, *self._program.prepare(loaded.settings)]

    async def _in_thread(self, read: Callable[[], tuple[Loaded, list[object]]]) -> tuple[Loaded, list[object]]:
        result: tuple[Loaded, list[object]] = await deferToThreadPool(
            self._reactor, self._reactor.getThreadPool(), read
        )
        return result

    def _refuse_what_is_fixed(self, settings: Settings) -> None:
        fixed = {**_FIXED, **self._program.fixed}
        changed = [name for name, read in fixed.items() if read(settings) != read(self._settings)]
        if changed:
            raise NeedsRestart(", ".join(changed))


@frozen
class NeedsRestart(FactualError):
    """
    What a parent holds itself cannot be changed while it runs.
    """

    message = "{self.options} changed, which takes a restart"
    options: str


_FIXED: Final[dict[str, Callable[[Settings], object]]] = {
    "bind_host": lambda settings: settings[ListenSettings].bind_host,
    "bind_port": lambda settings: settings[ListenSettings].bind_port,
    "log_file": lambda settings: settings[LogSettings].log_file,
    "log_format": lambda settings: settings[LogSettings].log_format,
    "[management] bind_host": lambda settings: settings[ManagementSettings].bind_host,
    "[management] bind_port": lambda settings: settings[ManagementSettings].bind_port,
    "[management] cert_file": lambda settings: settings[ManagementTlsSettings].files,
}
