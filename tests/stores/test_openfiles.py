"""
Files stay open for the next reader, not for long, and not for ever.
"""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from glance_tx.stores.errors import LocationNotFound
from glance_tx.stores.filesystem import FilesystemSettings, FilesystemStore
from glance_tx.stores.folders import FolderChoice
from glance_tx.stores.openfiles import KEEP_FILES, KEEP_SECONDS
from glance_tx.streaming.errors import ShortFile
from glance_tx.streaming.interfaces import IFileBody
from glance_tx.streaming.lanes import Lanes
from tests.contracts.store import KEY, collect
from tests.doubles.pools import SteppedPool, ThreadClock
from tests.stores.test_filesystem import open_descriptors


class KeptOpenTests(SynchronousTestCase):
    """
    `FilesystemStore` with a clock.
    """

    def setUp(self) -> None:
        self.root = Path(self.mktemp()).absolute()
        self.pool, self.clock = SteppedPool(), Clock()
        settings = FilesystemSettings("files", [FolderChoice(str(self.root))])
        self.files = FilesystemStore(settings, Lanes(ThreadClock(), self.pool), self.clock)
        self.files.check()
        self.location = self.put(1)

    def put(self, fence: int) -> str:
        (self.root / f"{KEY}.{fence}").write_bytes(b"data")
        return self.files.plan_location(KEY, fence)

    def start(self, offset: int = 0, length: int | None = None) -> Deferred[IFileBody]:
        return Deferred.fromCoroutine(self.files.open_reader(self.location, offset, length))

    def first(self, location: str | None = None) -> IFileBody:
        opening = Deferred.fromCoroutine(self.files.open_reader(location or self.location))
        self.assertNoResult(opening)
        self.pool.run_all()
        return self.successResultOf(opening)

    def assert_open(self, count: int) -> None:
        self.pool.run_all()
        self.assertEqual(open_descriptors(self.root), count)

    def test_next_reader(self) -> None:
        """
        The next readers get their parts of the same file without a thread, whether the first has left or not.
        """
        first = self.first()
        parts = [self.successResultOf(self.start(1, 2))]
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(collect(first))), b"data")
        parts.append(self.successResultOf(self.start(2, 2)))
        self.assert_open(1)
        read = [self.successResultOf(Deferred.fromCoroutine(collect(part))) for part in parts]
        self.assertEqual(read, [b"at", b"ta"])
        self.assertEqual(self.pool.waiting, 0)

    def test_size(self) -> None:
        """
        How long it is needs no thread either.
        """
        self.first().close()
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(self.files.size_bytes(self.location))), 4)

    def test_time_is_over(self) -> None:
        """
        However often it was read since, a file is opened anew when its time is over, and was closed in a thread.
        """
        self.first().close()
        self.clock.advance(KEEP_SECONDS / 2)
        self.successResultOf(self.start()).close()
        self.clock.advance(KEEP_SECONDS / 2)
        self.assertEqual(self.pool.waiting, 1)
        self.assert_open(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.first().close()

    def test_readers_outlive_the_time(self) -> None:
        """
        Who has it when its time is over keeps it, and the last one to leave closes it.
        """
        slow, slower = self.first(), self.successResultOf(self.start())
        self.clock.advance(KEEP_SECONDS)
        slow.close()
        self.assert_open(1)
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(collect(slower))), b"data")
        self.assert_open(0)

    def test_deleted_here(self) -> None:
        """
        Data that are deleted are not found, and leave their room, at once.
        """
        self.first().close()
        deleting = Deferred.fromCoroutine(self.files.delete(self.location))
        self.assert_open(0)
        self.successResultOf(deleting)
        gone = self.start()
        self.pool.run_all()
        self.failureResultOf(gone, LocationNotFound)
        self.clock.advance(KEEP_SECONDS)

    def test_expiry_of_another(self) -> None:
        """
        The time of a file that was forgotten ends nothing for the one that came after it.
        """
        self.first().close()
        Deferred.fromCoroutine(self.files.delete(self.location))
        self.pool.run_all()
        self.clock.advance(KEEP_SECONDS / 2)
        self.put(1)
        self.first().close()
        self.clock.advance(KEEP_SECONDS / 2)
        self.assert_open(1)
        self.clock.advance(KEEP_SECONDS / 2)
        self.assert_open(0)

    def test_opened_twice(self) -> None:
        """
        Of two that were opened at the same time one is kept, and the other closed after its reader.
        """
        openings = [self.start(), self.start()]
        self.pool.run_all()
        bodies = [self.successResultOf(opening) for opening in openings]
        self.assert_open(2)
        bodies[0].close()
        self.assert_open(2)
        bodies[1].close()
        self.assert_open(1)
        self.clock.advance(KEEP_SECONDS)
        self.assert_open(0)

    def test_refusal(self) -> None:
        """
        Asking for more than there is leaves no reader behind.
        """
        self.first().close()
        self.failureResultOf(self.start(2, 3), ShortFile)
        self.clock.advance(KEEP_SECONDS)
        self.assert_open(0)

    def test_number(self) -> None:
        """
        Of very many files no more than so many are kept.
        """
        for fence in range(1, KEEP_FILES + 6):
            self.first(self.put(fence)).close()
        self.assert_open(KEEP_FILES)
        self.clock.advance(KEEP_SECONDS)
        self.assert_open(0)
