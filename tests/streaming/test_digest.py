"""
Digests are hashlib's, taken in lanes.
"""

from __future__ import annotations

import hashlib

from twisted.trial.unittest import SynchronousTestCase

from glance_tx.streaming.digest import Digests
from glance_tx.streaming.lanes import Lanes
from tests.doubles.pools import SteppedPool, ThreadClock, inline_lanes


class DigestsTests(SynchronousTestCase):
    """
    `Digests` of a body that comes in pieces.
    """

    def test_pieces(self) -> None:
        """
        The digests are those of all pieces in order.
        """
        digests = Digests(inline_lanes(), ["md5", "sha512"])
        for piece in (b"one", b"", b"two"):
            self.successResultOf(digests.update(piece))
        self.assertEqual(
            digests.hexdigests(),
            {"md5": hashlib.md5(b"onetwo").hexdigest(), "sha512": hashlib.sha512(b"onetwo").hexdigest()},
        )

    def test_nothing(self) -> None:
        """
        Without a single piece they are the digests of the empty body.
        """
        self.assertEqual(Digests(inline_lanes(), ["sha256"]).hexdigests(), {"sha256": hashlib.sha256().hexdigest()})

    def test_side_by_side_in_order(self) -> None:
        """
        Each algorithm has a lane of its own, and a piece is done when all have had it.
        """
        pool = SteppedPool()
        digests = Digests(Lanes(ThreadClock(), pool), ["md5", "sha512"])
        first, second = digests.update(b"one"), digests.update(b"two")
        self.assertEqual(pool.waiting, 2)
        pool.step()
        self.assertNoResult(first)
        pool.step()
        self.successResultOf(first)
        self.assertNoResult(second)
        pool.run_all()
        self.successResultOf(second)
        self.assertEqual(digests.hexdigests()["sha512"], hashlib.sha512(b"onetwo").hexdigest())

    def test_asked_too_early(self) -> None:
        """
        Digests of half a piece are never told.
        """
        digests = Digests(Lanes(ThreadClock(), SteppedPool()), ["md5"])
        digests.update(b"one")
        self.assertRaises(RuntimeError, digests.hexdigests)

    def test_same_algorithm_twice(self) -> None:
        """
        An algorithm named twice is computed once.
        """
        digests = Digests(inline_lanes(), ["sha256", "sha256"])
        self.successResultOf(digests.update(b"x"))
        self.assertEqual(digests.hexdigests(), {"sha256": hashlib.sha256(b"x").hexdigest()})

    def test_unknown_algorithm(self) -> None:
        """
        An algorithm hashlib does not know is refused at once.
        """
        self.assertRaises(ValueError, Digests, inline_lanes(), ["rot13"])
