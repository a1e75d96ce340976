"""
What every reader and every producer of a body does, whatever it is made of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer, IProducer
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from glance_tx.streaming.interfaces import IBodyProducer, IBodyReader, IFileBody, IGrowth
from glance_tx.streaming.units import MiB

PATTERN = bytes(range(251))
"""Repeated with a prime period, so that a piece in the wrong place shows."""


def patterned(size: int) -> bytes:
    """Make a body whose every part says where it belongs."""
    return (PATTERN * (size // len(PATTERN) + 1))[:size]


def read_all(test: SynchronousTestCase, reader: IBodyReader, at_least: int = 64) -> bytes:
    """Read a body that is all there."""
    data = b""
    while piece := test.successResultOf(Deferred.fromCoroutine(reader.read(at_least))):
        data += piece
    return data


@implementer(IConsumer)
class RecordingConsumer:
    """
    Takes what it is given, and pauses its producer at the end of the first write that reaches ``pause_after``.
    """

    def __init__(self, producer: IBodyProducer, pause_after: int | None = None) -> None:
        self.pieces: list[bytes] = []
        self.pause_after = pause_after
        self._producer = producer

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)

    def write(self, data: bytes) -> None:
        self.pieces.append(data)
        if self.pause_after is not None and len(self.data) >= self.pause_after:
            self._producer.pauseProducing()

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        raise AssertionError("whoever starts a body registers it; it does not do so itself")

    def unregisterProducer(self) -> None:
        raise AssertionError("whoever starts a body registers it; it does not do so itself")


class HastyConsumer(RecordingConsumer):
    """
    Pauses and resumes its producer within each write, as a buffer does that empties at once.
    """

    def __init__(self, producer: IBodyProducer) -> None:
        super().__init__(producer)
        self.deepest = 0
        self._depth = 0

    def write(self, data: bytes) -> None:
        self._depth += 1
        self.deepest = max(self.deepest, self._depth)
        super().write(data)
        self._producer.pauseProducing()
        self._producer.resumeProducing()
        self._depth -= 1


class BodyReaderContract:
    """
    What every `IBodyReader` does.
    """

    make_reader: Callable[[bytes], IBodyReader]
    """Make a reader of this body, all of which is there, announced or not."""

    def test_provides_reader(self: Any) -> None:
        """
        It provides `IBodyReader`.
        """
        verifyObject(IBodyReader, self.make_reader(b"x"))

    def test_whole_body(self: Any) -> None:
        """
        Reads give the body in order, none of them shorter than asked but where it ends, and then nothing, for ever.
        """
        data = patterned(1000)
        for at_least in (1, 7, 999, 1000, 5000):
            reader = self.make_reader(data)
            got = b""
            while piece := self.successResultOf(Deferred.fromCoroutine(reader.read(at_least))):
                got += piece
                self.assertTrue(len(piece) >= at_least or got == data)
            self.assertEqual(got, data)
            self.assertEqual(self.successResultOf(Deferred.fromCoroutine(reader.read(at_least))), b"")

    def test_empty_body(self: Any) -> None:
        """
        An empty body ends at once.
        """
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(self.make_reader(b"").read(1))), b"")

    def test_reader_length(self: Any) -> None:
        """
        A length, where there is one, is the body's.
        """
        self.assertIn(self.make_reader(b"12345").length, (None, 5))


class BodyProducerContract:
    """
    What every `IBodyProducer` does.
    """

    make_body: Callable[[bytes], IBodyProducer]
    """Make a producer of this body, which it can write without waiting for anyone but its consumer."""

    piece_bytes = 1 * MiB
    """The most a producer may write after it was paused: nothing; and in one write: this."""

    def test_provides_producer(self: Any) -> None:
        """
        It provides `IBodyProducer`.
        """
        verifyObject(IBodyProducer, self.make_body(b"x"))

    def test_writes_all(self: Any) -> None:
        """
        It writes exactly the body it announced, in bounded pieces, and then says that it is done.
        """
        data = patterned(3 * MiB + 5)
        body = self.make_body(data)
        self.assertEqual(body.length, len(data))
        consumer = RecordingConsumer(body)
        self.assertIsNone(self.successResultOf(body.startProducing(consumer)))
        self.assertTrue(consumer.data == data)
        self.assertLessEqual(max(map(len, consumer.pieces)), self.piece_bytes)

    def test_writes_nothing(self: Any) -> None:
        """
        An empty body is done at once.
        """
        body = self.make_body(b"")
        consumer = RecordingConsumer(body)
        self.assertIsNone(self.successResultOf(body.startProducing(consumer)))
        self.assertEqual((body.length, consumer.data), (0, b""))

    def test_holds_still(self: Any) -> None:
        """
        Paused from within a write it writes no more, and goes on where it was when resumed.
        """
        data = patterned(3 * MiB)
        body = self.make_body(data)
        consumer = RecordingConsumer(body, pause_after=1)
        done = body.startProducing(consumer)
        self.assertEqual(len(consumer.pieces), 1)
        self.assertNoResult(done)
        consumer.pause_after = None
        body.resumeProducing()
        self.assertIsNone(self.successResultOf(done))
        self.assertTrue(consumer.data == data)

    def test_paused_each_time(self: Any) -> None:
        """
        Paused and resumed again and again it loses and doubles nothing.
        """
        data = patterned(3 * MiB + 1)
        body = self.make_body(data)
        consumer = RecordingConsumer(body, pause_after=1)
        done = body.startProducing(consumer)
        for _ in range(len(data)):
            if done.called:
                break
            body.resumeProducing()
        self.assertIsNone(self.successResultOf(done))
        self.assertTrue(consumer.data == data)

    def test_resumed_from_within(self: Any) -> None:
        """
        Paused and resumed from within a write it does not begin another one inside it.
        """
        data = patterned(3 * MiB)
        body = self.make_body(data)
        consumer = HastyConsumer(body)
        self.assertIsNone(self.successResultOf(body.startProducing(consumer)))
        self.assertEqual(consumer.deepest, 1)
        self.assertTrue(consumer.data == data)

    def test_stopped(self: Any) -> None:
        """
        Stopped half-way it writes no more and its Deferred never fires.
        """
        body = self.make_body(patterned(3 * MiB))
        consumer = RecordingConsumer(body, pause_after=1)
        done = body.startProducing(consumer)
        body.stopProducing()
        body.resumeProducing()
        self.assertEqual(len(consumer.pieces), 1)
        self.assertNoResult(done)

    def test_producer_cancelled(self: Any) -> None:
        """
        Cancelled half-way it writes no more.
        """
        body = self.make_body(patterned(3 * MiB))
        consumer = RecordingConsumer(body, pause_after=1)
        done = body.startProducing(consumer)
        done.cancel()
        self.failureResultOf(done, CancelledError)
        body.resumeProducing()
        self.assertEqual(len(consumer.pieces), 1)

    def test_stopped_unstarted(self: Any) -> None:
        """
        A body that nobody will send is let go by stopping it.
        """
        self.make_body(b"x").stopProducing()


class FileBodyContract(BodyProducerContract):
    """
    What every `IFileBody` does.
    """

    make_body: Callable[[bytes], IFileBody]  # type: ignore[assignment]

    def test_provides_file_body(self: Any) -> None:
        """
        It provides `IFileBody`, and its growth `IGrowth`.
        """
        body = self.make_body(b"x")
        self.addCleanup(body.close)
        verifyObject(IFileBody, body)
        verifyObject(IGrowth, body.growth)

    def test_closed_twice(self: Any) -> None:
        """
        Closing it again does nothing.
        """
        body = self.make_body(b"x")
        body.close()
        body.close()


class GrowthContract:
    """
    What every `IGrowth` does.
    """

    make_growth: Callable[[int], IGrowth]
    """Make one for a file of 1000 bytes of which so many may be sent, or could be after waiting."""

    def test_provides_growth(self: Any) -> None:
        """
        It provides `IGrowth`.
        """
        verifyObject(IGrowth, self.make_growth(10))

    def test_there(self: Any) -> None:
        """
        Waiting for what is there ends, and then the limit is beyond the offset.
        """
        growth = self.make_growth(10)
        for offset in (0, 5, 9):
            self.successResultOf(growth.wait_beyond(offset))
            self.assertGreater(growth.limit, offset)

    def test_never_beyond(self: Any) -> None:
        """
        The limit never exceeds what may be sent.
        """
        growth = self.make_growth(10)
        self.successResultOf(growth.wait_beyond(0))
        self.assertLessEqual(growth.limit, 10)


class GrowingContract(GrowthContract):
    """
    What an `IGrowth` does that is told to grow.
    """

    grow: Callable[[IGrowth, int], None]
    """Let the growth that was made reach this limit."""

    give_up: Callable[[IGrowth, Exception], None]
    """Tell the growth that was made that there will never be more."""

    def test_waits(self: Any) -> None:
        """
        Waiting ends as soon as there is a byte beyond the offset, and not before; for each waiter by itself.
        """
        growth = self.make_growth(10)
        near, far = growth.wait_beyond(10), growth.wait_beyond(19)
        self.assertNoResult(near)
        self.grow(growth, 19)
        self.successResultOf(near)
        self.assertNoResult(far)
        self.grow(growth, 20)
        self.successResultOf(far)

    def test_gives_up(self: Any) -> None:
        """
        Whoever waits when the file stops growing is told why, and so is whoever asks later.
        """
        growth = self.make_growth(10)
        waiting, another = growth.wait_beyond(10), growth.wait_beyond(15)
        self.give_up(growth, OSError(28, "no room"))
        self.failureResultOf(waiting, OSError)
        self.failureResultOf(another, OSError)
        self.failureResultOf(growth.wait_beyond(10), OSError)

    def test_wait_cancelled(self: Any) -> None:
        """
        A cancelled wait ends alone.
        """
        growth = self.make_growth(10)
        leaving, staying = growth.wait_beyond(10), growth.wait_beyond(10)
        leaving.cancel()
        self.failureResultOf(leaving, CancelledError)
        self.grow(growth, 11)
        self.successResultOf(staying)
