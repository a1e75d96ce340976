"""
A body in a file keeps the contract of bodies, and its descriptor is never leaked.
"""

from __future__ import annotations

import os

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from glance_tx.streaming.errors import ShortFile
from glance_tx.streaming.filebody import FileBody
from glance_tx.streaming.growth import GrowingFile, WholeFile
from glance_tx.streaming.interfaces import IFileBody, IGrowth
from glance_tx.streaming.units import KiB, MiB
from tests.contracts.body import FileBodyContract, RecordingConsumer, patterned
from tests.streaming.files import descriptor_of, descriptors


class FileBodyContractTests(FileBodyContract, SynchronousTestCase):
    """
    `FileBody` keeps the file body contract.
    """

    piece_bytes = 256 * KiB

    def make_body(self, data: bytes) -> IFileBody:
        # In the middle of a file, so that a wrong offset shows.
        body = FileBody(descriptor_of(self, b"before" + data + b"after"), 6, len(data), WholeFile(6 + len(data)))
        self.addCleanup(body.close)
        return body


class FileBodyTests(SynchronousTestCase):
    """
    `FileBody` as a push producer.
    """

    def setUp(self) -> None:
        self.data = patterned(1 * MiB)
        self.before = descriptors()

    def start(self, growth: IGrowth, offset: int = 0, length: int = 1 * MiB) -> Deferred[None]:
        self.body = FileBody(descriptor_of(self, self.data), offset, length, growth)
        self.addCleanup(self.body.close)
        self.consumer = RecordingConsumer(self.body)
        return self.body.startProducing(self.consumer)

    def test_closed_at_the_end(self) -> None:
        """
        Having sent the body it has closed the file.
        """
        self.successResultOf(self.start(WholeFile(MiB)))
        self.assertEqual((self.body.descriptor, descriptors()), (-1, self.before))

    def test_closed_when_stopped(self) -> None:
        """
        Stopped or cancelled half-way it has closed the file, and waits for nothing.
        """
        for end in ("stop", "cancel", "close"):
            growth = GrowingFile(10)
            done = self.start(growth)
            if end == "stop":
                self.body.stopProducing()
            elif end == "close":
                self.body.close()
            else:
                done.cancel()
                self.failureResultOf(done, CancelledError)
            growth.grow(20)
            self.assertEqual((len(self.consumer.data), descriptors()), (10, self.before), end)

    def test_position_unused(self) -> None:
        """
        The descriptor's own position is neither used nor moved.
        """
        self.body = FileBody(descriptor_of(self, self.data), 1, 10, WholeFile(11))
        self.addCleanup(self.body.close)
        os.lseek(self.body.descriptor, 500, os.SEEK_SET)
        twin = os.dup(self.body.descriptor)
        self.addCleanup(os.close, twin)
        consumer = RecordingConsumer(self.body)
        self.successResultOf(self.body.startProducing(consumer))
        self.assertEqual((consumer.data, os.lseek(twin, 0, os.SEEK_CUR)), (self.data[1:11], 500))

    def test_grows(self) -> None:
        """
        Of a growing file it sends what may be sent, and no byte more, until all is there.
        """
        growth = GrowingFile(100)
        done = self.start(growth, offset=50, length=MiB - 50)
        self.assertTrue(self.consumer.data == self.data[50:100])
        growth.grow(50)
        growth.grow(101)
        self.assertTrue(self.consumer.data == self.data[50:101])
        growth.grow(2 * MiB)
        self.successResultOf(done)
        self.assertTrue(self.consumer.data == self.data[50:])

    def test_paused_while_waiting(self) -> None:
        """
        Growth does not make a paused body write.
        """
        growth = GrowingFile(100)
        self.start(growth)
        self.body.pauseProducing()
        growth.grow(200)
        self.assertEqual(len(self.consumer.data), 100)
        self.body.resumeProducing()
        self.assertEqual(len(self.consumer.data), 200)

    def test_resumed_while_waiting(self) -> None:
        """
        Being resumed does not make it write what may not be sent yet.
        """
        growth = GrowingFile(100)
        self.start(growth)
        self.body.resumeProducing()
        self.assertEqual(len(self.consumer.data), 100)

    def test_growth_gives_up(self) -> None:
        """
        When the growth gives up the transfer fails with its reason.
        """
        growth = GrowingFile(100)
        done = self.start(growth)
        growth.give_up(OSError(28, "no room"))
        self.failureResultOf(done, OSError)
        self.assertEqual(descriptors(), self.before)

    def test_short_file(self) -> None:
        """
        A file that ends too early makes the transfer fail, whatever was said of its growth.
        """
        done = self.start(WholeFile(2 * MiB), offset=10, length=1 * MiB)
        error = self.failureResultOf(done, ShortFile).value
        self.assertEqual((error.at, error.end), (MiB, MiB + 10))
        self.assertEqual((len(self.consumer.data), descriptors()), (MiB - 10, self.before))

    def test_unreadable(self) -> None:
        """
        A file that cannot be read makes the transfer fail with what the system says.
        """
        reading, writing = os.pipe()
        os.close(writing)
        body = FileBody(reading, 0, 10, WholeFile(10))
        self.failureResultOf(body.startProducing(RecordingConsumer(body)), OSError)
        self.assertEqual(descriptors(), self.before)
