"""
Tests of connections that a parent makes to its workers.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IListeningPort, IStreamClientEndpoint, IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from glance_tx.workers.visits import Doorway, VisitEndpoint, VisitorsEndpoint


def open_sockets() -> int:
    links = []
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            links.append(path.readlink())
    return sum(str(link).startswith("socket:") for link in links)


class Echo(Protocol):
    """
    Says what it hears.
    """

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)  # type: ignore[union-attr]


class Caller(Protocol):
    """
    Says something, and waits for the answer and for the end.
    """

    def __init__(self) -> None:
        self.heard: Deferred[bytes] = Deferred()
        self.ended: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.heard.callback(data)

    def connectionLost(self, reason: Any = None) -> None:
        self.ended.callback(None)


class VisitTests(TestCase):
    """
    `Doorway` and the endpoints of both ends.
    """

    timeout = 60

    def setUp(self) -> None:
        from twisted.internet import reactor  # noqa: PLC0415  # importing it installs it

        self.reactor: Any = reactor
        self.doorway = Doorway()
        self.addCleanup(self.doorway.close)
        # As the process has it that is started with it.
        inside = VisitorsEndpoint(reactor, os.dup(self.doorway.theirs.fileno()))
        self.doorway.theirs.close()
        self.outside = VisitEndpoint(reactor, self.doorway.visit)
        verifyObject(IStreamServerEndpoint, inside)
        verifyObject(IStreamClientEndpoint, self.outside)
        self.port: Any = self.successResultOf(inside.listen(Factory.forProtocol(Echo)))
        verifyObject(IListeningPort, self.port)
        self.addCleanup(self.port.stopListening)

    async def test_many(self) -> None:
        """
        Each visit is a connection of its own, and leaves no descriptor behind.
        """
        sockets = open_sockets()
        callers: list[Any] = [await self.outside.connect(Factory.forProtocol(Caller)) for _ in range(5)]
        for number, caller in enumerate(callers):
            caller.transport.write(b"%d" % number)
        self.assertEqual([await caller.heard for caller in callers], [b"0", b"1", b"2", b"3", b"4"])
        self.assertEqual(open_sockets(), sockets + 10)
        for caller in callers:
            caller.transport.loseConnection()
            await caller.ended
        await self.until(lambda: open_sockets() == sockets)

    async def until(self, happened: Callable[[], bool]) -> None:
        while not happened():
            await deferLater(self.reactor, 0.01)

    async def test_nobody_there(self) -> None:
        """
        A worker that takes no visitors any more, or is gone, cannot be connected to.
        """
        self.port.stopListening()
        self.failureResultOf(self.outside.connect(Factory.forProtocol(Caller)), ConnectError)
        self.doorway.close()
        self.failureResultOf(self.outside.connect(Factory.forProtocol(Caller)), ConnectError)

    async def test_parent_gone(self) -> None:
        """
        When the parent is gone nothing is watched any more.
        """
        self.doorway.close()
        await self.until(lambda: not self.port.connected)
        self.assertEqual(self.port.fileno(), -1)
