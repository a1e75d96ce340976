"""
Tests for `glance_tx.web.incoming`.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from glance_tx.streaming.errors import BodyLost, BodyTooLong
from glance_tx.streaming.interfaces import IBodyReader
from glance_tx.web.incoming import IncomingBody
from glance_tx.web.limits import EdgeLimits

LIMITS = EdgeLimits(small_body_bytes=0, high_water_bytes=4000, low_water_bytes=2000, stall_seconds=30)


class Source:
    """
    A connection that notes what it is told.
    """

    def __init__(self) -> None:
        self.held = False
        self.told: list[str] = []

    def hold_body(self) -> None:
        self.held = True

    def release_body(self) -> None:
        self.held = False

    def send_continue(self) -> None:
        self.told.append("continue")

    def drop(self) -> None:
        self.told.append("drop")


class IncomingBodyTests(SynchronousTestCase):
    """
    `IncomingBody` gives a handler what it asks for, and holds the sender back meanwhile.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.source = Source()

    def body(self, length: int | None = None, *, expects_continue: bool = False) -> IncomingBody:
        return IncomingBody(self.source, self.clock, LIMITS, length, expects_continue=expects_continue)

    @staticmethod
    def read(body: IncomingBody, at_least: int) -> Deferred[bytes]:
        return Deferred.fromCoroutine(body.read(at_least))

    def test_interface(self) -> None:
        """
        It is a body reader.
        """
        verifyObject(IBodyReader, self.body(5))

    def test_pieces(self) -> None:
        """
        A read waits for the bytes it asks for, and takes no more than one delivery beyond them.
        """
        body = self.body()
        read = self.read(body, 10)
        body.deliver(b"a" * 9)
        self.assertNoResult(read)
        body.deliver(b"b" * 5)
        self.assertEqual(self.successResultOf(read), b"a" * 9 + b"b" * 5)
        for _ in range(3):
            body.deliver(b"c" * 20_000)
        self.assertEqual(len(self.successResultOf(self.read(body, 20_001))), 20_000)
        self.assertEqual(len(self.successResultOf(self.read(body, 1))), 20_000)

    def test_end(self) -> None:
        """
        The last piece may be short, and after it every read has nothing.
        """
        body = self.body(5)
        read = self.read(body, 10)
        body.deliver(b"hel")
        self.assertNoResult(read)
        body.deliver(b"lo", last=True)
        self.assertEqual(self.successResultOf(read), b"hello")
        for _ in range(2):
            self.assertEqual(self.successResultOf(self.read(body, 10)), b"")

    def test_complete_with_the_last_piece(self) -> None:
        """
        A handler that is given the last piece finds the body complete.
        """
        body = self.body(5)
        complete: list[bool] = []
        self.read(body, 5).addCallback(lambda _: complete.append(body.complete))
        body.deliver(b"hello", last=True)
        self.assertEqual(complete, [True])

    def test_empty(self) -> None:
        """
        A body without length is complete at once.
        """
        self.assertEqual(self.successResultOf(self.read(self.body(0), 1)), b"")

    def test_one_read_at_a_time(self) -> None:
        """
        A second read beside a waiting one is a defect of the handler, and said to be.
        """
        body = self.body()
        first = self.read(body, 1)
        self.failureResultOf(self.read(body, 1), RuntimeError)
        body.deliver(b"x")
        self.assertEqual(self.successResultOf(first), b"x")

    def test_cancelled_read(self) -> None:
        """
        A cancelled read loses nothing, and stops the clock.
        """
        body = self.body()
        read = self.read(body, 10)
        body.deliver(b"abc")
        read.cancel()
        self.failureResultOf(read, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        body.deliver(b"def")
        self.assertEqual(self.successResultOf(self.read(body, 6)), b"abcdef")

    def test_water_marks(self) -> None:
        """
        The sender is held back at the high-water mark, and let go below the low one.
        """
        body = self.body()
        body.deliver(b"a" * 3999)
        self.assertFalse(self.source.held)
        body.deliver(b"b" * 20_000)
        self.assertTrue(self.source.held)
        self.successResultOf(self.read(body, 1))
        self.assertTrue(self.source.held)
        self.successResultOf(self.read(body, 1))
        self.assertFalse(self.source.held)

    def test_more_than_the_buffer(self) -> None:
        """
        A read that asks for more than the buffer may hold is answered with what the buffer has.
        """
        body = self.body()
        body.deliver(b"a" * 3000)
        self.assertEqual(len(self.successResultOf(self.read(body, 1 << 20))), 3000)
        read = self.read(body, 1 << 20)
        body.deliver(b"a" * 1999)
        self.assertNoResult(read)
        body.deliver(b"a")
        self.assertEqual(len(self.successResultOf(read)), 2000)

    def test_continue(self) -> None:
        """
        The client is asked for the body by the first read, and only once.
        """
        body = self.body(10, expects_continue=True)
        self.assertEqual(self.source.told, [])
        read = self.read(body, 5)
        self.assertEqual(self.source.told, ["continue"])
        body.deliver(b"12345")
        self.successResultOf(read)
        self.read(body, 5)
        self.assertEqual(self.source.told, ["continue"])
        body.deliver(b"67890", last=True)

    def test_continue_unasked(self) -> None:
        """
        A client that sends without being asked is not asked any more; nor is one without a body.
        """
        body = self.body(10, expects_continue=True)
        body.deliver(b"12345")
        self.successResultOf(self.read(body, 1))
        self.successResultOf(self.read(self.body(0, expects_continue=True), 1))
        self.assertEqual(self.source.told, [])

    def test_lost(self) -> None:
        """
        When the sender is gone the waiting read fails, and so do later ones, each with an exception of its own.
        """
        body = self.body(10)
        body.deliver(b"123")
        read = self.read(body, 10)
        body.lose("it left")
        first = self.failureResultOf(read, BodyLost).value
        self.assertEqual((first.received, first.reason), (3, "it left"))
        second = self.failureResultOf(self.read(body, 1), BodyLost).value
        self.assertIsNot(first, second)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_lost_after_the_end(self) -> None:
        """
        A body that is all here survives its sender.
        """
        body = self.body(3)
        body.deliver(b"123", last=True)
        body.lose("it left")
        self.assertEqual(self.successResultOf(self.read(body, 1)), b"123")

    def test_limit(self) -> None:
        """
        A body that turns out longer than its handler takes fails the read, and is not read on.
        """
        body = self.body()
        body.limit = 10
        read = self.read(body, 100)
        body.deliver(b"1234567890")
        self.assertNoResult(read)
        body.deliver(b"1")
        self.assertEqual(self.failureResultOf(read, BodyTooLong).value.limit, 10)
        self.assertTrue(self.source.held)
        self.failureResultOf(self.read(body, 1), BodyTooLong)

    def test_announced_beyond_limit(self) -> None:
        """
        A body that is announced longer than its handler takes is refused without asking for it.
        """
        body = self.body(11, expects_continue=True)
        body.limit = 10
        self.failureResultOf(self.read(body, 1), BodyTooLong)
        self.assertEqual(self.source.told, [])

    def test_limit_reached(self) -> None:
        """
        A body as long as its limit is taken whole.
        """
        body = self.body()
        body.limit = 10
        read = self.read(body, 100)
        body.deliver(b"1234567890")
        body.deliver(b"", last=True)
        self.assertEqual(self.successResultOf(read), b"1234567890")

    def test_stall(self) -> None:
        """
        A sender that is silent while a read waits is dropped after the time set.
        """
        body = self.body(10)
        read = self.read(body, 10)
        self.clock.advance(29)
        body.deliver(b"1")
        self.clock.advance(29)
        self.assertNoResult(read)
        self.clock.advance(1)
        self.assertEqual(self.failureResultOf(read, BodyLost).value.received, 1)
        self.assertEqual(self.source.told, ["drop"])

    def test_no_stall_of_ours(self) -> None:
        """
        While no read waits, the sender's silence is no fault of its own.
        """
        body = self.body(10)
        self.clock.advance(1000)
        read = self.read(body, 1)
        self.clock.advance(20)
        body.deliver(b"1")
        self.successResultOf(read)
        self.clock.advance(1000)
        self.assertEqual(self.source.told, [])
