"""
An application on a real port, and a client that sends and reads plain bytes.
"""

from __future__ import annotations

from typing import Any, cast

from attrs import define
from twisted.internet import reactor as global_reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IListeningPort, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from glance_tx.telemetry.access import AccessRecord
from glance_tx.web.app import App
from glance_tx.web.connections import DrainingSite
from glance_tx.web.faults import FaultTable, Rule

reactor = cast(Any, global_reactor)


class Wire(Protocol):
    """
    A connection that keeps what it receives.
    """

    transport: ITCPTransport

    def __init__(self) -> None:
        self.received = b""
        self.closed: Failure | None = None
        self._waiting: list[tuple[bytes | None, Deferred[bytes]]] = []

    def send(self, data: bytes) -> None:
        self.transport.write(data)

    def until(self, text: bytes) -> Deferred[bytes]:
        """
        Wait until something was received.
        """
        return self._wait(text)

    def ended(self) -> Deferred[bytes]:
        """
        Wait until the server closed the connection.
        """
        return self._wait(None)

    def _wait(self, text: bytes | None) -> Deferred[bytes]:
        waiting: Deferred[bytes] = Deferred()
        self._waiting.append((text, waiting))
        self._check()
        return waiting.addTimeout(10, reactor)

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self._check()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.closed = reason
        self._check()

    def _check(self) -> None:
        for entry in list(self._waiting):
            text, waiting = entry
            if self.closed is not None or (text is not None and text in self.received):
                self._waiting.remove(entry)
                waiting.callback(self.received)


@define
class Answer:
    """
    One answer, taken apart.
    """

    status: int
    headers: dict[str, str]
    body: bytes

    @classmethod
    def parse(cls, data: bytes) -> Answer:
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.split(": ", 1) for line in lines)
        return cls(int(first.split()[1]), {name.lower(): value for name, value in pairs}, body)


class ServingTestCase(TestCase):
    """
    A test with an application on a port of its own.
    """

    FAULTS: dict[type[Exception], Rule] = {}

    def setUp(self) -> None:
        self.records: list[AccessRecord] = []
        self.app = self.make_app()
        self.port: IListeningPort = reactor.listenTCP(0, self.make_site(self.app), interface="127.0.0.1")
        self.addCleanup(self.port.stopListening)

    def make_app(self, **options: Any) -> App:
        self._recorded: list[Deferred[None]] = []
        return App(reactor, self.make_faults(), self.note, **options)

    def make_faults(self) -> FaultTable:
        return FaultTable(self.FAULTS)

    def make_site(self, app: App) -> DrainingSite:
        return DrainingSite(app.resource(), reactor, refuse=app.refuse)

    def note(self, record: AccessRecord) -> None:
        self.records.append(record)
        waiting, self._recorded = self._recorded, []
        for recorded in waiting:
            recorded.callback(None)

    async def record(self) -> AccessRecord:
        """
        Wait for the first access record.
        """
        if not self.records:
            recorded: Deferred[None] = Deferred()
            self._recorded.append(recorded)
            await recorded.addTimeout(10, reactor)
        return self.records[0]

    async def record_of(self, method: str, status: int) -> AccessRecord:
        """
        Wait for the record of a request with that outcome.
        """
        while True:
            for record in self.records:
                if (record.method, record.status) == (method, status):
                    return record
            recorded: Deferred[None] = Deferred()
            self._recorded.append(recorded)
            await recorded.addTimeout(10, reactor)

    async def connect(self) -> Wire:
        address = self.port.getHost()
        assert isinstance(address, IPv4Address)
        wire = await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", address.port), Wire())
        self.addCleanup(self._disconnect, wire)
        return wire

    def _disconnect(self, wire: Wire) -> Deferred[bytes]:
        wire.transport.abortConnection()
        return wire.ended()

    async def ask(
        self, method: str, target: str | bytes, headers: str = "", body: bytes = b"", version: str = "1.1"
    ) -> Answer:
        """
        Send one request and read its answer to the end of the connection.
        """
        wire = await self.connect()
        raw = target.encode() if isinstance(target, str) else target
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        tail = f" HTTP/{version}\r\nHost: localhost\r\nConnection: close\r\n{length}{headers}\r\n"
        wire.send(method.encode() + b" " + raw + tail.encode("latin-1") + body)
        return Answer.parse(await wire.ended())
