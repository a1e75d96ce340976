"""
The caching tier, put together: ``twistd glance-cache``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from attrs import frozen
from twisted.application.service import IService, Service

from glance_cache.configuration import GLANCE_CACHE
from glance_cache.events import Events
from glance_cache.files import FileOps
from glance_cache.folder import CacheFolder
from glance_cache.front import FRONT_FAULTS, pass_on
from glance_cache.identity import NodeIdentity
from glance_cache.managers import Managers
from glance_cache.node import METRICS, Node
from glance_cache.options import CacheSettings, StorageSettings, UpstreamSettings
from glance_cache.seats import FIRST_SEAT, Seats
from glance_cache.siblings import Siblings
from glance_tx.errors import FactualError
from glance_tx.identity.keystone.account import Account
from glance_tx.identity.keystone.options import ServiceUserSettings
from glance_tx.identity.strategies import make_strategy
from glance_tx.policy.files import load_policy
from glance_tx.policy.options import PolicySettings
from glance_tx.redis.options import redis_tls
from glance_tx.settings import Settings, load
from glance_tx.settings.daemon import LogSettings, RedisSettings
from glance_tx.settings.watch import Source
from glance_tx.telemetry.metrics import Metrics
from glance_tx.tls.client import ClientTls
from glance_tx.web.daemon import Daemon, DaemonOptions, load_or_exit, refuse_to_start
from glance_tx.web.ports import PortsTls
from glance_tx.web.proxies import warn_of_trust
from glance_tx.workers.child import ParentLink
from glance_tx.workers.messages import REOPEN_LOG, SIBLING_DIED, Handover
from glance_tx.workers.options import WorkerSettings
from glance_tx.workers.parent import Program as ParentProgram
from glance_tx.workers.parent import make_parent
from glance_tx.workers.visits import VisitorsEndpoint

__all__ = ["Options", "makeService", "make_worker"]


class Options(DaemonOptions):
    """
    The command line of glance-cache.
    """

    synopsis = "[--config-file=FILE ...] [--config-dir=FOLDER ...]"
    longdesc = "A caching proxy for image data, before any OpenStack image service."


def makeService(options: Options) -> IService:
    """
    Make the service that ``twistd`` runs.
    """
    from twisted.internet import reactor  # noqa: PLC0415  # importing it installs it

    loaded = load_or_exit(GLANCE_CACHE, options)
    settings = loaded.settings
    if settings[WorkerSettings].count > 1:
        return make_parent(reactor, _program(reactor, options), loaded)
    try:
        files = _read_files(reactor, settings)
    except FactualError as error:
        refuse_to_start(GLANCE_CACHE.name, str(error))
    node = files.make_node(reactor, settings)
    warnings = (*loaded.warnings, *files.warnings)
    daemon = Daemon(reactor, GLANCE_CACHE.name, settings[LogSettings], warnings, node.parts(), node.edge.ports())
    _Farewell(node.events).setServiceParent(daemon)  # type: ignore[no-untyped-call]
    return daemon


def make_worker(reactor: Any, handover: Handover) -> IService:
    """
    Make the service that a worker runs, below the parent that `makeService` makes.

    :raises FactualError: It cannot start.
    """
    settings = handover.settings
    files = _read_files(reactor, settings)
    # Held for as long as this process lives.
    seat, _ = Seats(settings[StorageSettings].folder, settings[CacheSettings].node_name, FileOps()).take()
    node = files.make_node(reactor, settings, seat, lambda metrics: Siblings(ParentLink(reactor, metrics, {})))
    assert node.siblings is not None  # noqa: S101  # they were just made
    link = node.siblings.link
    visitors = None if handover.visitors is None else VisitorsEndpoint(reactor, handover.visitors)
    daemon = Daemon(
        reactor,
        GLANCE_CACHE.name,
        settings[LogSettings],
        (),
        [link, *node.parts()],
        node.edge.inherited_ports(handover.sockets, visitors),
        when_ready=link.say_ready,
        worker=handover.slot,
    )
    link.obey(SIBLING_DIED, node.sibling_died)
    link.obey(REOPEN_LOG, daemon.reopen_log)
    _Farewell(node.events).setServiceParent(daemon)  # type: ignore[no-untyped-call]
    return daemon


def _program(reactor: Any, options: Options) -> ParentProgram:
    return ParentProgram(
        GLANCE_CACHE.name,
        __name__,
        METRICS,
        partial(load, GLANCE_CACHE, options["config_files"], options["config_dirs"]),
        prepare=lambda settings: _read_files(reactor, settings).warnings,
        claim=_claim,
        fixed={
            "image_cache_dir": lambda settings: settings[StorageSettings].folder,
            "[cache] node_name": lambda settings: settings[CacheSettings].node_name,
        },
        furnish=partial(pass_on, reactor),
        faults=FRONT_FAULTS,
    )


def _claim(settings: Settings) -> Sequence[int]:
    """
    Take the cache folder, for all workers. Blocks.

    :return: What holds it.
    :raises FolderUnusable: It is not fit, or in use by another daemon.
    """
    return [CacheFolder(settings[StorageSettings].folder, FileOps()).take()]


@frozen
class _Files:
    """
    What other files than the configuration say.
    """

    identity: NodeIdentity
    managers: Managers
    tls: PortsTls
    upstream_tls: ClientTls
    redis_tls: ClientTls | None
    warnings: tuple[object, ...]
    watched: tuple[Source[Any], ...]

    def make_node(
        self,
        reactor: Any,
        settings: Settings,
        seat: int = FIRST_SEAT,
        join: Callable[[Metrics], Siblings | None] = lambda _: None,
    ) -> Node:
        """
        Make a process of a node; see `Node`.
        """
        return Node(
            reactor,
            settings,
            self.identity,
            self.managers,
            self.tls,
            self.upstream_tls,
            self.redis_tls,
            self.watched,
            seat,
            join,
        )


def _read_files(reactor: Any, settings: Settings) -> _Files:
    policy = load_policy(settings[PolicySettings], settings.folders)
    tls = PortsTls.of(settings)
    upstream_tls = ClientTls(settings[UpstreamSettings].tls_files)
    to_redis = redis_tls(settings[RedisSettings])
    strategy = make_strategy(settings, reactor)
    service_user = settings[ServiceUserSettings]
    account = None if service_user.auth_url is None else Account(service_user, reactor)
    identity = NodeIdentity(strategy, account)
    managers = Managers(None if strategy is None else strategy.identity, policy.policy)
    watched = (policy.source, *identity.watched(), *tls.watched())
    warnings = (*policy.warnings, *identity.warnings(), *tls.warnings(), *warn_of_trust(settings))
    return _Files(identity, managers, tls, upstream_tls, to_redis, warnings, watched)


class _Farewell(Service):
    """
    Ends the streams of events when the daemon is told to stop: ports wait for the end of every answer.
    """

    def __init__(self, events: Events) -> None:
        self._events = events

    def stopService(self) -> None:
        """
        Do so.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        self._events.stop()
