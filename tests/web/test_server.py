"""
A site is served on a port, and left without cutting anybody off who is about to finish.
"""

from __future__ import annotations

import socket
from typing import Any

from attrs import define, field
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IConsumer
from twisted.internet.task import deferLater
from twisted.trial.unittest import SkipTest, TestCase
from zope.interface import implementer

from glance_tx.streaming.interfaces import IBodyProducer
from glance_tx.telemetry.access import AccessRecord
from glance_tx.telemetry.metrics import Metrics
from glance_tx.web.admission import Admission
from glance_tx.web.app import App
from glance_tx.web.connections import DrainingSite
from glance_tx.web.errors import ListenFailed
from glance_tx.web.faults import FaultTable
from glance_tx.web.request import Request
from glance_tx.web.response import Response
from glance_tx.web.server import WebService, tcp_endpoint
from tests.web.serving import Wire, reactor

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@implementer(IBodyProducer)
@define
class HeldBody:
    """
    A body of ten bytes, whose second half comes when it is told to.
    """

    length: int = 10
    consumer: IConsumer | None = None
    done: Deferred[None] = field(factory=Deferred)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        self.consumer = consumer
        consumer.write(b"first")
        return self.done

    def finish(self) -> None:
        assert self.consumer is not None
        self.consumer.write(b"later")
        self.done.callback(None)

    def pauseProducing(self) -> None:
        pass

    def resumeProducing(self) -> None:
        pass

    def stopProducing(self) -> None:
        pass


