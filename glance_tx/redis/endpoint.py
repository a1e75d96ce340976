"""
Ways to a Redis: to its address, or to whichever server is the primary by the word of Sentinels.
"""

from __future__ import annotations

from typing import Any, Final, cast

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeadlinePassed
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from txredisapi import RedisError, RedisProtocol
from zope.interface import implementer

from glance_tx.redis.address import RedisAddress, Sentinels
from glance_tx.tls.client import ClientTls

__all__ = ["make_endpoint"]

_ASK_SECONDS: Final = 2.0
"""For one Sentinel to answer, connecting included: it has nothing to do but that, and there are others."""


def make_endpoint(
    reactor: Any, address: RedisAddress, timeout_seconds: float, tls: ClientTls | None
) -> IStreamClientEndpoint:
    """
    Make an endpoint that leads to a Redis.

    :param timeout_seconds: For an attempt to connect to it.
    :param tls: For an address of TLS.
    :raises ValueError: The address is one of TLS, and there is none for it.
    """
    if address.tls and tls is None:
        raise ValueError("no TLS for an address of TLS")  # the password would go out in the clear
    ways = _Ways(reactor, tls if address.tls else None)
    if address.sentinels is not None:
        return _PrimaryEndpoint(ways, address.sentinels, timeout_seconds)
    return ways.to(address.host, address.port, timeout_seconds)


class _Ways:
    def __init__(self, reactor: Any, tls: ClientTls | None) -> None:
        self.reactor = reactor
        self._tls = tls

    def to(self, host: str, port: int, timeout_seconds: float) -> IStreamClientEndpoint:
        endpoint: IStreamClientEndpoint = HostnameEndpoint(self.reactor, host, port, timeout_seconds)
        return endpoint if self._tls is None else wrapClientTLS(self._tls.to(host), endpoint)


class _Question(RedisProtocol):  # type: ignore[misc]  # the library has no types
    """
    A connection to a Sentinel. It greets nobody by itself, as the library's factories are made for other uses.
    """

    def __init__(self) -> None:
        super().__init__(convertNumbers=False)

    def connectionMade(self) -> None:
        pass


class _OneShot(Factory):
    noisy = False  # or each attempt would be in the log

    def buildProtocol(self, addr: object) -> _Question:
        return _Question()


@implementer(IStreamClientEndpoint)
class _PrimaryEndpoint:
    """
    Leads to the primary of the moment, which is asked for each time.

    A Sentinel may be late, so that this leads to a server that is no primary any more: that one refuses to be written
    to, and hangs up when it learns of it.
    """

    def __init__(self, ways: _Ways, sentinels: Sentinels, timeout_seconds: float) -> None:
        self._ways = ways
        self._sentinels = sentinels
        self._timeout_seconds = timeout_seconds
        self._order = list(sentinels.addresses)

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803  (the interface's)
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        host, port = await self._find()
        return await self._ways.to(host, port, self._timeout_seconds).connect(factory)

    async def _find(self) -> tuple[str, int]:
        reasons = []
        for sentinel in tuple(self._order):
            try:
                primary = await Deferred.fromCoroutine(self._ask(*sentinel)).addTimeout(
                    _ASK_SECONDS, self._ways.reactor
                )
            except (ConnectError, OSError, RedisError, DeadlinePassed) as error:
                reasons.append(f"{sentinel[0]}:{sentinel[1]}: {error or type(error).__name__}")
                # The one that answers is asked first the next time.
                self._order.remove(sentinel)
                self._order.append(sentinel)
            else:
                return primary
        raise ConnectError(string=f"no Sentinel knows {self._sentinels.primary} ({'; '.join(reasons)})")

    async def _ask(self, host: str, port: int) -> tuple[str, int]:
        connecting = self._ways.to(host, port, _ASK_SECONDS).connect(_OneShot())
        question = cast(_Question, await connecting)
        try:
            if self._sentinels.password is not None:
                await question.auth(self._sentinels.password, self._sentinels.username)
            answer = await question.execute_command("SENTINEL", "get-master-addr-by-name", self._sentinels.primary)
        finally:
            question.transport.abortConnection()
        match answer:
            case [str(primary_host), str(primary_port)] if primary_port.isdecimal():
                return primary_host, int(primary_port)
            case _:
                raise RedisError("it does not know that name")
