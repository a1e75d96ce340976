"""
Tests of how long one client's requests hold up everybody else.
"""

from __future__ import annotations

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from glance_tx.web.connections import DrainingSite
from glance_tx.web.limits import EdgeLimits
from glance_tx.web.request import Request
from glance_tx.web.resource import ApplicationResource

ADDRESS = IPv4Address("TCP", "127.0.0.1", 1)


class TurnClock(Clock):
    """
    A clock that tells one turn from the next, as a reactor does.
    """

    def turn(self) -> None:
        """
        Make the calls that are due by now, and not those that they ask for.
        """
        for call in [call for call in self.calls if call.getTime() <= self.seconds()]:
            self.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)


class TurnTests(SynchronousTestCase):
    """
    What a client sends at once is answered in turns of 5 ms.
    """

    def setUp(self) -> None:
        self.clock = TurnClock()
        self.cost_seconds = 0.002
        self.answered: list[bytes] = []
        site = DrainingSite(ApplicationResource(self.answer), self.clock, EdgeLimits())
        self.channel = site.buildProtocol(ADDRESS)
        self.transport = StringTransport(peerAddress=ADDRESS)
        self.channel.makeConnection(self.transport)

    def answer(self, request: Request) -> None:
        self.clock.rightNow += self.cost_seconds
        self.answered.append(request.path)
        request.setHeader(b"Content-Length", b"0")
        request.write(b"")
        request.finish()

    def send(self, *paths: bytes) -> None:
        self.channel.dataReceived(b"".join(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path for path in paths))

    def test_pipelined(self) -> None:
        """
        Requests that came together are answered in their order, a few in each turn, and nothing is read in between.
        """
        self.send(*(b"/%d" % number for number in range(7)))
        self.assertEqual(self.answered, [b"/0", b"/1", b"/2"])
        self.assertEqual(self.transport.producerState, "paused")
        self.clock.turn()
        self.assertEqual(self.answered, [b"/%d" % number for number in range(6)])
        self.assertEqual(self.transport.producerState, "paused")
        self.clock.turn()
        self.assertEqual(self.answered, [b"/%d" % number for number in range(7)])
        self.assertEqual(self.transport.producerState, "producing")

    def test_all_in_one_turn(self) -> None:
        """
        As many as are answered soon enough are answered at once.
        """
        self.cost_seconds = 0.0001
        self.send(*[b"/"] * 40)
        self.assertEqual(len(self.answered), 40)
        self.assertEqual(self.transport.producerState, "producing")

    def test_a_long_request(self) -> None:
        """
        A request that takes longer than a turn, and the last of those that came, waits for nothing.
        """
        self.cost_seconds = 0.05
        self.send(b"/1")
        self.send(b"/2")
        self.assertEqual(self.answered, [b"/1", b"/2"])
        self.assertEqual(self.transport.producerState, "producing")

    def test_more_in_between(self) -> None:
        """
        What had been read already when the turn was over comes after what came before it, in a later turn.
        """
        self.cost_seconds = 0.005
        self.send(b"/1", b"/2")
        self.send(b"/3")
        self.assertEqual(self.answered, [b"/1"])
        self.clock.turn()
        self.clock.turn()
        self.assertEqual(self.answered, [b"/1", b"/2", b"/3"])

    def test_gone(self) -> None:
        """
        Nothing more is answered when the client is gone.
        """
        self.cost_seconds = 0.005
        self.send(b"/1", b"/2")
        self.channel.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.answered, [b"/1"])
