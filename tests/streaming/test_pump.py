"""
The pump moves a body at the pace of its slowest sink, holds two pieces at most, and leaves nothing behind.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from glance_tx.streaming.errors import BodyLost
from glance_tx.streaming.interfaces import IBodyReader
from glance_tx.streaming.memory import BytesReader
from glance_tx.streaming.pump import pump


@implementer(IBodyReader)
class SteppedReader:
    """
    A reader whose pieces arrive when the test says so.
    """

    length = None

    def __init__(self) -> None:
        self.reads = 0
        self.cancelled = 0
        self.reading: Deferred[bytes] | None = None

    async def read(self, at_least: int) -> bytes:
        self.reads += 1
        self.reading = Deferred()
        try:
            return await self.reading
        except CancelledError:
            self.cancelled += 1
            raise

    def deliver(self, piece: bytes) -> None:
        assert self.reading is not None
        self.reading.callback(piece)


class SteppedSink:
    """
    A sink that is done with a piece when the test says so.
    """

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.working: Deferred[None] | None = None
        self.cancelled = 0
        self.cleanup: Deferred[None] | None = None

    async def __call__(self, piece: bytes) -> None:
        assert self.working is None, "got a second piece before the first was done"
        self.pieces.append(piece)
        self.working = Deferred()
        try:
            await self.working
        except CancelledError:
            self.cancelled += 1
            if self.cleanup is not None:
                await self.cleanup
            raise
        finally:
            self.working = None

    def finish(self) -> None:
        assert self.working is not None
        self.working.callback(None)

    def fail(self, error: Exception) -> None:
        assert self.working is not None
        self.working.errback(error)


class PumpTests(SynchronousTestCase):
    """
    `pump` between a reader and sinks that are stepped by hand.
    """

    def setUp(self) -> None:
        self.reader = SteppedReader()
        self.sink = SteppedSink()
        self.other = SteppedSink()

    def start(self, *sinks: SteppedSink) -> Deferred[int]:
        return Deferred.fromCoroutine(pump(self.reader, sinks, 4))

    def test_moves_all(self) -> None:
        """
        Every sink gets the whole body in order, and the number of bytes is told.
        """
        pieces: list[bytes] = []
        lengths: list[int] = []

        async def keep(piece: bytes) -> None:
            pieces.append(piece)

        async def count(piece: bytes) -> None:
            lengths.append(len(piece))

        moved = Deferred.fromCoroutine(pump(BytesReader(b"0123456789"), [keep, count], 4))
        self.assertEqual(self.successResultOf(moved), 10)
        self.assertEqual((pieces, lengths), ([b"0123", b"4567", b"89"], [4, 4, 2]))

    def test_empty(self) -> None:
        """
        An empty body bothers no sink.
        """
        moved = Deferred.fromCoroutine(pump(BytesReader(b""), [self.sink]))
        self.assertEqual((self.successResultOf(moved), self.sink.pieces), (0, []))

    def test_two_pieces_at_most(self) -> None:
        """
        The next piece is read while one is in work, and the one after that is not asked for before it is done.
        """
        done = self.start(self.sink, self.other)
        self.reader.deliver(b"a")
        self.assertEqual(self.reader.reads, 2)
        self.reader.deliver(b"b")
        self.sink.finish()
        self.assertEqual((self.reader.reads, self.sink.pieces), (2, [b"a"]))
        self.other.finish()
        self.assertEqual((self.reader.reads, self.sink.pieces), (3, [b"a", b"b"]))
        self.reader.deliver(b"")
        self.assertNoResult(done)
        self.sink.finish()
        self.other.finish()
        self.assertEqual(self.successResultOf(done), 2)

    def test_sink_fails_while_reading(self) -> None:
        """
        A sink's failure ends the transfer at once, although nothing arrives, and the other sinks are ended, too.
        """
        done = self.start(self.sink, self.other)
        self.reader.deliver(b"a")
        self.sink.fail(OSError(28, "no room"))
        self.failureResultOf(done, OSError)
        self.assertEqual((self.other.cancelled, self.other.working), (1, None))
        self.assertEqual(self.reader.cancelled, 1)

    def test_sink_fails_with_a_piece_waiting(self) -> None:
        """
        A sink's failure is seen also when the next piece already waits for the sinks.
        """
        done = self.start(self.sink)
        self.reader.deliver(b"a")
        self.reader.deliver(b"b")
        self.sink.fail(OSError(28, "no room"))
        self.failureResultOf(done, OSError)
        self.assertEqual(self.sink.pieces, [b"a"])

    def test_sink_fails_on_last(self) -> None:
        """
        A failure on the last piece is one of the whole.
        """
        done = self.start(self.sink)
        self.reader.deliver(b"a")
        self.reader.deliver(b"")
        self.sink.fail(OSError(28, "no room"))
        self.failureResultOf(done, OSError)

    def test_sink_fails_at_once(self) -> None:
        """
        A sink that fails before it waits for anything stops the reading of more.
        """

        def full(_: bytes) -> Deferred[None]:
            raise OSError(28, "no room")

        moved = Deferred.fromCoroutine(pump(self.reader, [full], 4))
        self.reader.deliver(b"a")
        self.failureResultOf(moved, OSError)
        self.assertEqual(self.reader.reads, 1)

    def test_reader_fails(self) -> None:
        """
        When the body is lost, sinks at work are cancelled and awaited before anyone hears of it.
        """
        self.sink.cleanup = Deferred()
        done = self.start(self.sink)
        self.reader.deliver(b"a")
        self.reader.reading.errback(BodyLost(1, "gone"))
        self.assertEqual(self.sink.cancelled, 1)
        self.assertNoResult(done)
        self.sink.cleanup.callback(None)
        self.failureResultOf(done, BodyLost)

    def test_cancelled_while_reading(self) -> None:
        """
        Cancelled while it reads, it ends the read and the sinks at work, and waits for their end.
        """
        self.sink.cleanup = Deferred()
        done = self.start(self.sink)
        self.reader.deliver(b"a")
        done.cancel()
        self.assertEqual(self.reader.cancelled, 1)
        self.assertNoResult(done)
        self.sink.cleanup.callback(None)
        self.failureResultOf(done, CancelledError)

    def test_cancelled_while_sinks_work(self) -> None:
        """
        Cancelled while it waits for the sinks, it ends them and waits for their end.
        """
        self.sink.cleanup = Deferred()
        done = self.start(self.sink)
        self.reader.deliver(b"a")
        self.reader.deliver(b"b")
        done.cancel()
        self.assertEqual(self.sink.cancelled, 1)
        self.assertNoResult(done)
        self.sink.cleanup.callback(None)
        self.failureResultOf(done, CancelledError)
        self.assertEqual(self.sink.pieces, [b"a"])
