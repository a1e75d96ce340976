"""
The caching tier, put together: ``twistd glance-cache``.
"""

from __future__ import annotations

from twisted.application.service import IService, Service

from glance_cache.configuration import GLANCE_CACHE
from glance_cache.events import Events
from glance_cache.managers import Managers
from glance_cache.node import Node, NodeIdentity
from glance_cache.options import UpstreamSettings
from glance_tx.errors import FactualError
from glance_tx.identity.keystone.account import Account
from glance_tx.identity.keystone.options import ServiceUserSettings
from glance_tx.identity.strategies import make_strategy
from glance_tx.policy.files import load_policy
from glance_tx.policy.options import PolicySettings
from glance_tx.redis.options import redis_tls
from glance_tx.settings.daemon import LogSettings, RedisSettings
from glance_tx.tls.client import ClientTls
from glance_tx.web.daemon import Daemon, DaemonOptions, load_or_exit, refuse_to_start
from glance_tx.web.ports import PortsTls
from glance_tx.web.proxies import warn_of_trust

__all__ = ["Options", "makeService"]


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
    try:
        policy = load_policy(settings[PolicySettings], settings.folders)
        tls = PortsTls.of(settings)
        upstream_tls = ClientTls(settings[UpstreamSettings].tls_files)
        to_redis = redis_tls(settings[RedisSettings])
        strategy = make_strategy(settings, reactor)
        service_user = settings[ServiceUserSettings]
        account = None if service_user.auth_url is None else Account(service_user, reactor)
    except FactualError as error:
        refuse_to_start(GLANCE_CACHE.name, str(error))
    identity = NodeIdentity(strategy, account)
    watched = (policy.source, *identity.watched(), *tls.watched())
    managers = Managers(None if strategy is None else strategy.identity, policy.policy)
    node = Node(reactor, settings, identity, managers, tls, upstream_tls, to_redis, watched)
    warnings = (
        *loaded.warnings,
        *policy.warnings,
        *identity.warnings(),
        *tls.warnings(),
        *warn_of_trust(settings),
    )
    daemon = Daemon(reactor, GLANCE_CACHE.name, settings[LogSettings], warnings, node.parts(), node.edge.ports())
    _Farewell(node.events).setServiceParent(daemon)  # type: ignore[no-untyped-call]
    return daemon


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
