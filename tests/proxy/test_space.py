"""
The account of the room that the cache may use.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from glance_cache.errors import FolderUnusable
from glance_cache.space import SpaceAccount


class SpaceAccountTests(SynchronousTestCase):
    """
    `SpaceAccount` and its reservations.
    """

    def setUp(self) -> None:
        self.account = SpaceAccount(100)

    def test_what_is_reserved_becomes_used(self) -> None:
        """Room for a fill is reserved first, and used once there is something to keep."""
        self.account.commit(self.account.reserve(40))
        self.account.reserve(50)
        self.assertEqual((self.account.used_bytes, self.account.reserved_bytes), (40, 50))

    def test_room_is_given_back_once(self) -> None:
        """A reservation that is released is free again, once, whether or not it was committed."""
        for commit in (False, True):
            room = self.account.reserve(100)
            if commit:
                self.account.commit(room)
                self.account.commit(room)
            room.release()
            room.release()
            self.assertEqual(self.account.taken_bytes, 0)

    def test_room_in_use_is_not_free(self) -> None:
        """Room that was released goes back when the last one who holds it drops it."""
        room = self.account.reserve(60)
        room.hold()
        room.hold()
        room.release()
        room.drop()
        self.assertEqual(self.account.taken_bytes, 60)
        room.drop()
        self.assertEqual(self.account.taken_bytes, 0)

    def test_what_is_not_held_cannot_be_dropped(self) -> None:
        """Dropping more often than holding is a mistake that is told."""
        self.assertRaises(RuntimeError, self.account.reserve(1).drop)

    def test_what_is_there_counts_even_beyond_the_limit(self) -> None:
        """Entries found on the disk are adopted whatever the limit; nothing is available then."""
        room = self.account.adopt(150)
        self.assertEqual(self.account.used_bytes, 150)
        room.release()
        self.assertEqual(self.account.taken_bytes, 0)

    def test_waiting_for_the_disk_to_be_known(self) -> None:
        """Whoever waits is told once the disk is known, and at once after that; who left is not missed."""
        waiting, leaving = self.account.when_settled(), self.account.when_settled()
        leaving.cancel()
        self.failureResultOf(leaving, CancelledError)
        self.assertNoResult(waiting)
        self.account.settle()
        self.successResultOf(waiting)
        self.successResultOf(self.account.when_settled())

    def test_a_disk_that_cannot_be_known(self) -> None:
        """Where the disk cannot be looked through, everybody who waits is told why, each by an error of his own."""
        waiting = self.account.when_settled()
        error = FolderUnusable("/cache", "it burns")
        self.account.fail(error)
        first = self.failureResultOf(waiting, FolderUnusable).value
        second = self.failureResultOf(self.account.when_settled(), FolderUnusable).value
        self.assertEqual((str(first), str(second)), (str(error), str(error)))
        self.assertIsNot(first, second)
        self.assertFalse(self.account.settled)
