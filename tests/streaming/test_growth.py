"""
Senders are told how far they may go: what is there, what was written, what is in memory.
"""

from __future__ import annotations

import os

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SynchronousTestCase, TestCase

from glance_tx.streaming import readahead
from glance_tx.streaming.errors import LaneStopped, ShortFile
from glance_tx.streaming.filebody import FileBody
from glance_tx.streaming.growth import GrowingFile, Resident, WholeFile
from glance_tx.streaming.interfaces import IGrowth
from glance_tx.streaming.lanes import Lanes
from glance_tx.streaming.readahead import in_memory
from glance_tx.streaming.units import KiB, MiB
from tests.contracts.body import GrowingContract, GrowthContract, RecordingConsumer, patterned
from tests.doubles.pools import InlinePool, SteppedPool, ThreadClock
from tests.streaming.files import descriptor_of, descriptors, drop_from_memory


class WholeFileTests(GrowthContract, SynchronousTestCase):
    """
    `WholeFile` keeps the growth contract.
    """

    def make_growth(self, limit: int) -> IGrowth:
        return WholeFile(limit)

    def test_no_more(self) -> None:
        """
        Whoever waits for more than there is learns that the file is too short.
        """
        self.failureResultOf(WholeFile(10).wait_beyond(10), ShortFile)


class GrowingFileTests(GrowingContract, SynchronousTestCase):
    """
    `GrowingFile` keeps the contract of what grows.
    """

    def make_growth(self, limit: int) -> IGrowth:
        return GrowingFile(limit)

    def grow(self, growth: GrowingFile, limit: int) -> None:
        growth.grow(limit)

    def give_up(self, growth: GrowingFile, reason: Exception) -> None:
        growth.give_up(reason)

    def test_never_shrinks(self) -> None:
        """
        What was let go once may be sent for ever.
        """
        growth = GrowingFile(10)
        growth.grow(5)
        self.assertEqual(growth.limit, 10)

    def test_rest_after_giving_up(self) -> None:
        """
        After it gave up, what is there may still be sent.
        """
        growth = GrowingFile(10)
        growth.give_up(OSError(28, "no room"))
        self.successResultOf(growth.wait_beyond(9))

    def test_reasons_of_their_own(self) -> None:
        """
        Everyone who is told that there is no more gets an exception of his own, with the same facts.
        """
        growth = GrowingFile()
        waits = [growth.wait_beyond(0), growth.wait_beyond(0)]
        growth.give_up(ShortFile(3, 7))
        reasons = [self.failureResultOf(waiting, ShortFile).value for waiting in (*waits, growth.wait_beyond(0))]
        self.assertEqual({str(reason) for reason in reasons}, {str(ShortFile(3, 7))})
        self.assertEqual(len({id(reason) for reason in reasons}), 3)

    def test_one_waiter_ends_another(self) -> None:
        """
        A waiter that makes another one leave does not disturb the telling of the others.
        """
        growth = GrowingFile()
        first, second, third = (growth.wait_beyond(0) for _ in range(3))
        first.addCallback(lambda _: second.cancel())
        growth.grow(1)
        self.failureResultOf(second, CancelledError)
        self.successResultOf(third)

    def test_waiter_asks_again(self) -> None:
        """
        A waiter may ask for more from within its callback.
        """
        growth = GrowingFile()
        again: list[Deferred[None]] = []
        growth.wait_beyond(0).addCallback(lambda _: again.append(growth.wait_beyond(1)))
        growth.grow(1)
        self.assertNoResult(again[0])
        growth.grow(2)
        self.successResultOf(again[0])


class ResidentContractTests(GrowingContract, SynchronousTestCase):
    """
    `Resident` over a growing file keeps the contract of what grows.
    """

    def make_growth(self, limit: int) -> IGrowth:
        descriptor = descriptor_of(self, patterned(1000))
        self.addCleanup(os.close, descriptor)
        self.inner = GrowingFile(limit)
        return Resident(self.inner, descriptor, Lanes(ThreadClock(), InlinePool()).lane("cold"))

    def grow(self, growth: Resident, limit: int) -> None:
        self.inner.grow(limit)

    def give_up(self, growth: Resident, reason: Exception) -> None:
        self.inner.give_up(reason)


