"""
The disk below the cache is looked at.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from glance_cache.disk import DiskWatch
from glance_cache.errors import FolderUnusable


class DiskWatchTests(SynchronousTestCase):
    """
    `DiskWatch`.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.looks: list[Deferred[int]] = []
        self.watch = DiskWatch(self.look, self.clock)
        self.successResultOf(Deferred.fromCoroutine(self.watch.start()))

    def look(self) -> Deferred[int]:
        self.looks.append(Deferred())
        return self.looks[-1]

    def stop(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.watch.stop())

    def test_every_ten_seconds(self) -> None:
        """It is looked at when the daemon starts and every ten seconds from then on, until it stops."""
        self.looks[-1].callback(1)
        self.clock.pump([5, 5])
        self.assertEqual(len(self.looks), 2)
        self.looks[-1].callback(2)
        self.successResultOf(self.stop())
        self.clock.advance(60)
        self.assertEqual(len(self.looks), 2)

    def test_one_look_at_a_time(self) -> None:
        """A disk that does not answer is not asked again meanwhile; the daemon does not stop before it has."""
        self.clock.advance(60)
        self.assertEqual(len(self.looks), 1)
        stopping = self.stop()
        self.assertNoResult(stopping)
        self.looks[0].callback(1)
        self.successResultOf(stopping)

    def test_a_disk_that_fails(self) -> None:
        """A disk that cannot be asked is asked again."""
        self.looks[-1].errback(FolderUnusable("/cache", "Input/output error"))
        self.clock.advance(10)
        self.looks[-1].callback(1)
        self.clock.advance(10)
        self.assertEqual(len(self.looks), 3)
        self.looks[-1].errback(FolderUnusable("/cache", "Input/output error"))
        self.successResultOf(self.stop())
