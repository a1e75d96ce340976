"""
Files leave by sendfile: in turns, at the receiver's pace, whole or visibly not.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPullProducer
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from glance_tx.streaming.errors import ReceiverLost, ShortFile, TransferStalled
from glance_tx.streaming.filebody import FileBody
from glance_tx.streaming.growth import GrowingFile, WholeFile
from glance_tx.streaming.interfaces import IGrowth
from glance_tx.streaming.sendfile import SendfileProducer, takes_sendfile
from glance_tx.streaming.units import KiB, MiB
from tests.contracts.body import patterned
from tests.streaming.files import descriptor_of
from tests.streaming.test_cursor import HeldGrowth


class PullTransport:
    """
    What Twisted's connections do for a pull producer, without a reactor: `drive` is one turn of it.
    """

    def __init__(self, descriptor: int) -> None:
        self.producer: SendfileProducer | None = None
        self.aborted = False
        self.writing = False
        self.head = b""
        self.full = False
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def registerProducer(self, producer: SendfileProducer, streaming: bool) -> None:
        assert self.producer is None
        assert not streaming
        self.producer = producer
        producer.resumeProducing()

    def unregisterProducer(self) -> None:
        self.producer = None

    def startWriting(self) -> None:
        self.writing = True

    def abortConnection(self) -> None:
        self.aborted = True

    def doWrite(self) -> None:
        if self.full:
            return
        self.head = self.head[os.write(self._descriptor, self.head) :] if self.head else b""
        self.writing = False
        if self.producer is not None:
            self.producer.resumeProducing()

    def drive(self) -> None:
        if self.writing:
            self.doWrite()

    def drive_until_quiet(self) -> None:
        while self.writing and self.producer is not None:
            sent = self.producer.sent
            self.drive()
            if self.producer is not None and self.producer.sent == sent:
                return


class SendfileTests(SynchronousTestCase):
    """
    `SendfileProducer` into one end of a pair of sockets.
    """

    SIZE = 6 * MiB

    def setUp(self) -> None:
        self.clock = Clock()
        self.data = patterned(self.SIZE)
        self.ours, self.theirs = socket.socketpair()
        for end in (self.ours, self.theirs):
            self.addCleanup(end.close)
            end.settimeout(0)
        self.transport = PullTransport(self.ours.fileno())

    def start(self, growth: IGrowth | None = None, offset: int = 0, length: int | None = None) -> Deferred[None]:
        length = self.SIZE - offset if length is None else length
        body = FileBody(descriptor_of(self, self.data), offset, length, growth or WholeFile(offset + length))
        self.addCleanup(body.close)
        self.producer = SendfileProducer(self.transport, body, self.clock, 60)
        return self.producer.start()

    def receive(self, at_most: int | None = None) -> bytes:
        got = b""
        while at_most is None or len(got) < at_most:
            try:
                piece = self.theirs.recv(64 * KiB if at_most is None else min(64 * KiB, at_most - len(got)))
            except BlockingIOError:
                break
            if not piece:
                break
            got += piece
        return got

    def receive_rest(self, done: Deferred[None]) -> bytes:
        got = b""
        while not done.called:
            self.transport.drive_until_quiet()
            got += self.receive()
        return got + self.receive()

    def assert_over(self, *, aborted: bool) -> None:
        """Nothing is left behind on the transport or the clock."""
        self.assertEqual((self.transport.producer, self.transport.aborted), (None, aborted))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_provides_interface(self) -> None:
        """
        It provides `IPullProducer`.
        """
        self.start()
        verifyObject(IPullProducer, self.producer)

    def test_nothing_before_the_head(self) -> None:
        """
        A head that the transport still has goes first; the file follows when that is out.
        """
        self.transport.head, self.transport.full = b"head ", True
        done = self.start(length=10)
        self.assertEqual((self.producer.sent, self.receive(), self.transport.writing), (0, b"", True))
        self.transport.full = False
        self.transport.drive()
        self.successResultOf(done)
        self.assertEqual(self.receive(), b"head " + self.data[:10])

    def test_small_part(self) -> None:
        """
        What the socket takes at once is sent at once, behind the head, and nothing is left to wait or to watch for.
        """
        self.transport.head = b"head "
        self.successResultOf(self.start(offset=7, length=64 * KiB))
        self.assertTrue(self.receive() == b"head " + self.data[7 : 7 + 64 * KiB])
        self.assertFalse(self.transport.writing)
        self.assert_over(aborted=False)

    def test_lost_before_it_began(self) -> None:
        """
        On a connection that turns out to be lost nothing is sent, nor written to it.
        """
        self.transport.registerProducer = lambda producer, _: producer.stopProducing()
        self.transport.doWrite = lambda: self.fail("it is lost")
        self.failureResultOf(self.start(), ReceiverLost)
        self.assert_over(aborted=False)

    def test_whole_file(self) -> None:
        """
        Every byte arrives in order, through as many partial sends as the socket needs.
        """
        done = self.start()
        self.transport.drive_until_quiet()
        self.assertTrue(0 < self.producer.sent < self.SIZE)
        self.assertTrue(self.receive_rest(done) == self.data)
        self.successResultOf(done)
        self.assertEqual(self.producer.sent, self.SIZE)
        self.assert_over(aborted=False)

    def test_part(self) -> None:
        """
        Of a part of a file that part arrives and not a byte around it.
        """
        for offset, length in ((0, 1), (5, 70_000), (self.SIZE - 1, 1), (MiB, 3 * MiB)):
            done = self.start(offset=offset, length=length)
            self.assertTrue(self.receive_rest(done) == self.data[offset : offset + length])
            self.successResultOf(done)

    def test_full_socket(self) -> None:
        """
        While the socket is full it holds still, asks to be told of room, and goes on where it was.
        """
        self.start()
        self.transport.drive_until_quiet()
        sent = self.producer.sent
        for _ in range(3):
            self.transport.drive()
            self.assertEqual((self.producer.sent, self.transport.writing), (sent, True))
        got = self.receive()
        self.transport.drive()
        self.assertGreater(self.producer.sent, sent)
        self.assertTrue(got + self.receive() == self.data[: self.producer.sent])

    def test_share_of_a_turn(self) -> None:
        """
        However much the receiver takes, one turn of the reactor sends 4 MiB at most.
        """
        sink = os.open(Path(self.mktemp()), os.O_WRONLY | os.O_CREAT)  # a file is never full
        self.addCleanup(os.close, sink)
        self.transport = PullTransport(sink)
        done = self.start()
        self.assertEqual((self.producer.sent, self.transport.writing), (4 * MiB, True))
        self.transport.drive()
        self.successResultOf(done)
        self.assertEqual(self.producer.sent, self.SIZE)

    def test_receiver_gone(self) -> None:
        """
        When the receiver closes, the transfer fails as that.
        """
        done = self.start()
        self.transport.drive_until_quiet()
        self.theirs.close()
        self.transport.drive()
        error = self.failureResultOf(done, ReceiverLost).value
        self.assertEqual(error.sent, self.producer.sent)
        self.assert_over(aborted=True)

    def test_connection_lost(self) -> None:
        """
        When the transport says that the connection is lost, the transfer fails and nothing stays behind.
        """
        done = self.start()
        self.transport.drive()
        self.producer.stopProducing()
        self.failureResultOf(done, ReceiverLost)
        self.assert_over(aborted=False)

    def test_short_file(self) -> None:
        """
        A file that ends too early aborts the connection.
        """
        done = self.start(length=self.SIZE + 10)
        self.assertEqual(len(self.receive_rest(done)), self.SIZE)
        error = self.failureResultOf(done, ShortFile).value
        self.assertEqual((error.at, error.end), (self.SIZE, self.SIZE + 10))
        self.assert_over(aborted=True)

    def test_unreadable(self) -> None:
        """
        A file that cannot be read aborts the connection with what the system says.
        """
        directory = Path(self.mktemp())
        directory.mkdir()
        body = FileBody(os.open(directory, os.O_RDONLY), 0, 10, WholeFile(10))
        self.addCleanup(body.close)
        done = SendfileProducer(self.transport, body, self.clock, 60).start()
        self.transport.drive()
        self.failureResultOf(done, OSError)
        self.assert_over(aborted=True)

    def test_cancelled(self) -> None:
        """
        Cancelled half-way it aborts the connection.
        """
        done = self.start()
        self.transport.drive()
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.assert_over(aborted=True)

    def test_growing(self) -> None:
        """
        Of a growing file it sends what may be sent, waits off the socket for more, and ends with the last byte.
        """
        growth = GrowingFile(1000)
        done = self.start(growth)
        self.transport.drive_until_quiet()
        self.assertTrue(self.receive() == self.data[:1000])
        self.assertFalse(self.transport.writing)
        growth.grow(1500)
        self.assertTrue(self.receive() == self.data[1000:1500])
        growth.grow(self.SIZE)
        self.assertTrue(self.receive_rest(done) == self.data[1500:])
        self.successResultOf(done)

    def test_cancelled_while_waiting(self) -> None:
        """
        Cancelled while it waits for the file to grow it waits no longer.
        """
        growth = HeldGrowth(limit=1000)
        done = self.start(growth)
        self.transport.drive_until_quiet()
        self.assertEqual((len(growth.waits), growth.cancelled), (1, 0))
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.assertEqual((self.producer.sent, growth.cancelled), (1000, 1))

    def test_growth_gives_up(self) -> None:
        """
        When the file stops growing the connection is aborted and the reason told.
        """
        growth = GrowingFile(1000)
        done = self.start(growth)
        self.transport.drive_until_quiet()
        growth.give_up(RuntimeError("upstream gone"))
        self.failureResultOf(done, RuntimeError)
        self.assert_over(aborted=True)

    def test_stalled(self) -> None:
        """
        A receiver that takes nothing for the whole time is dropped.
        """
        done = self.start()
        self.transport.drive_until_quiet()
        self.clock.pump([15.0] * 3)
        self.assertNoResult(done)
        self.clock.pump([15.0] * 2)
        self.assertEqual(self.failureResultOf(done, TransferStalled).value.seconds, 60)
        self.assert_over(aborted=True)

    def test_trickling(self) -> None:
        """
        A receiver that takes a little now and then is not dropped, although the socket has no room for more yet.
        """
        done = self.start()
        self.transport.drive_until_quiet()
        sent = self.producer.sent
        for _ in range(2):
            self.clock.pump([15.0] * 3)
            self.receive(at_most=80 * KiB)
        self.assertNoResult(done)
        self.assertEqual(self.producer.sent, sent)

    def test_no_stall_while_waiting(self) -> None:
        """
        Waiting for the file to grow is not held against the receiver; afterwards its time counts from zero.
        """
        growth = GrowingFile(1000)
        done = self.start(growth)
        self.transport.drive_until_quiet()
        self.clock.pump([15.0] * 40)
        growth.grow(self.SIZE)
        self.transport.drive_until_quiet()
        self.clock.pump([15.0] * 3)
        self.assertNoResult(done)
        self.clock.pump([15.0] * 3)
        self.failureResultOf(done, TransferStalled)


class TakesSendfileTests(SynchronousTestCase):
    """
    `takes_sendfile` of what is no socket of Twisted's.
    """

    def test_others(self) -> None:
        """
        Whatever only looks like a connection is not taken for one.
        """
        self.assertFalse(takes_sendfile(PullTransport(-1)))
        self.assertFalse(takes_sendfile(None))
