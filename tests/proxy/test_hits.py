"""
Hits are counted exactly, whatever happens to the index, the disk and the process.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import define
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.logger import LogLevel, capturedLogs
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SynchronousTestCase, TestCase

from glance_cache.errors import FolderUnusable, IndexUnavailable
from glance_cache.files import FileOps
from glance_cache.hit_journal import HitJournal
from glance_cache.hit_sums import HitSums
from glance_cache.hits import HitCounter
from glance_cache.index_redis import RedisIndex
from glance_cache.index_sqlite import SqliteIndex
from glance_cache.interfaces import HitTotals, ICacheIndex
from glance_tx.redis.address import RedisAddress
from glance_tx.redis.client import RedisClient
from glance_tx.streaming.lanes import Lanes
from tests.contracts.index import image
from tests.doubles.pools import InlinePool, SteppedPool, ThreadClock, inline_lanes
from tests.proxy.test_hit_journal import FailingFiles
from tests.services import _Redis, own_redis

_RECORDING = """
import sys
from pathlib import Path
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from glance_cache.files import FileOps
from glance_cache.hit_journal import HitJournal
from glance_cache.hit_sums import HitSums
from glance_cache.hits import HitCounter
from glance_cache.index_sqlite import SqliteIndex
from tests.doubles.pools import inline_lanes
lanes, clock = inline_lanes(), Clock()
journal = HitJournal(Path(sys.argv[1]), "a", FileOps())
index = SqliteIndex(Path(sys.argv[1] + ".index"), lanes.lane("index"), clock)
counter = HitCounter(journal, lanes.lane("journal"), index, "a", clock)
Deferred.fromCoroutine(counter.start())
count = 0
while True:
    count += 1
    counter.record("some-image", 10)
    print(count, flush=True)
