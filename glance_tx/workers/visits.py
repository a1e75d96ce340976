"""
Connections that a parent makes to its workers.

Note [Visits]

What operators ask at the parent's port, and only a worker knows, the parent asks a worker, by an ordinary connection.
The worker gets its end of it through a socket that it has had since its start: so there is no address that somebody
else could connect to, no name that could be taken, no file that is left behind, and it is the parent who says which
worker it is. Both ends go with the process that has them.
"""

# Twisted left the methods of its ports and factories untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["Doorway", "VisitEndpoint", "VisitorsEndpoint"]


class Doorway:
    """
    The parent's end of the way to one worker. See Note [Visits].

    :ivar theirs: The other end, for the worker to be started with; to be closed here afterwards.
    """

    def __init__(self) -> None:
        self._ours, self.theirs = socket.socketpair()
        # A worker that does not take its visitors is busy with something else: nobody waits for it.
        self._ours.setblocking(False)  # noqa: FBT003  # the library's form

    def visit(self) -> socket.socket:
        """
        Make a connection to the worker.

        :raises OSError: It cannot be had.
        """
        here, there = socket.socketpair()
        try:
            socket.send_fds(self._ours, [b"!"], [there.fileno()])
        except OSError:
            here.close()
            raise
        finally:
            there.close()
        here.setblocking(False)  # noqa: FBT003
        return here

    def close(self) -> None:
        """
        Let go. Harmless when repeated.
        """
        self._ours.close()
        self.theirs.close()


@implementer(IStreamClientEndpoint)
@frozen
class VisitEndpoint:
    """
    Leads from the parent to a worker.

    :param visit: Makes the connection; raises `OSError`.
    """

    reactor: Any
    visit: Callable[[], socket.socket]

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803  # Twisted's name
        """
        See ``IStreamClientEndpoint.connect``.
        """
        try:
            connection = self.visit()
        except OSError as error:
            return fail(ConnectError(string=error.strerror or str(error)))
        made = _Made(protocolFactory)
        with connection:  # Twisted works with a descriptor of its own
            self.reactor.adoptStreamConnection(connection.fileno(), socket.AF_UNIX, made)
        return succeed(made.protocol)


class _Made(Factory):
    """
    Remembers the protocol of the one connection that it is for.
    """

    protocol: Any = None

    def __init__(self, factory: IProtocolFactory) -> None:
        self._factory: Any = factory

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """
        See ``IProtocolFactory.buildProtocol``.
        """
        self.protocol = self._factory.buildProtocol(addr)
        return self.protocol


@implementer(IStreamServerEndpoint)
@frozen
class VisitorsEndpoint:
    """
    Where a worker receives its parent, as a place to listen on.

    :param descriptor: Of the socket that it was started with; belongs to the port that listens.
    """

    reactor: Any
    descriptor: int

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:  # noqa: N803  # Twisted's name
        """
        See ``IStreamServerEndpoint.listen``.
        """
        port = _VisitorsPort(self.reactor, self.descriptor, protocolFactory)
        port.startListening()
        return succeed(port)


@implementer(IListeningPort)
class _VisitorsPort(FileDescriptor):
    """
    Takes connections as they come.
    """

    def __init__(self, reactor: Any, descriptor: int, factory: IProtocolFactory) -> None:
        super().__init__(reactor)
        self._adopt = reactor.adoptStreamConnection
        self._socket = socket.socket(fileno=descriptor)
        self._socket.setblocking(False)  # noqa: FBT003
        self._factory = factory

    def startListening(self) -> None:
        """
        See ``IListeningPort.startListening``.
        """
        self.connected = 1
        self.startReading()

    def stopListening(self) -> None:
        """
        See ``IListeningPort.stopListening``.
        """
        if self.connected:
            self.stopReading()
            self.connectionLost(Failure(CONNECTION_DONE))

    def fileno(self) -> int:
        """
        Tell which descriptor the reactor is to watch.
        """
        return self._socket.fileno()

    def doRead(self) -> Exception | None:
        """
        Take one connection.
        """
        try:
            said, descriptors, _, _ = socket.recv_fds(self._socket, 1, 1)
        except BlockingIOError:
            return None
        for descriptor in descriptors:
            try:
                os.set_inheritable(descriptor, False)  # noqa: FBT003
                os.set_blocking(descriptor, False)
                self._adopt(descriptor, socket.AF_UNIX, self._factory)
            finally:
                os.close(descriptor)
        # The parent is gone, which others notice, too.
        return None if said else CONNECTION_DONE

    def connectionLost(self, reason: Failure) -> None:
        """
        Take no more.
        """
        super().connectionLost(reason)
        self._socket.close()

    def getHost(self) -> IAddress:
        """
        See ``IListeningPort.getHost``.
        """
        return UNIXAddress(None)
