"""
Tests of bodies passed on as they come.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import UNKNOWN_LENGTH
from zope.interface.verify import verifyObject

from glance_tx.streaming.buffer import BodyBuffer
from glance_tx.streaming.errors import BodyLost, BodyTooLong, BodyTooShort
from glance_tx.streaming.interfaces import IBodyProducer
from glance_tx.streaming.relay import ReaderBody


class Collector:
    """
    A consumer that remembers.
    """

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data


class ReaderBodyTests(SynchronousTestCase):
    """
    `ReaderBody` hands on what its reader gives, at its consumer's pace, and not a byte more than promised.
    """

    def setUp(self) -> None:
        self.source = BodyBuffer(None, hold=lambda: None, release=lambda: None)
        self.consumer = Collector()

    def start(self, length: int | None) -> Deferred[None]:
        self.body = ReaderBody(self.source, length)
        return self.body.startProducing(self.consumer)  # type: ignore[arg-type]

    def test_interface(self) -> None:
        """
        It is an `IBodyProducer`, of unknown length where nobody knows it.
        """
        self.assertTrue(verifyObject(IBodyProducer, ReaderBody(self.source, 3)))
        self.assertIs(ReaderBody(self.source, None).length, UNKNOWN_LENGTH)

    def test_passes_on(self) -> None:
        """
        Pieces come out as they go in, and the end fires the Deferred.
        """
        done = self.start(6)
        self.source.write(b"abc")
        self.assertEqual(self.consumer.data, b"abc")
        self.source.write(b"def")
        self.source.finish()
        self.successResultOf(done)
        self.assertEqual(self.consumer.data, b"abcdef")

    def test_pause(self) -> None:
        """
        A paused consumer gets nothing more until it resumes.
        """
        done = self.start(None)
        self.source.write(b"a")
        self.body.pauseProducing()
        self.source.write(b"b")
        self.source.write(b"c")
        self.assertEqual(self.consumer.data, b"ab")
        self.body.resumeProducing()
        self.source.finish()
        self.successResultOf(done)
        self.assertEqual(self.consumer.data, b"abc")

    def test_too_short(self) -> None:
        """
        A source that ends early is a failure.
        """
        done = self.start(4)
        self.source.write(b"abc")
        self.source.finish()
        self.failureResultOf(done, BodyTooShort)

    def test_too_long(self) -> None:
        """
        Bytes beyond the promised length fail the transfer and are not passed on.
        """
        done = self.start(2)
        self.source.write(b"abc")
        self.failureResultOf(done, BodyTooLong)
        self.assertEqual(self.consumer.data, b"")

    def test_source_fails(self) -> None:
        """
        The source's failure is the transfer's.
        """
        done = self.start(None)
        self.source.fail(BodyLost(0, "gone"))
        self.failureResultOf(done, BodyLost)

    def test_stop(self) -> None:
        """
        A stopped producer never fires its Deferred, nor writes again.
        """
        done = self.start(None)
        self.body.stopProducing()
        self.source.write(b"late")
        self.assertNoResult(done)
        self.assertEqual(self.consumer.data, b"")

    def test_cancel(self) -> None:
        """
        Cancelling the Deferred stops the transfer.
        """
        done = self.start(None)
        done.cancel()
        self.source.write(b"late")
        self.failureResultOf(done, CancelledError)
        self.assertEqual(self.consumer.data, b"")