class ResidentTests(SynchronousTestCase):
    """
    `Resident` over files in and out of memory.
    """

    SIZE = 3 * MiB

    def setUp(self) -> None:
        self.pool = SteppedPool()
        self.lane = Lanes(ThreadClock(), self.pool).lane("cold")
        self.descriptor = descriptor_of(self, patterned(self.SIZE))
        self.addCleanup(os.close, self.descriptor)

    def resident(self, inner: IGrowth | None = None) -> Resident:
        return Resident(inner or WholeFile(self.SIZE), self.descriptor, self.lane, window_bytes=1 * MiB)

    def chill(self) -> None:
        drop_from_memory(self, self.descriptor)

    def test_hot(self) -> None:
        """
        Pages that are in memory cost no thread, and are let go window by window.
        """
        growth = self.resident()
        self.successResultOf(growth.wait_beyond(0))
        self.assertEqual((growth.limit, self.pool.jobs_done), (1 * MiB, 0))
        self.successResultOf(growth.wait_beyond(1 * MiB))
        self.assertEqual((growth.limit, self.pool.jobs_done), (2 * MiB, 0))

    def test_hot_uncounted(self) -> None:
        """
        Where the kernel does not count pages, looking at some of them tells.
        """
        self.patch(readahead, "is_cached", lambda *_: None)
        growth = self.resident()
        self.successResultOf(growth.wait_beyond(0))
        self.assertEqual((growth.limit, self.pool.jobs_done), (1 * MiB, 0))

    def test_cold(self) -> None:
        """
        A window with pages missing is let go only after a thread has read it.
        """
        self.chill()
        growth = self.resident()
        waiting = growth.wait_beyond(512 * KiB)
        self.assertNoResult(waiting)
        self.assertEqual((growth.limit, self.pool.waiting), (0, 1))
        self.pool.step()
        self.successResultOf(waiting)
        self.assertEqual(growth.limit, 1 * MiB + 512 * KiB)
        self.assertTrue(in_memory(self.descriptor, 512 * KiB, growth.limit))

    def test_many_cold(self) -> None:
        """
        Senders that wait for the disk, however many, leave threads for other work.
        """
        self.chill()
        lanes = Lanes(ThreadClock(), self.pool)
        waits = [
            Resident(WholeFile(self.SIZE), self.descriptor, lanes.lane("cold")).wait_beyond(0)
            for _ in range(2 * self.pool.max)
        ]
        self.assertLess(self.pool.waiting, self.pool.max)
        self.pool.run_all()
        for waiting in waits:
            self.successResultOf(waiting)

    def test_inner_first(self) -> None:
        """
        Nothing is read of a part that may not be sent yet.
        """
        self.chill()
        inner = GrowingFile()
        growth = self.resident(inner)
        waiting = growth.wait_beyond(0)
        self.assertEqual(self.pool.waiting, 0)
        inner.grow(10)
        self.pool.step()
        self.successResultOf(waiting)
        self.assertEqual(growth.limit, 10)

    def test_shorter_than_promised(self) -> None:
        """
        A file that is shorter than it should be does not hold its sender up: the sender will see.
        """
        growth = self.resident(WholeFile(self.SIZE + MiB))
        waiting = growth.wait_beyond(self.SIZE - 1)
        self.pool.step()
        self.successResultOf(waiting)

    def test_unreadable(self) -> None:
        """
        A failed read is told to the sender.
        """
        reading, writing = os.pipe()
        os.close(writing)
        self.addCleanup(os.close, reading)
        growth = Resident(WholeFile(10), reading, self.lane)
        waiting = growth.wait_beyond(0)
        self.pool.run_all()
        self.failureResultOf(waiting, OSError)

    def test_descriptor_closed_meanwhile(self) -> None:
        """
        A thread reads by a descriptor of its own, which is closed afterwards, whatever became of the sender's.
        """
        self.chill()
        before = descriptors()
        body = FileBody(os.dup(self.descriptor), 0, self.SIZE, self.resident())
        consumer = RecordingConsumer(body)
        done = body.startProducing(consumer)
        body.stopProducing()
        self.assertEqual(self.pool.waiting, 1)
        self.pool.run_all()
        self.assertNoResult(done)
        self.assertEqual((consumer.data, descriptors()), (b"", before))

    def test_cancelled(self) -> None:
        """
        A cancelled wait is over at once, lets nothing go, and leaves nothing open.
        """
        self.chill()
        before = descriptors()
        growth = self.resident()
        waiting = growth.wait_beyond(0)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.pool.run_all()
        self.assertEqual((growth.limit, descriptors()), (0, before))

    def test_pool_stopped(self) -> None:
        """
        When the threads are gone the wait fails and nothing stays open.
        """
        self.chill()
        before = descriptors()
        self.pool.joined = True
        self.failureResultOf(self.resident().wait_beyond(0), LaneStopped)
        self.assertEqual(descriptors(), before)


class ColdFileTests(TestCase):
    """
    A cold file through real threads.
    """

    async def test_right_bytes(self) -> None:
        """
        A file dropped from the page cache arrives whole and right, and is read in the pool.
        """
        pool = ThreadPool(0, 1)
        pool.start()
        self.addCleanup(pool.stop)
        data = patterned(3 * MiB + 17)
        descriptor = descriptor_of(self, data)
        drop_from_memory(self, descriptor)
        lane = Lanes(reactor, pool).lane("cold")
        growth = Resident(WholeFile(len(data)), descriptor, lane, window_bytes=1 * MiB)
        body = FileBody(descriptor, 5, len(data) - 5, growth)
        consumer = RecordingConsumer(body)
        done = body.startProducing(consumer)
        self.assertEqual(consumer.pieces, [])
        await done
        self.assertTrue(consumer.data == data[5:])
        self.assertEqual(pool.workers, 1)
