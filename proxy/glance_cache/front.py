"""
The port for operators where there are several workers: the parent has it, and knows nothing of the cache.

What it does not answer itself it passes on to a worker (see Note [Visits]), as it came, which asks for the same tokens
and goes by the same policy as a single process. It is the same worker for as long as that serves: who has just changed
something sees that.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Final

from attrs import frozen
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.web.client import URI
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from glance_cache.agent import exact_agent
from glance_cache.client import UpstreamClient, UpstreamTimes
from glance_cache.errors import UpstreamUnavailable
from glance_cache.links import Links
from glance_cache.passthrough import PassThrough
from glance_tx.errors import FactualError
from glance_tx.web.app import App
from glance_tx.web.endpoint import PublicEndpoint
from glance_tx.web.faults import Fault, FaultTable
from glance_tx.web.request import Request
from glance_tx.web.response import Response
from glance_tx.workers.visits import VisitEndpoint

__all__ = ["FRONT_FAULTS", "pass_on"]

_BASE: Final = "http://worker"

_TIMES: Final = UpstreamTimes(head=24 * 3600.0, stall=24 * 3600.0)
"""The worker has its own deadlines, and knows what takes long; one that hangs is ended by its parent."""


@frozen
class WorkerUnavailable(FactualError):
    """
    No worker answered.
    """

    message = "no worker answers what the parent passes on"


@implementer(IAgentEndpointFactory)
@frozen
class _ToWorkers:
    reactor: Any
    visit: Callable[[], socket.socket]

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """
        See ``IAgentEndpointFactory.endpointForURI``.
        """
        return VisitEndpoint(self.reactor, self.visit)


def pass_on(reactor: Any, app: App, visit: Callable[[], socket.socket]) -> None:
    """
    Have an application pass on what it has no route for.

    :param visit: Connects to a worker; raises `OSError`.
    """
    client = UpstreamClient(exact_agent(reactor, _ToWorkers(reactor, visit)), reactor, [_BASE], _TIMES)
    passthrough = PassThrough(client, Links(PublicEndpoint(None), ()))

    async def relay(request: Request) -> Response:
        try:
            return await passthrough.relay(request)
        except UpstreamUnavailable as error:
            raise WorkerUnavailable from error

    app.fallback(relay)


def _no_worker(_: WorkerUnavailable) -> Fault:
    return Fault(503, explanation="No worker can answer this now.", headers=(("Retry-After", "5"),))


FRONT_FAULTS: Final = FaultTable({WorkerUnavailable: _no_worker})
"""What becomes of exceptions there."""
