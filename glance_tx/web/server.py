"""
A site on a port, as a service: listen, drain, stop.
"""

# Twisted left the methods of its services untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

import ipaddress
import socket
from typing import Any, Final

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import (
    AdoptedStreamServerEndpoint,
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    serverFromString,
)
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IOpenSSLServerConnectionCreator,
    IReactorTCP,
    IReactorTime,
    IStreamServerEndpoint,
)
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from glance_tx.web.connections import DrainingSite
from glance_tx.web.errors import ListenFailed

__all__ = ["BACKLOG", "Inherited", "WebService", "adopted_endpoint", "tcp_endpoint"]

BACKLOG: Final = 4096
"""
Connections that may wait to be accepted: a thousand hosts may start at once. The kernel has the last word
(net.core.somaxconn).
"""

# A peer that vanished without a word is noticed after two minutes; the kernel's own default is two hours.
_KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))


def tcp_endpoint(reactor: IReactorTCP, host: str, port: int, backlog: int = BACKLOG) -> IStreamServerEndpoint:
    """
    Name a place to listen on.

    :param host: An IPv4 or IPv6 address, the latter with or without brackets, or a name that leads to IPv4; empty
        for all IPv4 addresses.
    :param port: 0 takes any free one.
    """
    address = host.removeprefix("[").removesuffix("]")
    endpoint = TCP6ServerEndpoint if _is_ipv6(address) else TCP4ServerEndpoint
    made: IStreamServerEndpoint = endpoint(reactor, port, backlog, address)
    return made


@frozen
class Inherited:
    """
    A listening socket that the parent of this process opened.

    :param descriptor: Its number here.
    :param family: Of its address, as `socket.AF_INET`.
    """

    descriptor: int
    family: int


def adopted_endpoint(reactor: Any, inherited: Inherited) -> IStreamServerEndpoint:
    """
    Name an inherited socket as a place to listen on, which can be done once: it belongs to the endpoint then.
    """
    made: IStreamServerEndpoint = AdoptedStreamServerEndpoint(reactor, inherited.descriptor, inherited.family)
    return made


class WebService(Service):
    """
    Serves a site while it runs.

    Stopping closes the port at once, lets the answers under way go out, and cuts what is left after a while.

    :param endpoint: Where to listen: an endpoint, or its description in Twisted's language (``tcp:9292``).
    :param drain_seconds: How long answers under way may take once the service is told to stop.
    :param tls: Makes TLS of every connection; ``None`` for plain HTTP.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        endpoint: IStreamServerEndpoint | str,
        site: DrainingSite,
        *,
        drain_seconds: float,
        tls: IOpenSSLServerConnectionCreator | None = None,
    ) -> None:
        self._clock: IReactorTime = reactor
        self._endpoint = serverFromString(reactor, endpoint) if isinstance(endpoint, str) else endpoint
        self._site = site
        # Not an endpoint's business: sockets may come from elsewhere.
        self._factory = site if tls is None else TLSMemoryBIOFactory(tls, False, site, reactor)  # noqa: FBT003
        self._drain_seconds = drain_seconds
        self._port: IListeningPort | None = None

    @property
    def address(self) -> IAddress:
        """
        The address that is served, with the port's real number.

        :raises RuntimeError: The service does not listen.
        """
        if self._port is None:
            raise RuntimeError("the service does not listen")
        return self._port.getHost()

    def privilegedStartService(self) -> None:
        """
        Begin to listen, while that is permitted for low ports too.

        :raises ListenFailed: The address cannot be had.
        """
        super().privilegedStartService()
        self._listen()

    def startService(self) -> None:
        """
        Begin to listen, unless that happened already.

        :raises ListenFailed: The address cannot be had.
        """
        if self._port is None:
            self._listen()
        super().startService()

    def stopService(self) -> Deferred[None]:
        """
        Stop listening, and drain.

        :return: Fires when no connection is left.
        """
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    def _listen(self) -> None:
        failures: list[Failure] = []
        # Every endpoint that listens at all does so at once; a Deferred is their form, not a wait.
        self._endpoint.listen(self._factory).addCallbacks(self._listening, failures.append)
        if failures:
            raise _listen_failed(failures[0])
        if self._port is None:
            raise ListenFailed(repr(self._endpoint), "it does not listen at once")

    def _listening(self, port: IListeningPort) -> None:
        self._port = port
        if self._site.admission is not None and isinstance(port, FileDescriptor):
            self._site.admission.guard(port)
        _tune(getattr(port, "socket", None))
        self.log.info("serving on {address}", address=port.getHost())

    async def _stop(self) -> None:
        port, self._port = self._port, None
        if port is None:
            return
        if self._site.admission is not None and isinstance(port, FileDescriptor):
            self._site.admission.leave(port)
        closed = maybeDeferred(port.stopListening)
        drained = self._site.drain()
        timer = self._clock.callLater(self._drain_seconds, self._cut)
        try:
            await drained
        finally:
            if timer.active():
                timer.cancel()
        await closed

    def _cut(self) -> None:
        self.log.warn(
            "{count} connections did not end within {seconds} s and are cut",
            count=self._site.connection_count,
            seconds=self._drain_seconds,
        )
        self._site.drop_all()


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False


def _tune(listening: socket.socket | None) -> None:
    # Linux gives a listening socket's options to every connection it accepts.
    if listening is not None and listening.family in {socket.AF_INET, socket.AF_INET6}:
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            listening.setsockopt(socket.IPPROTO_TCP, option, value)


def _listen_failed(reason: Failure) -> ListenFailed:
    exc = reason.value
    if not isinstance(exc, CannotListenError):
        reason.raiseException()
    host = exc.interface or "*"
    cause = exc.socketError.strerror if isinstance(exc.socketError, OSError) else exc.socketError
    return ListenFailed(f"{host}:{exc.port}", str(cause))
