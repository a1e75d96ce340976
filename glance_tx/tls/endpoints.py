"""
Where an HTTP agent connects to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.web.client import URI
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from glance_tx.tls.client import ClientTls

__all__ = ["HttpEndpoints"]


@implementer(IAgentEndpointFactory)
class HttpEndpoints:
    """
    Makes the endpoint for a URL, with TLS where it is ``https``.

    :param tls: Whom we believe.
    :param connect_seconds: How long one attempt to connect may take.
    :param wrap: Put around each endpoint.
    """

    def __init__(
        self,
        reactor: Any,
        tls: ClientTls,
        connect_seconds: float,
        wrap: Callable[[IStreamClientEndpoint], IStreamClientEndpoint],
    ) -> None:
        self._reactor = reactor
        self._tls = tls
        self._connect_seconds = connect_seconds
        self._wrap = wrap

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """
        See ``IAgentEndpointFactory.endpointForURI``.
        """
        endpoint: IStreamClientEndpoint = HostnameEndpoint(
            self._reactor, uri.host, uri.port, timeout=self._connect_seconds
        )
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(self._tls.to(uri.host.decode("ascii")), endpoint)
        return self._wrap(endpoint)
