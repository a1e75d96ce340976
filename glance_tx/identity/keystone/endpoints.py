"""
Connections to Keystone that come and go without a word in the log.
"""

# Twisted left some of its endpoints untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from zope.interface import implementer

__all__ = ["QuietEndpoint"]


@implementer(IStreamClientEndpoint)
class QuietEndpoint:
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
