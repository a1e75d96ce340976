"""
Cached data is let go only after it was found right.
"""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from glance_cache.catalog import CHUNK_BYTES
from glance_cache.errors import EntryChanged, EntryCorrupt
from glance_cache.files import FileOps
from glance_cache.stamps import Stamp, settled_stamp
from glance_cache.verify import Verdict, VerifiedGrowth, Verifier
from glance_tx.streaming.interfaces import IGrowth
from glance_tx.streaming.units import MiB
from tests.proxy.folders import IMAGE

CHUNKS = 20
SIZE = CHUNKS * CHUNK_BYTES - 100
OLD = Stamp(1, SIZE, 1000)
NEW = Stamp(1, SIZE, 2000)


class Looks:
    """
    Looks at chunks that are taken when the test says so, at a file that is as the test says.
    """

    def __init__(self) -> None:
        self.stamp = OLD
        self.pending: dict[int, Deferred[Verdict]] = {}
        self.taken: list[int] = []
        self.corrupt: list[EntryCorrupt] = []
        self.verifier = Verifier(IMAGE, SIZE, self._begin, self.corrupt.append)

    def _begin(self, chunk: int, _: Stamp | None) -> Deferred[Verdict]:
        self.taken.append(chunk)
        self.pending[chunk] = Deferred()
        return self.pending[chunk]

    def finish(self, *chunks: int, right: bool = True, steady: bool = True) -> None:
        for chunk in chunks or sorted(self.pending):
            self.pending.pop(chunk).callback(Verdict(self.stamp, steady, right))

    def growth(self, offset: int = 0, end: int = SIZE) -> VerifiedGrowth:
        return VerifiedGrowth(self.verifier, lambda: self.stamp, offset, end)