class WebServiceTests(TestCase):
    """
    `WebService` listens, drains and stops.
    """

    def setUp(self) -> None:
        self.records: list[AccessRecord] = []
        self.body = HeldBody()
        app = App(reactor, FaultTable({}), self.records.append)
        app.add("GET", "/", self.held)
        app.add("GET", "/quick", self.quick)
        self.site = DrainingSite(app.resource(), reactor, refuse=app.refuse)

    async def held(self, request: Request) -> Response:
        return Response(200, (), self.body)

    async def quick(self, request: Request) -> Response:
        return Response(200, (), b"quick")

    def make_service(self, endpoint: Any = None, drain_seconds: float = 3600.0) -> WebService:
        return WebService(
            reactor, endpoint or tcp_endpoint(reactor, "127.0.0.1", 0), self.site, drain_seconds=drain_seconds
        )

    def start(self, service: WebService) -> WebService:
        service.privilegedStartService()
        service.startService()
        self.addCleanup(self.finish, service)
        return service

    def finish(self, service: WebService) -> Deferred[None] | None:
        self.site.drop_all()
        return service.stopService() if service.running else None

    async def connect(self, service: WebService) -> Wire:
        address = service.address
        assert isinstance(address, IPv4Address | IPv6Address)
        client = TCP6ClientEndpoint if isinstance(address, IPv6Address) else TCP4ClientEndpoint
        wire: Wire = await connectProtocol(client(reactor, address.host, address.port), Wire())
        self.addCleanup(wire.transport.abortConnection)
        return wire

    async def test_serves(self) -> None:
        """
        A running service answers at the address that it tells.
        """
        service = self.start(self.make_service())
        wire = await self.connect(service)
        wire.send(b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertIn(b"200 OK", await wire.until(b"quick"))

    async def test_too_many(self) -> None:
        """
        Whoever comes when there are too many connections waits, on whichever port, and is served when one of them ends.
        """
        metrics = Metrics("test")
        self.site.admission = Admission(2, metrics)
        services = [self.start(self.make_service()) for _ in range(2)]
        kept = [await self.connect(service) for service in services]
        for wire in kept:
            wire.send(b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n")
            await wire.until(b"quick")
        waiting = [await self.connect(service) for service in services]
        for wire in waiting:
            wire.send(b"GET /quick HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await deferLater(reactor, 0.05)
        self.assertEqual((self.site.connection_count, [wire.received for wire in waiting]), (2, [b"", b""]))
        kept[0].transport.loseConnection()
        for wire in waiting:
            self.assertIn(b"200 OK", await wire.ended())
        found = {s.name: s.value for m in metrics.collect() for s in m.samples}
        self.assertGreaterEqual(found["test_accept_pauses_total"], 1)
        self.assertEqual((found["test_connections"], found["test_connections_max"]), (1, 2))

    async def test_stops_while_full(self) -> None:
        """
        A service that lets nobody in stops as any other, and another one that shares its limit goes on.
        """
        self.site.admission = Admission(1, Metrics("test"))
        stopping, going_on = (self.start(self.make_service()) for _ in range(2))
        wire = await self.connect(stopping)
        wire.send(b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n")
        await wire.until(b"quick")
        await stopping.stopService()
        other = await self.connect(going_on)
        other.send(b"GET /quick HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        self.assertIn(b"200 OK", await other.ended())

    async def test_ipv6(self) -> None:
        """
        An IPv6 address is served as well, with brackets or without.
        """
        try:
            with socket.socket(socket.AF_INET6) as probe:
                probe.bind(("::1", 0))
        except OSError as exc:
            raise SkipTest("this machine has no IPv6") from exc
        for host in ("::1", "[::1]"):
            service = self.start(self.make_service(tcp_endpoint(reactor, host, 0)))
            wire = await self.connect(service)
            wire.send(b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n")
            await wire.until(b"quick")
            wire.transport.loseConnection()
            await service.stopService()

    async def test_endpoint_description(self) -> None:
        """
        An endpoint may be given in Twisted's language.
        """
        service = self.start(self.make_service("tcp:0:interface=127.0.0.1"))
        wire = await self.connect(service)
        wire.send(b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n")
        await wire.until(b"quick")

    def test_taken(self) -> None:
        """
        A taken port is an error that names address and reason.
        """
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            service = self.make_service(tcp_endpoint(reactor, "127.0.0.1", port))
            exc = self.assertRaises(ListenFailed, service.privilegedStartService)
        self.assertEqual(str(exc), f"cannot listen on 127.0.0.1:{port}: Address already in use")

    def test_foreign_address(self) -> None:
        """
        An address of another machine is such an error too.
        """
        service = self.make_service(tcp_endpoint(reactor, "192.0.2.1", 0))
        self.assertRaises(ListenFailed, service.startService)

    def test_no_address(self) -> None:
        """
        There is no address before the start.
        """
        service = self.make_service()
        with self.assertRaises(RuntimeError):
            _ = service.address

    async def test_stop_idle(self) -> None:
        """
        Stopping ends idle connections at once, and lets nobody in.
        """
        service = self.start(self.make_service())
        address = service.address
        assert isinstance(address, IPv4Address)
        wire = await self.connect(service)
        wire.send(b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n")
        await wire.until(b"quick")
        await service.stopService()
        await wire.ended()
        with socket.socket() as late:
            self.assertNotEqual(late.connect_ex(("127.0.0.1", address.port)), 0)

    async def test_stop_drains(self) -> None:
        """
        An answer under way goes out whole before the service is stopped; then its connection ends.
        """
        service = self.start(self.make_service())
        idle = await self.connect(service)
        wire = await self.connect(service)
        wire.send(GET)
        await wire.until(b"first")
        stopped: list[None] = []
        stopping = service.stopService()
        stopping.addCallback(stopped.append)
        await idle.ended()
        self.assertEqual((stopped, wire.closed), ([], None))
        self.body.finish()
        await stopping
        self.assertTrue((await wire.ended()).endswith(b"firstlater"))
        self.assertEqual([record.complete for record in self.records], [True])

    async def test_stop_cuts(self) -> None:
        """
        An answer that takes too long is cut, and counts as broken.
        """
        service = self.start(self.make_service(drain_seconds=0.05))
        wire = await self.connect(service)
        wire.send(GET)
        await wire.until(b"first")
        await service.stopService()
        self.assertTrue((await wire.ended()).endswith(b"first"))
        self.assertEqual([(record.status, record.complete) for record in self.records], [(200, False)])

    async def test_stop_never_started(self) -> None:
        """
        A service that never listened stops at once.
        """
        await self.make_service().stopService()

    async def test_again(self) -> None:
        """
        A stopped service may start again.
        """
        service = self.start(self.make_service())
        await service.stopService()
        service.startService()
        wire = await self.connect(service)
        wire.send(b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n")
        await wire.until(b"quick")

    async def test_socket_options(self) -> None:
        """
        Accepted connections send without delay and notice a peer that vanished.
        """
        service = self.start(self.make_service())
        wire = await self.connect(service)
        wire.send(GET)
        await wire.until(b"first")
        assert self.body.consumer is not None
        (channel,) = self.site._channels
        handle = channel.transport.getHandle()
        self.assertEqual(handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), 1)
        self.assertEqual(handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), 1)
        self.assertEqual(handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE), 60)
