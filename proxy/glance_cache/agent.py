"""
Connections to upstreams, and requests that go out as they came in.

Note [Exact targets]

Twisted's agent takes a URL apart and puts it together again, which loses an empty query, and slashes or adds some
where a path begins with two. A request passed on must reach the upstream as its client wrote it, so the agent here
takes its target from the URL as it stands. For that it calls two methods of ``Agent`` behind Twisted's fence, which
``test_agent`` holds: ``_getEndpoint`` and ``_requestWithEndpoint``.
"""

# Twisted left the methods of its agents untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

from typing import Final, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorCore, IStreamClientEndpoint
from twisted.web.client import URI, Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from glance_cache.connection import ConnectionFactory, UpstreamConnection
from glance_tx.streaming.units import KiB
from glance_tx.tls.client import ClientTls
from glance_tx.tls.endpoints import HttpEndpoints

__all__ = ["READ_BYTES", "UpstreamAgent", "exact_agent"]

READ_BYTES: Final = 256 * KiB
"""Taken from a socket at once; Twisted's own 64 KiB cost a sixth more processor time on a fill."""

_REPEATABLE: Final = frozenset({b"GET", b"HEAD", b"OPTIONS"})
"""Requests that may be sent again where a kept connection turns out to be closed."""


@implementer(IStreamClientEndpoint)
class _Endpoint:
    """
    Connects as another endpoint does, with connections of our kind that read much at once.
    """

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803
        """
        See ``IStreamClientEndpoint.connect``.
        """
        return self._endpoint.connect(ConnectionFactory(protocolFactory)).addCallback(self._unwrap)

    @staticmethod
    def _unwrap(protocol: IProtocol) -> IProtocol:
        connection = cast(UpstreamConnection, protocol)
        # A TLS protocol forwards the attribute to nobody, where it does no harm.
        connection.transport.bufferSize = READ_BYTES
        return connection.wrappedProtocol


class _ExactAgent(Agent):
    """
    An agent that sends the target of a URL as it stands. See Note [Exact targets].
    """

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,  # noqa: N803
    ) -> Deferred[IResponse]:
        """
        See ``IAgent.request``.
        """
        parsed = URI.fromBytes(uri)
        key = (parsed.scheme, parsed.host, parsed.port)
        target = b"/" + uri.split(b"/", 3)[3]
        return self._requestWithEndpoint(key, self._getEndpoint(parsed), method, parsed, headers, bodyProducer, target)


def exact_agent(reactor: IReactorCore, endpoints: IAgentEndpointFactory) -> IAgent:
    """
    Make an agent that sends each request as it is, by a connection of its own.
    """
    agent = _ExactAgent.usingEndpointFactory(reactor, endpoints, HTTPConnectionPool(reactor, persistent=False))
    return cast(IAgent, agent)


@implementer(IAgent)
class UpstreamAgent:
    """
    Sends requests to upstreams, as they are: no cookie jar, no redirects followed, no bodies decoded.

    What may be sent twice goes by connections that are kept, and is sent again, by Twisted, where the upstream has
    just closed one. Everything else gets a connection of its own: nobody could tell whether the upstream did it.

    :param pool: Keeps connections.
    :param connect_seconds: How long one attempt to connect may take.
    :param tls: For addresses with https: whom we believe, and who we are.
    """

    def __init__(self, reactor: IReactorCore, pool: HTTPConnectionPool, connect_seconds: float, tls: ClientTls) -> None:
        endpoints = HttpEndpoints(reactor, tls, connect_seconds, _Endpoint)
        self._keeping = _ExactAgent.usingEndpointFactory(reactor, endpoints, pool)
        self._fresh = exact_agent(reactor, endpoints)

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,  # noqa: N803
    ) -> Deferred[IResponse]:
        """
        See ``IAgent.request``.

        :param uri: With a slash after the authority.
        """
        repeatable = method in _REPEATABLE and bodyProducer is None
        agent = self._keeping if repeatable else self._fresh
        return cast("Deferred[IResponse]", agent.request(method, uri, headers, bodyProducer))