class VerifiedGrowthTests(SynchronousTestCase):
    """
    `VerifiedGrowth` and `Verifier`.
    """

    def setUp(self) -> None:
        self.looks = Looks()

    def run_to_end(self, growth: VerifiedGrowth, end: int = SIZE) -> None:
        while growth.limit < end:
            waiting = growth.wait_beyond(growth.limit)
            if self.looks.pending:
                self.looks.finish()
            self.successResultOf(waiting)

    def test_it_is_a_growth(self) -> None:
        """It provides `IGrowth`."""
        verifyObject(IGrowth, self.looks.growth())

    def test_nothing_goes_before_it_was_looked_at(self) -> None:
        """The limit is at the body's beginning until the first chunk was found right, and then at that one's end."""
        growth = self.looks.growth(offset=100)
        waiting = growth.wait_beyond(100)
        self.assertNoResult(waiting)
        self.assertEqual(growth.limit, 100)
        self.looks.finish(0)
        self.successResultOf(waiting)
        self.assertEqual(growth.limit, CHUNK_BYTES)

    def test_a_range_has_only_its_own_chunks_looked_at(self) -> None:
        """A body looks at the chunks that it touches and at no others, and its limit is its own end."""
        growth = self.looks.growth(3 * CHUNK_BYTES - 1, 5 * CHUNK_BYTES + 1)
        self.run_to_end(growth, 5 * CHUNK_BYTES + 1)
        self.assertEqual(self.looks.taken, [2, 3, 4, 5])
        self.assertEqual(growth.limit, 5 * CHUNK_BYTES + 1)

    def test_chunks_are_looked_at_once(self) -> None:
        """However many read at once, and after that, each chunk is looked at once."""
        growths = [self.looks.growth() for _ in range(5)]
        waiting = [growth.wait_beyond(0) for growth in growths]
        self.looks.finish(0)
        for waiter in waiting:
            self.successResultOf(waiter)
        for growth in (*growths, self.looks.growth()):
            self.run_to_end(growth)
        self.assertEqual(sorted(self.looks.taken), list(range(CHUNKS)))

    def test_a_few_chunks_are_looked_at_ahead(self) -> None:
        """While a chunk is being sent the next few are looked at; not the whole image."""
        growth = self.looks.growth()
        waiting = growth.wait_beyond(0)
        self.assertEqual(self.looks.taken, [0, 1, 2, 3])
        self.looks.finish(0)
        self.successResultOf(waiting)
        self.assertEqual(self.looks.taken, [0, 1, 2, 3, 4])

    def test_what_a_fill_has_checked_is_not_looked_at(self) -> None:
        """Chunks of an entry that was filled since the start go without a look."""
        self.looks.verifier.trust(OLD)
        self.run_to_end(self.looks.growth())
        self.assertEqual(self.looks.taken, [])

    def test_a_reader_that_leaves_disturbs_nobody(self) -> None:
        """A wait that is cancelled ends nothing but itself."""
        leaving, staying = self.looks.growth().wait_beyond(0), self.looks.growth().wait_beyond(0)
        leaving.cancel()
        self.failureResultOf(leaving, CancelledError)
        self.looks.finish(0)
        self.successResultOf(staying)

    def test_being_told_may_make_another_leave(self) -> None:
        """Whoever is told first may stop others from waiting."""
        first, second = self.looks.growth().wait_beyond(0), self.looks.growth().wait_beyond(0)
        first.addCallback(lambda _: second.cancel())
        self.looks.finish(0)
        self.successResultOf(first)
        self.failureResultOf(second, CancelledError)

    def test_a_bad_chunk_stops_whoever_needs_it(self) -> None:
        """All who wait for a bad chunk, and who come to it later, fail; it is reported once."""
        growths = [self.looks.growth(), self.looks.growth()]
        waiting = [growth.wait_beyond(0) for growth in growths]
        self.looks.finish(0, right=False)
        for waiter in waiting:
            self.assertEqual(self.failureResultOf(waiter, EntryCorrupt).value.chunk, 0)
        self.failureResultOf(growths[0].wait_beyond(0), EntryCorrupt)
        self.looks.finish(1, right=False)
        self.assertEqual([error.chunk for error in self.looks.corrupt], [0])
        self.assertEqual([growth.limit for growth in growths], [0, 0])

    def test_who_does_not_need_the_bad_chunk_goes_on(self) -> None:
        """A body that has passed a bad chunk, or never comes to it, goes on."""
        growth = self.looks.growth(5 * CHUNK_BYTES)
        waiting = growth.wait_beyond(5 * CHUNK_BYTES)
        bad = self.looks.growth().wait_beyond(0)
        self.looks.finish(0, right=False)
        self.failureResultOf(bad, EntryCorrupt)
        self.looks.finish()
        self.successResultOf(waiting)
        self.run_to_end(growth)

    def test_found_wrong_after_it_was_let_go(self) -> None:
        """
        Whoever was let go to a chunk that then turned out to be wrong gets no further, repaired since or not; who was
        past it by then goes on, and so does who comes to it later, when it was found right again.
        """
        self.looks.verifier.trust(OLD)
        past, sending, later = (self.looks.growth() for _ in range(3))
        for growth in (past, sending):
            self.successResultOf(growth.wait_beyond(0))
        self.successResultOf(past.wait_beyond(past.limit))
        for doubt in (self.looks.verifier.spoil, self.looks.verifier.doubt):
            doubt(2)
            self.looks.verifier.bad.discard(2)
        self.run_to_end(later)
        self.assertEqual(self.looks.taken, [2])
        self.assertEqual(self.failureResultOf(sending.wait_beyond(sending.limit), EntryCorrupt).value.chunk, 2)
        self.run_to_end(past)

    def test_doubted_during_a_look(self) -> None:
        """A look that began before somebody else found the chunk wrong tells nothing: there is another one."""
        waiting = self.looks.growth().wait_beyond(0)
        self.looks.verifier.doubt(0)
        self.looks.finish(0)
        self.assertNoResult(waiting)
        self.looks.finish(0)
        self.successResultOf(waiting)

    def test_a_change_resets_readers_under_way(self) -> None:
        """A reader that was let have something before the file changed gets no further; nothing of it can be sent."""
        self.looks.verifier.trust(OLD)
        growth = self.looks.growth()
        self.successResultOf(growth.wait_beyond(0))
        limit = growth.limit
        self.looks.stamp = NEW
        self.failureResultOf(growth.wait_beyond(limit), EntryChanged)
        self.assertEqual(growth.limit, limit)

    def test_after_a_change_all_is_looked_at_anew(self) -> None:
        """A reader that begins after a change, or had nothing yet, has every chunk looked at again."""
        self.looks.verifier.trust(OLD)
        early = self.looks.growth()
        self.looks.stamp = NEW
        self.run_to_end(early)
        self.run_to_end(self.looks.growth())
        self.assertEqual(sorted(self.looks.taken), list(range(CHUNKS)))

    def test_a_change_that_another_reader_saw_counts_for_all(self) -> None:
        """A reader under way is reset by a change even when the chunks were found right again meanwhile."""
        self.looks.verifier.trust(OLD)
        growth = self.looks.growth()
        self.successResultOf(growth.wait_beyond(0))
        self.looks.stamp = NEW
        self.run_to_end(self.looks.growth())
        self.failureResultOf(growth.wait_beyond(growth.limit), EntryChanged)

    def test_the_last_chunk_is_a_step_of_its_own(self) -> None:
        """The file is compared again before the last chunk, so no body is completed from a changed file."""
        self.looks.verifier.trust(OLD)
        for begin, end in ((0, SIZE), (100, 2 * CHUNK_BYTES), (CHUNK_BYTES - 1, CHUNK_BYTES + 1)):
            growth = self.looks.growth(begin, end)
            last_chunk = (end - 1) // CHUNK_BYTES * CHUNK_BYTES
            while growth.limit < last_chunk:
                self.successResultOf(growth.wait_beyond(growth.limit))
            self.assertEqual(growth.limit, last_chunk)

    def test_a_change_under_the_look_is_seen(self) -> None:
        """A look under which the file changed says nothing: another one is taken."""
        growth = self.looks.growth()
        waiting = growth.wait_beyond(0)
        self.looks.finish(0, steady=False)
        self.assertNoResult(waiting)
        self.assertEqual(self.looks.taken.count(0), 2)
        self.looks.finish(0)
        self.successResultOf(waiting)

    def test_a_file_that_never_rests_is_given_up(self) -> None:
        """A reader of a file that changes under every look fails in the end."""
        waiting = self.looks.growth().wait_beyond(0)
        for _ in range(5):
            self.looks.finish(0, steady=False)
        self.failureResultOf(waiting, EntryChanged)

    def test_an_old_look_does_not_count_for_a_new_file(self) -> None:
        """What was found right before a change was noticed is not right after it."""
        growth = self.looks.growth()
        waiting = growth.wait_beyond(0)
        before, self.looks.stamp = self.looks.pending.pop(0), NEW
        before.callback(Verdict(OLD, steady=True, right=True))
        self.assertNoResult(waiting)
        self.assertEqual(self.looks.taken.count(0), 2)

    def test_a_look_that_fails_says_nothing(self) -> None:
        """When nobody could look, who waited is told why, and the next one has it looked at again."""
        waiting = self.looks.growth().wait_beyond(0)
        self.looks.pending.pop(0).errback(ZeroDivisionError())
        self.failureResultOf(waiting, ZeroDivisionError)
        waiting = self.looks.growth().wait_beyond(0)
        self.looks.finish(0)
        self.successResultOf(waiting)
        self.assertEqual(self.looks.corrupt, [])

    def test_a_body_that_was_closed_is_not_touched(self) -> None:
        """After the body was closed its descriptor is not looked at, whoever still waits."""
        growth = self.looks.growth()
        waiting = growth.wait_beyond(0)
        growth.stop()
        self.looks.finish(0)
        self.failureResultOf(waiting, CancelledError)


