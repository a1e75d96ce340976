"""
Tests of the wait for an answer.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseNeverReceived
from twisted.web.iweb import IResponse
from zope.interface.verify import verifyObject

from glance_cache.attempt import Attempt, Silent, Upload
from glance_tx.streaming.buffer import BodyBuffer
from glance_tx.streaming.errors import BodyLost
from glance_tx.streaming.interfaces import IBodyReader


class Unread:
    """
    An answer that remembers whether it was closed.
    """

    def __init__(self) -> None:
        self.delivered_to: object = None

    def deliverBody(self, protocol: object) -> None:
        self.delivered_to = protocol


class AttemptTests(SynchronousTestCase):
    """
    `Attempt` waits for one answer, and leaves nothing behind.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.moved: object = 0
        self.cancelled: list[object] = []
        self.sending: Deferred[IResponse] = Deferred(self.cancelled.append)
        self.attempt = Attempt(self.sending, self.clock, 60, lambda: self.moved)

    def tearDown(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_answer(self) -> None:
        """
        The answer comes through, and so does a failure.
        """
        response = Unread()
        self.sending.callback(response)
        self.assertIs(self.successResultOf(self.attempt.answer), response)
        self.assertIsNone(response.delivered_to)

    def test_silence(self) -> None:
        """
        A server that does nothing for its time is given up, within a quarter more.
        """
        self.clock.pump([15] * 3)
        self.moved = 1
        self.clock.pump([15] * 4)
        self.assertNoResult(self.attempt.answer)
        self.clock.pump([15] * 2)
        self.assertIn("60 seconds", str(self.failureResultOf(self.attempt.answer, Silent).value))
        self.assertEqual(self.cancelled, [self.sending])

    def test_cancelled(self) -> None:
        """
        Who gives up hears of that and of nothing else, whatever the client library makes of it.
        """
        sending: Deferred[IResponse] = Deferred(lambda d: d.errback(ResponseNeverReceived([])))
        self.sending.callback(Unread())
        attempt = Attempt(sending, self.clock, 60, lambda: 0)
        attempt.answer.cancel()
        self.failureResultOf(attempt.answer, CancelledError)

    def test_late_answer(self) -> None:
        """
        An answer that comes all the same, after it was given up, is closed.
        """
        late = Unread()
        sending: Deferred[IResponse] = Deferred(lambda d: d.callback(late))
        self.sending.callback(Unread())
        attempt = Attempt(sending, self.clock, 60, lambda: 0)
        attempt.answer.cancel()
        self.failureResultOf(attempt.answer, CancelledError)
        self.assertIsNotNone(late.delivered_to)


class UploadTests(SynchronousTestCase):
    """
    `Upload` knows who is waited for.
    """

    def setUp(self) -> None:
        self.buffer = BodyBuffer(7, hold=lambda: None, release=lambda: None)
        self.upload = Upload(self.buffer)

    def test_interface(self) -> None:
        """
        It is an `IBodyReader`, as long as the body.
        """
        self.assertTrue(verifyObject(IBodyReader, self.upload))
        self.assertEqual(self.upload.length, 7)

    def test_progress(self) -> None:
        """
        While it is the client that has to send something, there is progress; afterwards only where something came.
        """
        reading = Deferred.fromCoroutine(self.upload.read(1))
        self.assertNotEqual(self.upload.progress(), self.upload.progress())
        self.buffer.write(b"abc")
        self.assertEqual(self.successResultOf(reading), b"abc")
        self.assertEqual(self.upload.progress(), 3)
        self.assertEqual(self.upload.progress(), 3)

    def test_failure(self) -> None:
        """
        What ended the body is remembered.
        """
        reading = Deferred.fromCoroutine(self.upload.read(1))
        self.buffer.fail(BodyLost(0, "gone"))
        self.failureResultOf(reading, BodyLost)
        self.assertIsInstance(self.upload.failure, BodyLost)
        self.assertFalse(self.upload.awaited)

    def test_cancelled(self) -> None:
        """
        A read that was given up does not count as the client's failure.
        """
        reading = Deferred.fromCoroutine(self.upload.read(1))
        reading.cancel()
        self.failureResultOf(reading, CancelledError)
        self.assertIsNone(self.upload.failure)
        self.assertFalse(self.upload.awaited)
