"""
An account at a Keystone: connections, and a token of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from twisted.web.client import Agent, HTTPConnectionPool

from glance_tx.identity.keystone.endpoints import QuietEndpoint
from glance_tx.identity.keystone.http import KeystoneHttp
from glance_tx.identity.keystone.options import CredentialSettings
from glance_tx.identity.keystone.own import OwnToken
from glance_tx.identity.keystone.tls import read_tls
from glance_tx.settings import Problem
from glance_tx.tls.endpoints import HttpEndpoints

__all__ = ["Account"]

_KEPT_CONNECTIONS: Final = 8
_KEPT_SECONDS: Final = 45
"""Shorter than servers keep connections, most of them a minute."""


class Account:
    """
    An account, to be asked for its token, and Keystone, over connections that are kept. Making one reads files: do
    it before the reactor runs.

    :raises SettingsError: Its certificates cannot be used.
    """

    def __init__(self, settings: CredentialSettings, reactor: Any) -> None:
        self._settings = settings
        self._connections = HTTPConnectionPool(reactor)
        self._connections.maxPersistentPerHost = _KEPT_CONNECTIONS
        self._connections.cachedConnectionTimeout = _KEPT_SECONDS
        endpoints = HttpEndpoints(reactor, read_tls(settings), settings.timeout_seconds, QuietEndpoint)
        agent = Agent.usingEndpointFactory(reactor, endpoints, self._connections)
        self.http = KeystoneHttp(agent, reactor, settings)
        self.token = OwnToken(self.http, settings, reactor)

    def warnings(self) -> Iterator[Problem]:
        """
        List what is to be said of its configuration.
        """
        url = self._settings.auth_url or ""
        if self._settings.insecure and url.startswith("https:"):
            yield Problem(
                "whoever answers at auth_url is believed, whatever certificate it shows; set cafile instead",
                section=self._settings.GROUP,
                option="insecure",
            )

    async def stop(self) -> None:
        """
        Ask no more, and close connections.
        """
        self.token.stop()
        await self._connections.closeCachedConnections()