class StampTests(SynchronousTestCase):
    """
    `settled_stamp` on real files.
    """

    def setUp(self) -> None:
        self.files = FileOps()
        path = Path(self.mktemp())
        path.write_bytes(bytes(MiB))
        self.descriptor = os.open(path, os.O_RDWR)
        self.addCleanup(os.close, self.descriptor)

    def now(self) -> Stamp:
        return Stamp.of(os.fstat(self.descriptor))

    def test_a_change_in_the_same_moment_shows(self) -> None:
        """However soon a file is changed after its stamp was taken, it has another one."""
        for _ in range(50):
            stamp = settled_stamp(self.files, self.descriptor)
            os.pwrite(self.descriptor, b"x", 0)
            self.assertNotEqual(self.now(), stamp)

    def test_it_stays_as_long_as_the_file_does(self) -> None:
        """A file that nobody changes keeps its stamp, and its time if that is old already."""
        stamp = settled_stamp(self.files, self.descriptor)
        self.assertEqual(settled_stamp(self.files, self.descriptor), stamp)
        os.utime(self.descriptor, ns=(5, 5))
        self.assertEqual(settled_stamp(self.files, self.descriptor).modified_ns, 5)

    def test_a_time_to_come_is_settled_as_well(self) -> None:
        """A file with a time in the future gets one in the past."""
        os.utime(self.descriptor, ns=(2**62, 2**62))
        self.assertLess(settled_stamp(self.files, self.descriptor).modified_ns, self.files.now_ns())
