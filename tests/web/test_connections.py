"""
Connections are brought to an end, each at its own right moment.
"""

from __future__ import annotations

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.trial.unittest import SynchronousTestCase

from glance_tx.web.connections import DrainingChannel, DrainingSite
from glance_tx.web.limits import EdgeLimits
from glance_tx.web.request import Request
from glance_tx.web.resource import ApplicationResource

ADDRESS = IPv4Address("TCP", "127.0.0.1", 1)


class Transport(StringTransportWithDisconnection):
    """
    A connection as lenient as a real one.
    """

    def unregisterProducer(self) -> None:
        # That of a socket minds no repetition.
        self.producer = None


class DrainingSiteTests(SynchronousTestCase):
    """
    `DrainingSite` knows its connections and can end them.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.requests: list[Request] = []
        self.site = DrainingSite(ApplicationResource(self.requests.append), self.clock, EdgeLimits(linger_seconds=5))

    def connect(self) -> tuple[DrainingChannel, Transport]:
        channel = self.site.buildProtocol(ADDRESS)
        assert isinstance(channel, DrainingChannel)
        transport = Transport(peerAddress=ADDRESS)
        transport.protocol = channel
        channel.makeConnection(transport)
        return channel, transport

    def answer(self) -> None:
        request = self.requests[-1]
        request.setHeader(b"Content-Length", b"2")
        request.write(b"ok")
        request.finish()

    def test_empty(self) -> None:
        """
        Without connections there is nothing to wait for.
        """
        self.assertIsNone(self.successResultOf(self.site.drain()))

    def test_idle(self) -> None:
        """
        An idle connection that had its request ends at once, and is forgotten.
        """
        channel, transport = self.connect()
        channel.dataReceived(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        self.answer()
        self.assertEqual(self.site.connection_count, 1)
        self.successResultOf(self.site.drain())
        self.assertFalse(transport.connected)
        self.assertEqual(self.site.connection_count, 0)

    def test_fresh(self) -> None:
        """
        A client that has connected and is about to send its request gets its answer, the last one.
        """
        for begun in (b"", b"GET / HTT"):
            channel, transport = self.connect()
            channel.dataReceived(begun)
            drained = self.site.drain()
            self.assertTrue(transport.connected)
            channel.dataReceived(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[len(begun) :])
            self.answer()
            self.assertIn(b"Connection: close", transport.value())
            self.assertFalse(transport.connected)
            self.successResultOf(drained)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_next_request_begun(self) -> None:
        """
        So does one that is in the middle of its next request's head.
        """
        channel, transport = self.connect()
        channel.dataReceived(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        self.answer()
        channel.dataReceived(b"GET / HTT")
        drained = self.site.drain()
        channel.dataReceived(b"P/1.1\r\nHost: x\r\n\r\n")
        self.answer()
        self.assertEqual(transport.value().count(b"\r\n\r\nok"), 2)
        self.successResultOf(drained)

    def test_fresh_and_answered_early(self) -> None:
        """
        One that is answered while it sends has its time to read the answer, too.
        """
        channel, transport = self.connect()
        self.site.drain()
        self.clock.advance(4)
        channel.dataReceived(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nabc")
        self.answer()
        self.clock.advance(4)
        self.assertTrue(transport.connected)
        self.clock.advance(1)
        self.assertFalse(transport.connected)

    def test_unused(self) -> None:
        """
        A client that connected and has nothing to say is not waited for long.
        """
        for begun in (b"", b"GET / HTT"):
            channel, transport = self.connect()
            channel.dataReceived(begun)
            drained = self.site.drain()
            self.clock.advance(4)
            self.assertTrue(transport.connected)
            self.clock.advance(1)
            self.assertFalse(transport.connected)
            self.successResultOf(drained)

    def test_in_an_answer(self) -> None:
        """
        A connection ends after the answer that is under way, whether that had begun or not.
        """
        for begun in (False, True):
            channel, transport = self.connect()
            channel.dataReceived(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            if begun:
                self.requests[-1].setHeader(b"Content-Length", b"2")
                self.requests[-1].write(b"")
            drained = self.site.drain()
            self.assertNoResult(drained)
            self.assertTrue(transport.connected)
            self.answer()
            self.assertTrue(transport.value().endswith(b"\r\n\r\nok"))
            self.assertEqual(b"Connection: close" in transport.value(), not begun)
            self.successResultOf(drained)

    def test_in_a_request(self) -> None:
        """
        A small body on its way in is waited for, and answered.
        """
        channel, _ = self.connect()
        channel.dataReceived(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
        drained = self.site.drain()
        self.assertNoResult(drained)
        channel.dataReceived(b"cd")
        self.answer()
        self.successResultOf(drained)

    def test_pipelined(self) -> None:
        """
        A request that came behind the one under way is not begun any more.
        """
        channel, transport = self.connect()
        channel.dataReceived(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n")
        self.site.drain()
        self.answer()
        self.assertFalse(transport.connected)
        self.assertEqual([request.path for request in self.requests], [b"/1"])

    def test_lingering(self) -> None:
        """
        A client that was answered while it sends has its time to read the answer.
        """
        channel, transport = self.connect()
        channel.dataReceived(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nabc")
        self.answer()
        drained = self.site.drain()
        self.assertTrue(transport.connected)
        self.assertNoResult(drained)
        self.clock.advance(5)
        self.assertFalse(transport.connected)
        self.successResultOf(drained)

    def test_late(self) -> None:
        """
        A connection that was let in while the others end has one request answered.
        """
        channel, _ = self.connect()
        channel.dataReceived(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        drained = self.site.drain()
        late, transport = self.connect()
        self.answer()
        self.assertNoResult(drained)
        late.dataReceived(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n")
        self.answer()
        self.assertIn(b"Connection: close", transport.value())
        self.assertFalse(transport.connected)
        self.successResultOf(drained)

    def test_drop_all(self) -> None:
        """
        What is cut is gone, answers under way included.
        """
        channel, transport = self.connect()
        channel.dataReceived(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        over = self.requests[-1].notifyFinish()
        drained = self.site.drain()
        self.site.drop_all()
        self.assertFalse(transport.connected)
        self.failureResultOf(over)
        self.successResultOf(drained)
