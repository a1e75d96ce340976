"""
Tests of which upstream is asked, and of which is too slow.
"""

from __future__ import annotations

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from glance_cache.progress import ProgressWatch
from glance_cache.turns import UpstreamState, UpstreamTurns

A, B, C = "http://a", "http://b", "http://c"


class TurnsTests(SynchronousTestCase):
    """
    `UpstreamTurns` leaves alone what failed.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.told: list[tuple[str, bool]] = []
        self.turns = UpstreamTurns([A, B, C], self.clock, 60.0, lambda base, well: self.told.append((base, well)))

    def order(self) -> str:
        """
        The order for a request that may try, in short.
        """
        return "".join(base[-1] for base in self.turns.order(trial=True))

    def test_as_configured(self) -> None:
        """
        While all are well they are asked in their order, always.
        """
        for base in (C, B, A):
            self.assertEqual(self.order(), "abc")
            self.turns.answered(base)
        self.assertEqual(self.told, [])

    def test_failed(self) -> None:
        """
        One that failed is asked last, so that it is where there is no other; of several the one whose rest ends first.
        """
        self.turns.failed(A, "it broke")
        self.assertEqual(self.order(), "bca")
        self.assertEqual(self.turns.first, B)
        self.clock.advance(0.5)
        self.turns.failed(B, "it broke")
        self.assertEqual(self.order(), "cab")
        self.turns.failed(C, "it broke")
        self.assertEqual(sorted(self.order()), ["a", "b", "c"])

    def test_states(self) -> None:
        """
        Of each it is told whether it rests, until when, how often it began to fail, and what was wrong last, which
        stays when it is well again.
        """
        well = UpstreamState(base=A, well=True, failures=0, rests_until=None, last_error=None, last_error_at=None)
        self.assertEqual(self.turns.states(), [well, evolve(well, base=B), evolve(well, base=C)])
        self.turns.failed(A, "first")
        self.clock.advance(0.5)
        self.turns.failed(A, "second")
        failed = evolve(
            well, well=False, failures=1, rests_until=1_000_001.5, last_error="second", last_error_at=1_000_000.5
        )
        self.assertEqual(self.turns.states()[0], failed)
        self.turns.answered(A)
        self.assertEqual(self.turns.states()[0], evolve(failed, well=True, rests_until=None))
        self.turns.failed(A, "third", 10.0)
        self.assertEqual(
            self.turns.states()[0], evolve(failed, failures=2, rests_until=1_000_010.5, last_error="third")
        )
        self.assertTrue(self.turns.states()[1].well)

    def test_one_tries(self) -> None:
        """
        After its rest one request tries it, and no other before that has its answer.
        """
        self.turns.failed(A, "it broke")
        self.clock.advance(1)
        self.assertEqual([self.order() for _ in range(3)], ["abc", "bca", "bca"])
        self.turns.answered(A)
        self.assertEqual(self.order(), "abc")
        self.assertEqual(self.told, [(A, False), (A, True)])

    def test_nobody_says(self) -> None:
        """
        Where the one that tried never said what came of it, another one tries later.
        """
        self.turns.failed(A, "it broke")
        self.clock.advance(1)
        self.assertEqual(self.order(), "abc")
        self.clock.advance(1)
        self.assertEqual(self.order(), "abc")

    def test_not_with_anything(self) -> None:
        """
        A request that cannot be repeated elsewhere tries nothing.
        """
        self.turns.failed(A, "it broke")
        self.clock.advance(10)
        self.assertEqual(self.turns.order(trial=False), (B, C, A))
        self.assertEqual(self.order(), "abc")

    def rests(self, count: int) -> list[float]:
        """
        How long the first one is left alone, each time it fails when it is tried.
        """
        found = []
        for _ in range(count):
            self.turns.failed(A, "it broke")
            seconds = 0.0
            while self.order() != "abc":
                self.clock.advance(0.5)
                seconds += 0.5
            found.append(seconds)
        return found

    def test_longer_and_longer(self) -> None:
        """
        Its rests double, up to the longest one.
        """
        self.assertEqual(self.rests(9), [1, 2, 4, 8, 16, 32, 60, 60, 60])

    def test_answers_in_between(self) -> None:
        """
        That it answers, and fails right after, makes it no better; that it was well for long does.
        """
        self.rests(4)
        self.turns.answered(A)
        self.assertEqual(self.rests(1), [16])
        self.turns.answered(A)
        self.clock.advance(120)
        self.assertEqual(self.rests(1), [1])

    def test_many_at_once(self) -> None:
        """
        A hundred transfers that break at once are one failure.
        """
        for _ in range(100):
            self.turns.failed(A, "it broke")
        self.assertEqual(self.rests(1), [1])
        self.assertEqual(self.told, [(A, False)])

    def test_asks_for_time(self) -> None:
        """
        One that says for how long it wants to be left alone is, up to the longest rest.
        """
        self.turns.failed(A, "it broke", 10.0)
        self.clock.advance(9.5)
        self.turns.answered(A)
        self.assertEqual(self.order(), "bca")
        self.clock.advance(0.5)
        self.assertEqual(self.order(), "abc")
        self.turns.failed(A, "it broke", 1e9)
        self.clock.advance(60)
        self.assertEqual(self.order(), "abc")

    def test_only_one(self) -> None:
        """
        The only one is asked in any case.
        """
        turns = UpstreamTurns([A], self.clock)
        turns.failed(A, "it broke")
        self.assertEqual(turns.order(trial=True), (A,))
        self.assertEqual(turns.order(trial=False), (A,))


class ProgressTests(SynchronousTestCase):
    """
    `ProgressWatch` tells a sender that is slow from one that is waited for by nobody.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.watch = ProgressWatch(self.clock, 60.0, 1000)

    def receive(self, size: int, seconds: float) -> bool:
        self.watch.begin()
        self.clock.advance(seconds)
        self.watch.end(size)
        return self.watch.too_slow

    def test_trickle(self) -> None:
        """
        A byte now and then is too slow, after the window and not before.
        """
        self.assertEqual([self.receive(1, 10) for _ in range(6)], [False] * 5 + [True])

    def test_just_enough(self) -> None:
        """
        Each window counts for itself.
        """
        for _ in range(5):
            self.assertFalse(self.receive(1000, 60))
        self.assertTrue(self.receive(999, 60))

    def test_slow_reader(self) -> None:
        """
        What the reader does between two reads takes no time.
        """
        for _ in range(100):
            self.clock.advance(60)
            self.assertFalse(self.receive(1, 0))

    def test_any_progress(self) -> None:
        """
        Where nothing is too slow nothing is.
        """
        self.watch = ProgressWatch(self.clock, 60.0, 0)
        self.assertFalse(self.receive(0, 600))