"""


@define
class UnreliableIndex:
    """
    A real index whose merges can be made to fail, before or after they were carried out.
    """

    inner: ICacheIndex
    failing: str | None = None
    merged: int = 0

    async def forget_hits(self, node: str, keys: Sequence[str]) -> None:
        if self.failing is not None:
            raise IndexUnavailable("out for lunch")
        await self.inner.forget_hits(node, keys)

    async def node_hits(self, node: str) -> Mapping[str, HitTotals]:
        if self.failing is not None:
            raise IndexUnavailable("out for lunch")
        return await self.inner.node_hits(node)

    async def merge_hits(self, node: str, totals: Mapping[str, HitTotals], *, after: str, mark: str) -> bool:
        if self.failing == "before":
            raise IndexUnavailable("out for lunch")
        kept = await self.inner.merge_hits(node, totals, after=after, mark=mark)
        self.merged += len(totals)
        if self.failing == "after":
            raise IndexUnavailable("gone before it could say so")
        return kept


class _Node:
    """
    One node's counter, and what it stands on.
    """

    def __init__(self, folder: Path, inner: ICacheIndex, clock: Clock, name: str = "a", kept_hours: int = 0) -> None:
        self.pool = InlinePool()
        self.files = FailingFiles()
        self.index = UnreliableIndex(inner)
        journal = HitJournal(folder / f"{name}.journal", name, self.files)
        lane = Lanes(ThreadClock(), self.pool).lane("journal")
        self.counter = HitCounter(journal, lane, self.index, name, clock, kept_hours=kept_hours)


class _CounterCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.index_path = self.folder / "index.sqlite"
        self.inner = self.make_index()

    def make_index(self) -> SqliteIndex:
        return SqliteIndex(self.index_path, inline_lanes().lane("index"), self.clock)

    def node(self, name: str = "a") -> _Node:
        return _Node(self.folder, self.inner, self.clock, name)

    def started(self, name: str = "a", kept_hours: int = 0) -> _Node:
        node = _Node(self.folder, self.inner, self.clock, name, kept_hours)
        self.do(node.counter.start())
        self.addCleanup(lambda: self.do(node.counter.stop()))
        return node

    def do(self, coroutine):
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def hits(self) -> dict[str, int]:
        return {key: totals.hits for key, totals in self.do(self.inner.hits()).items()}

    def lose_index(self) -> None:
        """
        Empty the index, as a Redis does that is started anew.
        """
        self.do(self.inner.stop())
        for path in self.folder.glob("index.sqlite*"):
            path.unlink()
        self.inner._database._connection = None
        self.inner._stopped = False


class CountingTests(_CounterCase):
    """
    When all is well.
    """

    def test_counts(self) -> None:
        """
        Within a second of a hit the index knows how many there were, how many bytes, and when the last one was.
        """
        node = self.started()
        node.counter.record(image(1), 100)
        self.clock.advance(0.25)
        node.counter.record(image(1), 50)
        node.counter.record(image(2), 7)
        self.assertEqual(self.hits(), {})
        self.assertEqual(node.counter.unsent, 2)
        self.clock.advance(0.75)
        expected = {image(1): HitTotals(2, 150, 1_700_000_000.25), image(2): HitTotals(1, 7, 1_700_000_000.25)}
        self.assertEqual(self.do(self.inner.hits()), expected)
        self.assertEqual(node.counter.unsent, 0)
        self.assertEqual(node.counter.totals(image(1)), expected[image(1)])
        self.assertEqual(node.counter.totals(image(9)), HitTotals())

    def test_only_what_changed(self) -> None:
        """
        The index is not told again what it knows.
        """
        node = self.started()
        for number in range(50):
            node.counter.record(image(number), 1)
        self.clock.pump([1, 1, 1])
        self.assertEqual(node.index.merged, 50)
        node.counter.record(image(7), 1)
        self.clock.pump([1, 1, 1])
        self.assertEqual(node.index.merged, 51)

    def test_nodes_add_up(self) -> None:
        """
        The hits of several nodes add up.
        """
        one, two = self.started("a"), self.started("b")
        for node, count in ((one, 3), (two, 4)):
            for _ in range(count):
                node.counter.record(image(1), 1)
        self.clock.advance(1)
        self.assertEqual(self.hits(), {image(1): 7})

    def test_last_flush(self) -> None:
        """
        What is counted until the end is told before it.
        """
        node = self.node()
        self.do(node.counter.start())
        node.counter.record(image(1), 1)
        self.do(node.counter.stop())
        self.assertEqual(self.hits(), {image(1): 1})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_restart(self) -> None:
        """
        A process goes on where the one before it ended, however it ended.
        """
        for count in range(1, 4):
            node = self.node()
            self.do(node.counter.start())
            self.assertEqual(node.counter.totals(image(1)).hits, count - 1)
            node.counter.record(image(1), 10)
            for call in self.clock.getDelayedCalls():  # it dies here
                call.cancel()
        self.started()
        self.clock.advance(1)
        self.assertEqual(self.do(self.inner.hits()), {image(1): HitTotals(3, 30, 1_700_000_000.0)})

    def test_hits_before_the_start(self) -> None:
        """
        Hits that come before the journal is read count on top of it.
        """
        first = self.started()
        first.counter.record(image(1), 1)
        self.do(first.counter.stop())
        second = self.node()
        second.counter.record(image(1), 1)
        self.do(second.counter.start())
        self.assertEqual(second.counter.totals(image(1)).hits, 2)
        self.do(second.counter.stop())
        self.assertEqual(self.hits(), {image(1): 2})

    def test_journal_stays_small(self) -> None:
        """
        Ever so many hits do not make the journal long, and none is lost on the way.
        """
        node = self.started()
        for _ in range(30_000):
            node.counter.record(image(1), 1)
        self.assertLess((self.folder / "a.journal").stat().st_size, 2_000_000)
        self.do(node.counter.stop())
        self.assertEqual(self.hits(), {image(1): 30_000})
        self.assertEqual(self.started().counter.totals(image(1)).hits, 30_000)


class IndexTests(_CounterCase):
    """
    An index that fails, forgets, or is out of date.
    """

    def test_outage(self) -> None:
        """
        Hits during an outage are told after it, once; the log says when it began and when it ended.
        """
        for failing in ("before", "after"):
            self.lose_index()
            node = self.node(failing)
            self.do(node.counter.start())
            node.counter.record(image(1), 1)
            self.clock.advance(1)
            with capturedLogs() as events:
                node.index.failing = failing
                for _ in range(5):
                    node.counter.record(image(1), 1)
                    node.counter.record(image(2), 1)
                    self.clock.advance(1)
                self.assertFalse(node.counter.index_reachable)
                self.assertEqual(node.counter.unsent, 2)
                node.index.failing = None
                self.clock.advance(1)
            self.assertTrue(node.counter.index_reachable)
            self.assertEqual(self.hits(), {image(1): 6, image(2): 5})
            self.assertEqual([event["log_level"] for event in events], [LogLevel.warn, LogLevel.info])
            self.do(node.counter.stop())

    def test_everything_again_after_a_failure(self) -> None:
        """
        After a failed call all totals are sent, as nobody knows what became of the index meanwhile.
        """
        node = self.started()
        for number in range(2500):
            node.counter.record(image(number), 1)
        self.clock.advance(1)
        node.index.failing = "before"
        self.clock.advance(1)
        self.lose_index()
        node.index.failing = None
        self.clock.advance(1)
        self.assertEqual(self.hits(), {image(number): 1 for number in range(2500)})

    def test_comes_back_empty(self) -> None:
        """
        An index that was emptied without a failed call is filled again by the next flush, hits or no hits.
        """
        node = self.started()
        for number in range(2500):
            node.counter.record(image(number), 1)
        self.clock.advance(1)
        for record in (False, True):
            self.lose_index()
            if record:
                node.counter.record(image(7), 1)
            self.clock.advance(1)
            self.assertEqual(self.hits(), {image(n): 1 + (record and n == 7) for n in range(2500)})

    def test_comes_back_older(self) -> None:
        """
        An index that was put back to an old copy is brought up to date by the next flush.
        """
        node = self.started()
        node.counter.record(image(1), 1)
        node.counter.record(image(2), 1)
        self.clock.advance(1)
        self.do(self.inner.stop())
        shutil.copy(self.index_path, self.folder / "copy")
        self.inner._stopped = False
        for _ in range(3):
            node.counter.record(image(1), 1)
            self.clock.advance(1)
        self.lose_index()
        shutil.copy(self.folder / "copy", self.index_path)
        self.assertEqual(self.hits(), {image(1): 1, image(2): 1})
        self.clock.advance(1)
        self.assertEqual(self.hits(), {image(1): 4, image(2): 1})

    def test_says_that_hits_were_lost(self) -> None:
        """
        A loss is worth a line in the log, but not one a second, as two nodes of one name would cause.
        """
        one, two = self.node(), self.node()
        two.counter._journal.path = self.folder / "other.journal"
        for node in (one, two):
            self.do(node.counter.start())
            self.addCleanup(lambda node=node: self.do(node.counter.stop()))
        with capturedLogs() as events:
            self.clock.pump([1] * 50)
        warnings = [event for event in events if event["log_level"] is LogLevel.warn]
        self.assertEqual(len(warnings), 2)

    def test_record_during_a_call(self) -> None:
        """
        A hit while the index is being told is told the next time.
        """
        pool = SteppedPool()
        self.inner = SqliteIndex(self.index_path, Lanes(ThreadClock(), pool).lane("index"), self.clock)
        node = self.node()
        self.do(node.counter.start())
        node.counter.record(image(1), 1)
        self.clock.advance(1)
        pool.step()  # what the index knows of this node
        self.assertEqual(pool.waiting, 1)
        node.counter.record(image(1), 1)
        node.counter.record(image(2), 1)
        pool.run_all()
        self.clock.advance(1)
        pool.run_all()
        work = Deferred.fromCoroutine(self.inner.hits())
        pool.run_all()
        self.assertEqual({key: t.hits for key, t in self.successResultOf(work).items()}, {image(1): 2, image(2): 1})
        stopped = Deferred.fromCoroutine(node.counter.stop())
        pool.run_all()
        self.successResultOf(stopped)

    def test_never_waits(self) -> None:
        """
        A hit is recorded at once while index and disk do not answer, and counts when they do.
        """
        pool = SteppedPool()
        self.inner = SqliteIndex(self.index_path, Lanes(ThreadClock(), pool).lane("index"), self.clock)
        node = self.node()
        self.do(node.counter.start())
        stuck = SteppedPool()
        node.counter._lane = Lanes(ThreadClock(), stuck).lane("journal")
        for _ in range(100):
            node.counter.record(image(1), 1)
            self.clock.advance(0.25)
        self.assertEqual(node.counter.totals(image(1)).hits, 100)
        # However many hits, one call is under way: nothing piles up behind the disk.
        self.assertLessEqual(stuck.waiting, 2)
        stopped = Deferred.fromCoroutine(node.counter.stop())
        while stuck.waiting or pool.waiting:
            pool.run_all()
            stuck.run_all()
        self.successResultOf(stopped)
        self.inner = self.make_index()
        self.assertEqual(self.hits(), {image(1): 100})

    def test_unforeseen(self) -> None:
        """
        A fault of the index that nobody foresaw is logged, and counting goes on.
        """
        node = self.started()
        broken = node.index.inner
        node.index.inner = None  # type: ignore[assignment]
        node.counter.record(image(1), 1)
        self.clock.advance(1)
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)
        node.index.inner = broken
        self.clock.advance(1)
        self.assertEqual(self.hits(), {image(1): 1})


class DiskTests(_CounterCase):
    """
    A journal that is lost, or cannot be written.
    """

    def test_journal_lost(self) -> None:
        """
        A node that lost its journal goes on from what the index knows of it, hits since the start included.
        """
        first = self.started()
        for _ in range(5):
            first.counter.record(image(1), 10)
        self.do(first.counter.stop())
        (self.folder / "a.journal").unlink()
        second = self.started()
        second.index.failing = "before"
        second.counter.record(image(1), 10)
        self.clock.advance(1)
        second.counter.record(image(1), 10)
        second.index.failing = None
        self.clock.advance(1)
        self.assertEqual(second.counter.totals(image(1)).hits, 7)
        self.assertEqual(self.hits(), {image(1): 7})
        second.counter.record(image(1), 10)
        self.do(second.counter.stop())
        self.assertEqual(self.hits(), {image(1): 8})
        self.assertEqual(self.started().counter.totals(image(1)), HitTotals(8, 80, 1_700_000_002.0))

    def test_both_know_the_same(self) -> None:
        """
        What journal and index both know is not counted twice.
        """
        first = self.started()
        first.counter.record(image(1), 10)
        self.do(first.counter.stop())
        second = self.started()
        second.counter.record(image(1), 10)
        self.clock.pump([1, 1])
        self.assertEqual(self.hits(), {image(1): 2})

    def test_disk_full(self) -> None:
        """
        With the disk full hits are counted and told; once there is room, the journal has them all.
        """
        for step in ("write", "sync_data"):
            node = self.node(step)
            self.do(node.counter.start())
            node.counter.record(image(1), 1)
            with capturedLogs() as events:
                node.files.failing = step
                for _ in range(5):
                    node.counter.record(image(1), 1)
                    self.clock.advance(1)
                if step == "write":
                    self.assertFalse(node.counter.journal_writable)
                node.counter.record(image(2), 1)
                self.clock.advance(1)
                node.files.failing = None
                self.clock.advance(1)
            self.assertTrue(node.counter.journal_writable)
            levels = [event["log_level"] for event in events]
            self.assertEqual(levels[:2], [LogLevel.error, LogLevel.info])
            self.assertEqual(node.counter.totals(image(1)).hits, 6)
            for call in self.clock.getDelayedCalls():  # it dies here
                call.cancel()
            self.lose_index()
            again = self.node(step)
            self.do(again.counter.start())
            self.assertEqual(again.counter.totals(image(1)).hits, 6)
            self.assertEqual(again.counter.totals(image(2)).hits, 1)
            self.do(again.counter.stop())
            self.assertEqual(self.hits(), {image(1): 6, image(2): 1})
            self.lose_index()

    def test_synced_each_second(self) -> None:
        """
        What was written is brought to the disk within a second, and an idle journal is left alone.
        """
        syncs = []

        class Files(FailingFiles):
            def sync_data(self, descriptor: int) -> None:
                syncs.append(descriptor)

        journal = HitJournal(self.folder / "journal", "a", Files())
        counter = HitCounter(journal, inline_lanes().lane("journal"), self.inner, "a", self.clock)
        self.do(counter.start())
        for _ in range(10):
            counter.record(image(1), 1)
        self.assertEqual(len(syncs), 0)
        self.clock.pump([1] * 5)
        self.assertEqual(len(syncs), 1)
        self.do(counter.stop())

    def test_folder_unusable(self) -> None:
        """
        A journal that cannot be had is said at the start.
        """
        node = self.node()
        node.files.failing = "rename"
        error = self.failureResultOf(Deferred.fromCoroutine(node.counter.start()), FolderUnusable).value
        self.assertIn("a.journal", str(error))
        self.assertIn("No space left", str(error))

    def test_says_what_it_cannot_read(self) -> None:
        """
        Damage, and the journal of another node, are worth a line in the log.
        """
        (self.folder / "a.journal").write_bytes(b"junk\n")
        with capturedLogs() as events:
            self.started()
        self.assertEqual(len(events), 1)
        shutil.copy(self.folder / "a.journal", self.folder / "b.journal")
        with capturedLogs() as events:
            self.started("b")
        self.assertEqual(len(events), 1)

    def test_killed(self) -> None:
        """
        A process killed while it records loses no hit that it had written.
        """
        path = (self.folder / "journal").absolute()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        child = subprocess.Popen(
            [sys.executable, "-c", _RECORDING, str(path)], stdout=subprocess.PIPE, text=True, env=environment
        )
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(2000)]
        child.send_signal(signal.SIGKILL)
        said += child.stdout.read().splitlines()
        child.wait()
        child.stdout.close()
        last = int(said[-2])  # the very last line may be half of one
        journal = HitJournal(path, "a", FileOps())
        totals = journal.open().totals["some-image"]
        journal.close()
        self.assertGreaterEqual(totals.hits, last)
        self.assertLessEqual(totals.hits, last + 3)
        self.assertEqual(totals.bytes_sent, totals.hits * 10)


class OtherKeyTests(_CounterCase):
    """
    Hits by project and hour.
    """

    def sums(self, by: str) -> dict[str, int]:
        sums = HitSums.of(self.do(self.inner.all_hits()))
        return {name: totals.hits for name, totals in getattr(sums, by).items()}

    def test_sums_agree(self) -> None:
        """
        Each hit counts once for its image, its project and its hour, and no more after a restart with an empty index.
        """
        node = self.started(kept_hours=5)
        for number, project in enumerate(("p", "q", "p", "-", "x" * 300)):
            node.counter.record(image(number), 10, project)
        self.clock.advance(3600)
        node.counter.record(image(0), 10, "p")
        self.do(node.counter.stop())
        self.lose_index()
        node = self.started(kept_hours=5)
        node.counter.record(image(1), 10, "q")
        self.assertTrue(self.do(node.counter.flush()))
        self.assertEqual(self.sums("projects"), {"p": 3, "q": 2, "-": 1, "x" * 64: 1})
        self.assertEqual(self.sums("hours"), {"2023-11-14T22": 5, "2023-11-14T23": 2})
        self.assertEqual(sum(self.hits().values()), 7)
        self.assertEqual(HitSums.of(self.do(self.inner.all_hits())).nodes["a"].bytes_sent, 70)

    def test_old_hours_are_dropped(self) -> None:
        """
        An hour that is too old leaves the index, when that can be reached, and the journal; nothing else does.
        """
        node = self.started(kept_hours=2)
        for _ in range(3):
            self.clock.advance(3600)
            node.counter.record(image(1), 10, "p")
            self.do(node.counter.flush())
        self.assertEqual(self.sums("hours"), {"2023-11-15T00": 1, "2023-11-15T01": 1})
        node.index.failing = "before"
        self.clock.advance(3600)
        self.assertFalse(self.do(node.counter.flush()))
        self.assertEqual(self.sums("hours"), {"2023-11-15T00": 1, "2023-11-15T01": 1})
        node.index.failing = None
        self.assertTrue(self.do(node.counter.flush()))
        self.assertEqual(self.sums("hours"), {"2023-11-15T01": 1})
        self.assertEqual((self.sums("projects"), self.hits()), ({"p": 3}, {image(1): 3}))

    def test_old_hours_after_a_restart(self) -> None:
        """
        Hours that grew too old while the daemon was away, or are not to be kept any more, are dropped as well.
        """
        node = self.started(kept_hours=2)
        node.counter.record(image(1), 10, "p")
        self.do(node.counter.stop())
        self.clock.advance(3600)
        node = self.started(kept_hours=2)
        node.counter.record(image(1), 10, "p")
        self.do(node.counter.flush())
        self.assertEqual(len(self.sums("hours")), 2)
        self.do(node.counter.stop())
        node = self.started()
        self.do(node.counter.flush())
        self.assertEqual(self.sums("hours"), {})
        self.do(node.counter.stop())
        node = self.started(kept_hours=100)
        self.do(node.counter.flush())
        self.assertEqual((self.sums("hours"), self.hits()), ({}, {image(1): 2}))


class RedisOutageTests(TestCase):
    """
    Two nodes and a real Redis that is killed, emptied and frozen.
    """

    def setUp(self) -> None:
        self.redis = own_redis(self)
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.pool = ThreadPool(minthreads=0, maxthreads=2)
        self.pool.start()
        self.addCleanup(self.pool.stop)
        self.recorded = 0

    async def counter(self, name: str) -> HitCounter:
        index = RedisIndex(RedisClient(reactor, RedisAddress.parse(self.redis.url), timeout_seconds=0.5), "p")
        journal = HitJournal(self.folder / name, name, FileOps())
        lane = Lanes(reactor, self.pool).lane("journal")
        counter = HitCounter(journal, lane, index, name, reactor, flush_seconds=0.05)
        await index.start()
        await counter.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(index.stop()))
        self.addCleanup(lambda: Deferred.fromCoroutine(counter.stop()))
        return counter

    def record(self, *counters: HitCounter) -> None:
        for counter in counters:
            for number in range(3):
                counter.record(image(number), 10)
        self.recorded += len(counters)

    async def until_exact(self) -> None:
        """
        Wait until the sums in Redis are what was recorded.
        """
        reader = RedisIndex(RedisClient(reactor, RedisAddress.parse(self.redis.url)), "p")
        self.addCleanup(lambda: Deferred.fromCoroutine(reader.stop()))
        deadline = reactor.seconds() + 30
        sums: Mapping[str, HitTotals] = {}
        while reactor.seconds() < deadline:
            sums = await reader.hits()
            if {key: t.hits for key, t in sums.items()} == {image(n): self.recorded for n in range(3)}:
                self.assertEqual({t.bytes_sent for t in sums.values()}, {10 * self.recorded})
                return
            await deferLater(reactor, 0.05)
        self.fail(f"{self.recorded} recorded, {sums} found")

    async def test_killed_and_emptied(self) -> None:
        """
        Hits add up through a Redis that is killed, stays away, and comes back empty, twice.
        """
        one, two = await self.counter("a"), await self.counter("b")
        for _ in range(2):
            self.record(one, two)
            await self.until_exact()
            self.record(one)
            self.redis.kill()
            self.record(one, two)
            await one.flush()
            self.assertFalse(one.index_reachable)
            self.record(two)
            self.redis.start()
            await self.until_exact()

    async def test_emptied_unnoticed(self) -> None:
        """
        Hits add up after a Redis was emptied while the connection held.
        """
        one, two = await self.counter("a"), await self.counter("b")
        self.record(one, two)
        await self.until_exact()
        with _Redis(self.redis.url) as redis:
            redis.command("FLUSHALL")
        await self.until_exact()

    async def test_frozen(self) -> None:
        """
        Hits add up through a Redis that stops answering for longer than a call may take.
        """
        one, two = await self.counter("a"), await self.counter("b")
        self.record(one, two)
        await self.until_exact()
        os.kill(self.redis._process.pid, signal.SIGSTOP)
        self.record(one, two)
        self.assertFalse(await one.flush())
        self.record(one)
        os.kill(self.redis._process.pid, signal.SIGCONT)
        await self.until_exact()
