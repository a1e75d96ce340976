"""
The way to the upstream, as it is configured.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.web.client import HTTPConnectionPool

from glance_cache.agent import UpstreamAgent
from glance_cache.client import UpstreamClient, UpstreamTimes
from glance_cache.options import UpstreamSettings
from glance_tx.tls.client import ClientTls

__all__ = ["make_client", "make_connections"]

_KEPT_CONNECTIONS: Final = 16
"""Idle connections to one upstream. Each fill needs one, and so does each request that is passed on."""

_KEPT_SECONDS: Final = 45
"""For how long, at most: shorter than servers keep them, which is a minute for most."""


def make_connections(reactor: Any) -> HTTPConnectionPool:
    """
    Make what keeps connections for the next request.
    """
    connections = HTTPConnectionPool(reactor)
    connections.maxPersistentPerHost = _KEPT_CONNECTIONS
    connections.cachedConnectionTimeout = _KEPT_SECONDS
    return connections


def make_client(
    reactor: Any,
    connections: HTTPConnectionPool,
    settings: UpstreamSettings,
    tls: ClientTls,
    told: Callable[[str, bool], None],
    answered: Callable[[], None],
) -> UpstreamClient:
    """
    Make the client.

    :param told: Called with the URL of an upstream, and whether it works, when that changes.
    :param answered: Called for each answer of an upstream that is not in trouble.
    """
    agent = UpstreamAgent(reactor, connections, float(settings.connect_seconds), tls)
    times = UpstreamTimes(
        float(settings.head_seconds),
        float(settings.stall_seconds),
        float(settings.progress_window_seconds),
        settings.progress_bytes,
        float(settings.longest_rest_seconds),
    )
    return UpstreamClient(agent, reactor, settings.urls, times, told, answered)
