"""
`SqliteIndex` keeps the index contract, and gets over a broken file.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SynchronousTestCase, TestCase

from glance_cache.errors import IndexUnavailable
from glance_cache.index_sqlite import SqliteIndex, _Database
from glance_cache.interfaces import HitTotals, ICacheIndex
from glance_tx.streaming.lanes import Lanes
from tests.contracts.index import image
from tests.contracts.jobs import JobsContract
from tests.doubles.pools import SteppedPool, ThreadClock, inline_lanes

_ADDING = """
import sys
from pathlib import Path
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher, formatEvent
from glance_cache.index_sqlite import SqliteIndex, _Database
from tests.contracts.index import image
from tests.doubles.pools import inline_lanes
globalLogPublisher.addObserver(lambda event: print(formatEvent(event), flush=True))
index = SqliteIndex(Path(sys.argv[1]), inline_lanes().lane("index"), Clock())
print("ready", flush=True)
sys.stdin.readline()
for number in range(20):
    adding = Deferred.fromCoroutine(index.add_jobs("a", [image(20 * int(sys.argv[2]) + number)], 0, 1.0))
    adding.addErrback(lambda failure: print(failure.getTraceback()))
"""


class SqliteIndexContractTests(JobsContract, TestCase):
    """
    The contract.
    """

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.pool = ThreadPool(minthreads=0, maxthreads=2)
        self.pool.start()
        self.addCleanup(self.pool.stop)

    def make_index(self) -> ICacheIndex:
        return SqliteIndex(self.folder / "index.sqlite", Lanes(reactor, self.pool).lane("index"), reactor)


class FileTests(SynchronousTestCase):
    """
    What becomes of the file.
    """

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "index.sqlite"

    def make(self) -> SqliteIndex:
        index = SqliteIndex(self.path, inline_lanes().lane("index"), Clock())
        self.addCleanup(self.do, index.stop())
        return index

    def do(self, coroutine):
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def fill(self) -> None:
        index = self.make()
        self.do(index.merge_hits("a", {image(1): HitTotals(3, 300, 30.0)}, after="", mark="m1"))
        self.do(index.add_jobs("a", [image(2)], 0, 1.0))
        self.do(index.stop())

    def test_kept(self) -> None:
        """
        What was written is there for the next process: totals, marks and queue.
        """
        self.fill()
        index = self.make()
        self.assertTrue(self.do(index.merge_hits("a", {}, after="m1", mark="m1")))
        self.assertEqual(self.do(index.hits()), {image(1): HitTotals(3, 300, 30.0)})
        self.assertEqual([job.image_id for job in self.do(index.jobs("a"))], [image(2)])

    def test_private(self) -> None:
        """
        Nobody else on the machine can read which images are used.
        """
        self.addCleanup(os.umask, os.umask(0))
        self.do(self.make().add_jobs("a", [image(2)], 0, 1.0))
        self.assertEqual({path.stat().st_mode & 0o077 for path in self.folder.iterdir()}, {0})

    def test_broken(self) -> None:
        """
        A file that is no sound database of ours is moved aside and said so; the index works on with a new one.
        """

        def truncate() -> None:
            os.truncate(self.path, self.path.stat().st_size - 5000)

        def overwrite() -> None:
            with self.path.open("r+b") as file:
                file.seek(4096)
                file.write(b"\xff" * 4096 * 3)

        def replace_version() -> None:
            with sqlite3.connect(self.path) as connection:
                connection.execute("PRAGMA user_version = 77")
            connection.close()

        def other_program() -> None:
            self.path.unlink()
            with sqlite3.connect(self.path) as connection:
                connection.execute("CREATE TABLE something (else_ TEXT)")
            connection.close()

        for harm in (
            lambda: self.path.write_bytes(b"junk" * 1000),
            truncate,
            overwrite,
            replace_version,
            other_program,
        ):
            self.fill()
            harm()
            before = self.path.read_bytes()
            index = self.make()
            with capturedLogs() as events:
                self.assertFalse(self.do(index.merge_hits("a", {}, after="m1", mark="m1")))
            self.assertEqual([event["log_level"] for event in events], [LogLevel.error])
            self.assertEqual(self.do(index.hits()), {})
            self.assertEqual(list(self.do(index.jobs("a"))), [])
            self.do(index.stop())
            self.assertEqual((self.folder / "index.sqlite.broken").read_bytes(), before)
            self.path.unlink()

    def test_breaks_while_open(self) -> None:
        """
        A file that breaks under way is replaced too, without a failed call.
        """
        index = self.make()
        # More than SQLite keeps in memory, or it would not notice.
        totals = {image(number): HitTotals(1, 1, 1.0) for number in range(40_000)}
        self.do(index.merge_hits("a", totals, after="", mark="m1"))
        self.do(index.stop())
        index = self.make()
        self.assertTrue(self.do(index.merge_hits("a", {}, after="m1", mark="m1")))
        with self.path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xee" * (self.path.stat().st_size - 4096))
        self.assertEqual(self.do(index.hits()), {})
        self.assertFalse(self.do(index.merge_hits("a", {}, after="m1", mark="m1")))
        self.assertTrue((self.folder / "index.sqlite.broken").exists())

    def test_two_find_it_broken(self) -> None:
        """
        Of two processes that find a broken file at once one moves it aside; what the other one has written by the time
        the second comes to it stays, and both go on with the same new file.
        """
        self.path.write_bytes(b"junk" * 1000)
        first, second = self.make(), self.make()
        move = _Database._move_aside

        def move_late(database: _Database, reason: Exception) -> None:
            self.patch(_Database, "_move_aside", move)
            self.do(first.add_jobs("a", [image(1)], 0, 1.0))
            move(database, reason)

        self.patch(_Database, "_move_aside", move_late)
        with capturedLogs() as events:
            self.do(second.add_jobs("a", [image(2)], 0, 1.0))
        self.assertEqual([event["log_level"] for event in events], [LogLevel.error])
        for index in (first, second):
            self.assertEqual([job.image_id for job in self.do(index.jobs("a"))], [image(1), image(2)])
        self.assertEqual((self.folder / "index.sqlite.broken").read_bytes(), b"junk" * 1000)

    def test_moved_under_another_one(self) -> None:
        """
        Who still has the old file open when another process moves it aside notices, and does its work in the new one;
        letting go of the old one takes nothing from that.
        """
        self.fill()
        first, second, third = self.make(), self.make(), self.make()
        for index in (first, second, third):
            self.assertEqual(self.do(index.hits()), {image(1): HitTotals(3, 300, 30.0)})
        with sqlite3.connect(self.path) as connection:
            connection.execute("PRAGMA user_version = 77")
        connection.close()
        self.do(self.make().add_jobs("a", [image(4)], 0, 1.0))
        self.assertFalse(self.do(first.merge_hits("a", {image(5): HitTotals(1, 1, 1.0)}, after="m1", mark="m2")))
        self.do(second.add_jobs("a", [image(6)], 0, 1.0))
        self.do(third.stop())
        for index in (first, second, self.make()):
            self.assertEqual(self.do(index.hits()), {image(5): HitTotals(1, 1, 1.0)})
            self.assertEqual([job.image_id for job in self.do(index.jobs("a"))], [image(4), image(6)])

    def test_many_processes(self) -> None:
        """
        Processes that start on a broken file at once move it aside once, and lose nothing of what any of them writes.
        """
        junk = b"junk" * 1000
        self.path.write_bytes(junk)
        command = [sys.executable, "-c", _ADDING, str(self.path)]
        processes = [
            subprocess.Popen([*command, str(n)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) for n in range(4)
        ]
        for process in processes:
            self.addCleanup(process.wait)
            self.addCleanup(process.kill)
            assert process.stdout is not None
            self.assertEqual(process.stdout.readline(), b"ready\n")
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(b"go\n")
            process.stdin.flush()
        said = [process.communicate()[0] for process in processes]
        self.assertEqual(sum(b"is broken" in each for each in said), 1, said)
        self.assertEqual((self.folder / "index.sqlite.broken").read_bytes(), junk)
        queued = {job.image_id for job in self.do(self.make().jobs("a"))}
        self.assertEqual(queued, {image(20 * n + k) for n in range(4) for k in range(20)})

    def test_folder_gone(self) -> None:
        """
        A file that cannot be had is an index that cannot be reached, until it can.
        """
        self.folder.rmdir()
        index = self.make()
        self.do(index.start())
        self.failureResultOf(Deferred.fromCoroutine(index.hits()), IndexUnavailable)
        self.folder.mkdir()
        self.assertEqual(self.do(index.hits()), {})

    def test_slow_disk(self) -> None:
        """
        A call ends with the deadline, however long the disk takes.
        """
        clock, pool = Clock(), SteppedPool()
        lane = Lanes(ThreadClock(), pool).lane("index")
        index = SqliteIndex(self.path, lane, clock, timeout_seconds=3)
        work = Deferred.fromCoroutine(index.hits())
        clock.advance(2.9)
        self.assertNoResult(work)
        clock.advance(0.1)
        self.failureResultOf(work, IndexUnavailable)
        pool.run_all()
