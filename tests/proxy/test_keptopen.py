"""
The files of an entry stay open for the next reader, not for long, and not for ever.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from glance_cache.entry import EntryState
from glance_cache.interfaces import ImageFacts
from glance_cache.keptopen import KEEP_ENTRIES, KEEP_SECONDS
from glance_cache.names import EntryName
from glance_tx.streaming.interfaces import IFileBody
from glance_tx.streaming.units import MiB
from tests.doubles.pools import SteppedPool
from tests.proxy.folders import DATA, EntriesTestCase, World, body_bytes, facts_of, open_files


class KeptOpenTests(EntriesTestCase):
    """
    `EntryStore` with threads that work when they are told to.
    """

    def setUp(self) -> None:
        super().setUp()
        self.world = World(self.path, max_bytes=5 * MiB, pool=SteppedPool())
        self.finish(self.world, self.world.start())
        self.addCleanup(lambda: self.finish(self.world, self.world.stop()))
        self.facts = self.fill()
        self.idle = open_files(self.path)

    def fill(self, data: bytes = DATA) -> ImageFacts:
        return self.finish(self.world, self.world.fill(data))

    def first(self, facts: ImageFacts | None = None) -> IFileBody:
        opening = Deferred.fromCoroutine(self.world.store.open(facts or self.facts))
        self.assertNoResult(opening)
        self.world.pool.run_all()
        return self.found(self.successResultOf(opening))

    def next(self, offset: int = 0, length: int | None = None) -> IFileBody:
        return self.found(self.successResultOf(self.open(offset, length)))

    def open(self, offset: int = 0, length: int | None = None) -> Deferred[IFileBody | None]:
        return Deferred.fromCoroutine(self.world.store.open(self.facts, offset, length))

    def found(self, body: IFileBody | None) -> IFileBody:
        assert body is not None
        return body

    def assert_open(self, count: int) -> None:
        self.world.pool.run_all()
        self.assertEqual(len(open_files(self.path)) - len(self.idle), count)

    def test_next_reader(self) -> None:
        """
        The next readers get what is right of the same files without a thread, whether the first has left or not.
        """
        first = self.first()
        second = self.next(10, 20)
        first.close()
        second.close()
        self.assertEqual(self.world.pool.waiting, 0)
        third = self.next(5, 7)
        self.assert_open(3)
        self.assertEqual(self.finish(self.world, body_bytes(third)), DATA[5:12])
        self.assert_open(2)

    def test_time_is_over(self) -> None:
        """
        However often it was read since, an entry is opened anew when its time is over, and was closed in a thread.
        """
        self.first().close()
        self.world.clock.advance(KEEP_SECONDS / 2)
        self.next().close()
        self.world.clock.advance(KEEP_SECONDS / 2)
        self.assertEqual(self.world.pool.waiting, 1)
        self.assert_open(0)
        self.assertEqual(self.world.clock.getDelayedCalls(), [])
        self.first().close()

    def test_closing_before_the_next_reader(self) -> None:
        """
        Who comes while a thread is about to close the files waits for it, and has them opened anew.
        """
        self.first().close()
        self.world.clock.advance(KEEP_SECONDS)
        late = self.open()
        self.assertNoResult(late)
        self.world.pool.run_all()
        body = self.found(self.successResultOf(late))
        self.assertEqual(self.finish(self.world, body_bytes(body)), DATA)

    def test_readers_outlive_the_time(self) -> None:
        """
        Who reads when the time is over reads on, and the last one to leave has the files closed.
        """
        slow = self.first()
        self.world.clock.advance(KEEP_SECONDS)
        self.assert_open(3)
        self.assertEqual(self.finish(self.world, body_bytes(slow)), DATA)
        self.assert_open(0)

    def test_room_of_what_is_removed(self) -> None:
        """
        What is kept open only does not keep its room when the entry is removed.
        """
        self.first().close()
        removing = Deferred.fromCoroutine(self.world.store.remove(self.facts.image_id))
        self.assert_open(0)
        self.assertEqual(self.successResultOf(removing), 1)
        self.assertEqual(self.world.account.taken_bytes, 0)
        self.assertEqual(self.world.clock.getDelayedCalls(), [])
        self.assertIsNone(self.finish(self.world, self.world.store.open(self.facts)))

    def test_room_is_free_with_the_removal(self) -> None:
        """
        When the removal has ended the room is free: whoever made room by it can take that.
        """
        self.first().close()
        taken = self.world.account.taken_bytes
        removing = Deferred.fromCoroutine(self.world.store.remove(self.facts.image_id))
        while not removing.called:
            self.assertEqual(self.world.account.taken_bytes, taken)
            self.world.pool.step()
        self.assertEqual(self.world.account.taken_bytes, 0)

    def test_evicted(self) -> None:
        """
        Being kept open does not keep an entry from being evicted, and its room is free at once.
        """
        self.first().close()
        other = self.fill(DATA + DATA[:MiB])
        self.assertIsNone(self.finish(self.world, self.world.store.open(self.facts)))
        self.assertEqual(self.world.account.taken_bytes, self.world.disk_bytes())
        self.assertEqual(self.world.clock.getDelayedCalls(), [])
        self.first(other).close()

    def test_opened_twice(self) -> None:
        """
        Two who have an entry opened at the same time keep it open once.
        """
        openings = [self.open(), self.open()]
        self.world.pool.run_all()
        for opening in openings:
            self.found(self.successResultOf(opening)).close()
        self.assertEqual(len(self.world.clock.getDelayedCalls()), 1)
        self.world.clock.advance(KEEP_SECONDS)
        self.assert_open(0)
        self.finish(self.world, self.world.store.remove(self.facts.image_id))
        self.assertEqual(self.world.account.taken_bytes, 0)

    def test_removed_while_it_is_opened(self) -> None:
        """
        An entry that is removed while somebody has it opened is not kept open.
        """
        opening = self.open()
        removing = Deferred.fromCoroutine(self.world.store.remove(self.facts.image_id))
        self.world.pool.run_all()
        self.found(self.successResultOf(opening)).close()
        self.assert_open(0)
        self.successResultOf(removing)
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_removed_by_somebody_else(self) -> None:
        """
        An entry whose files were taken away is not there, although they are open.
        """
        self.first().close()
        for path in self.world.paths():
            path.unlink()
        self.assertIsNone(self.successResultOf(self.open()))
        self.assert_open(0)
        self.assertNotIn(EntryState.COMPLETE, self.world.store.states().values())

    def test_changed_meanwhile(self) -> None:
        """
        Bytes that were changed while the files are kept open do not leave.
        """
        self.finish(self.world, body_bytes(self.first()))
        self.world.overwrite(self.facts, 100)
        opening = self.next()
        work = Deferred.fromCoroutine(body_bytes(opening))
        self.world.pool.run_all()
        self.failureResultOf(work)
        self.assertEqual(len(self.world.corrupt), 1)

    def test_another_length(self) -> None:
        """
        An entry that got another length while it is kept open is removed.
        """
        self.first().close()
        with self.world.folder.data_path(EntryName.of(self.facts)).open("ab") as file:
            file.write(b"x")
        self.assertIsNone(self.successResultOf(self.open()))
        self.assert_open(0)

    def test_number(self) -> None:
        """
        Of very many entries no more than so many are kept open.
        """
        several = [self.fill(b"%d" % number) for number in range(KEEP_ENTRIES + 3)]
        for facts in several:
            self.first(facts).close()
        self.assert_open(2 * KEEP_ENTRIES)
        self.world.clock.advance(KEEP_SECONDS)
        self.assert_open(0)

    def test_stop(self) -> None:
        """
        Nothing is open after the end, nor kept open by who came just before.
        """
        self.first().close()
        other = facts_of(b"other")
        self.fill(b"other")
        opening = Deferred.fromCoroutine(self.world.store.open(other))
        stopping = Deferred.fromCoroutine(self.world.stop())
        self.world.pool.run_all()
        self.found(self.successResultOf(opening)).close()
        self.world.pool.run_all()
        self.successResultOf(stopping)
        self.assertEqual(open_files(self.path), [])
        self.assertEqual(self.world.clock.getDelayedCalls(), [])
        self.finish(self.world, self.world.start())
