"""
Tests of the buffer between a pushing sender and a pulling consumer.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from glance_tx.streaming.buffer import BodyBuffer
from glance_tx.streaming.errors import BodyLost
from glance_tx.streaming.interfaces import IBodyReader


class BodyBufferTests(SynchronousTestCase):
    """
    `BodyBuffer` gives pieces in order, holds its sender, and ends once.
    """

    def setUp(self) -> None:
        self.calls: list[str] = []
        self.buffer = BodyBuffer(
            None,
            hold=lambda: self.calls.append("hold"),
            release=lambda: self.calls.append("release"),
            high_water_bytes=10,
            low_water_bytes=5,
        )

    def read(self, at_least: int) -> Deferred[bytes]:
        return Deferred.fromCoroutine(self.buffer.read(at_least))

    def test_interface(self) -> None:
        """
        It is an `IBodyReader`.
        """
        self.assertTrue(verifyObject(IBodyReader, self.buffer))

    def test_waits_for_enough(self) -> None:
        """
        A read waits until as many bytes are there as were asked for, and gets all of them.
        """
        reading = self.read(4)
        self.buffer.write(b"abc")
        self.assertNoResult(reading)
        self.buffer.write(b"def")
        self.assertEqual(self.successResultOf(reading), b"abcdef")

    def test_asks_no_more_than_the_buffer_holds(self) -> None:
        """
        A read for more than the low-water mark is answered at that mark: the sender is never waited for in vain.
        """
        reading = self.read(1000)
        self.buffer.write(b"12345")
        self.assertEqual(self.successResultOf(reading), b"12345")

    def test_holds_and_releases(self) -> None:
        """
        The sender is held at the high-water mark and let go when the consumer has taken what waited.
        """
        self.buffer.write(b"x" * 9)
        self.assertEqual(self.calls, [])
        self.buffer.write(b"y")
        self.assertEqual(self.calls, ["hold"])
        self.successResultOf(self.read(1))
        self.assertEqual(self.calls, ["hold", "release"])

    def test_end(self) -> None:
        """
        After the end come the rest, then empty pieces for ever.
        """
        self.buffer.write(b"rest")
        self.buffer.finish()
        self.assertEqual([self.successResultOf(self.read(9)) for _ in range(3)], [b"rest", b"", b""])

    def test_failure(self) -> None:
        """
        A failure drops what waits and fails this read and every later one.
        """
        reading = self.read(4)
        self.buffer.write(b"abc")
        self.buffer.fail(BodyLost(3, "gone"))
        self.failureResultOf(reading, BodyLost)
        self.failureResultOf(self.read(1), BodyLost)
        self.assertEqual(self.buffer.waiting_bytes, 0)

    def test_complete_body_cannot_fail(self) -> None:
        """
        A connection that is lost after the last byte takes nothing away.
        """
        self.buffer.write(b"all")
        self.buffer.finish()
        self.buffer.fail(BodyLost(3, "gone"))
        self.assertEqual(self.successResultOf(self.read(1)), b"all")

    def test_cancelled_read_loses_nothing(self) -> None:
        """
        The bytes that a cancelled read would have got come with the next one.
        """
        reading = self.read(4)
        self.buffer.write(b"abc")
        reading.cancel()
        self.failureResultOf(reading, CancelledError)
        self.assertEqual(self.successResultOf(self.read(1)), b"abc")

    def test_tiny_pieces(self) -> None:
        """
        Tiny pieces are gathered: a body in one-byte chunks takes hardly more memory than its bytes.
        """
        buffer = BodyBuffer(None, hold=lambda: None, release=lambda: None)
        for _ in range(10_000):
            buffer.write(b"x")
        self.assertEqual(len(buffer._pieces), 1)
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(buffer.read(10_000))), b"x" * 10_000)

    def test_fails_with_a_new_instance(self) -> None:
        """
        Each read fails with an exception of its own, so that tracebacks do not pile up.
        """
        self.buffer.fail(BodyLost(3, "gone"))
        first, second = (self.failureResultOf(self.read(1), BodyLost).value for _ in range(2))
        self.assertIsNot(first, second)
        self.assertEqual(str(first), str(second))

    def test_hand_over(self) -> None:
        """
        A read gets as much as is there, up to a bound, where its consumer prefers that.
        """
        buffer = BodyBuffer(None, hold=lambda: None, release=lambda: None, hand_over_bytes=50_000)
        for _ in range(4):
            buffer.write(b"x" * 20_000)
        sizes = [len(self.successResultOf(Deferred.fromCoroutine(buffer.read(1)))) for _ in range(2)]
        self.assertEqual(sizes, [60_000, 20_000])
