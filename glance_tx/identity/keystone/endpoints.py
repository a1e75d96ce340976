"""
Connections to Keystone that come and go without a word in the log.
"""

# Twisted left some of its endpoints untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.web.client import URI
from twisted.web.iweb import IAgentEndpointFactory, IPolicyForHTTPS
from zope.interface import implementer

__all__ = ["QuietEndpoints"]


@implementer(IStreamClientEndpoint)
class _Quiet:
    """
    Connects as another endpoint does. The factories of Twisted's client say that they start and stop, each time.
    """

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803
        """
        See ``IStreamClientEndpoint.connect``.
        """
        factory: Any = protocolFactory
        factory.noisy = False
        return self._endpoint.connect(protocolFactory)


@implementer(IAgentEndpointFactory)
class QuietEndpoints:
    """
    Makes the endpoint for a URL.

    :param connect_seconds: How long one attempt to connect may take.
    """

    def __init__(self, reactor: Any, tls: IPolicyForHTTPS, connect_seconds: float) -> None:
        self._reactor = reactor
        self._tls = tls
        self._connect_seconds = connect_seconds

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """
        See ``IAgentEndpointFactory.endpointForURI``.
        """
        endpoint: IStreamClientEndpoint = HostnameEndpoint(
            self._reactor, uri.host, uri.port, timeout=self._connect_seconds
        )
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(self._tls.creatorForNetloc(uri.host, uri.port), endpoint)
        return _Quiet(endpoint)
