"""
Tests for `imagedata.rows`.
"""

import math

from twisted.trial.unittest import SynchronousTestCase

from imagedata.client import ClientFailed
from imagedata.rows import OURS, Figures, Goal, Row, Trial, measure_row, quartiles

CPU = "cpu"


def rounds(*values: float) -> list[Figures]:
    return [{CPU: value} for value in values]


class GoalTests(SynchronousTestCase):
    """
    Goals judge medians.
    """

    def test_ratio_of_medians(self) -> None:
        """
        Outliers in single rounds change nothing.
        """
        goal = Goal(figure=CPU, factors={"nginx": 1.15})
        verdict = goal.judge({OURS: rounds(1.0, 1.1, 50), "nginx": rounds(0.01, 1.0, 1.0)})
        self.assertEqual((True, 1.1), (verdict.reached, verdict.value))
        self.assertFalse(goal.judge({OURS: rounds(1.2), "nginx": rounds(1.0)}).reached)

    def test_at_least(self) -> None:
        """
        Where more is better, less misses the goal.
        """
        goal = Goal(figure=CPU, factors={"nginx": 0.9}, at_most=False)
        self.assertTrue(goal.judge({OURS: rounds(95), "nginx": rounds(100)}).reached)
        self.assertFalse(goal.judge({OURS: rounds(85), "nginx": rounds(100)}).reached)

    def test_most_generous(self) -> None:
        """
        Of several contenders the one counts that allows most, and is named.
        """
        goal = Goal(figure=CPU, factors={"varnish": 1.1, "hashes": 1.25})
        verdict = goal.judge({OURS: rounds(2.4), "varnish": rounds(1.0), "hashes": rounds(2.0)})
        self.assertEqual((True, 1.2, "of hashes"), (verdict.reached, verdict.value, verdict.remark))
        alone = goal.judge({OURS: rounds(2.4), "varnish": rounds(1.0)})
        self.assertEqual((False, 2.4), (alone.reached, alone.value))

    def test_loose(self) -> None:
        """
        A contender whose own rounds differ by more than the factor is held against the loose one.
        """
        goal = Goal(figure=CPU, factors={"nginx": 1.15}, loose=1.5)
        calm = goal.judge({OURS: rounds(1.4, 1.4, 1.4, 1.4), "nginx": rounds(1.0, 1.0, 1.1, 1.1)})
        self.assertEqual((False, 1.15), (calm.reached, calm.limit))
        unrest = goal.judge({OURS: rounds(1.4, 1.4, 1.4, 1.4), "nginx": rounds(0.5, 1.0, 1.0, 2.0)})
        self.assertEqual((True, 1.5), (unrest.reached, unrest.limit))
        self.assertIn("nginx itself spreads", unrest.remark)

    def test_value(self) -> None:
        """
        A goal may be a figure by itself.
        """
        goal = Goal(figure=CPU, value=50)
        self.assertTrue(goal.judge({OURS: rounds(49)}).reached)
        self.assertFalse(goal.judge({OURS: rounds(51)}).reached)

    def test_nothing_to_compare(self) -> None:
        """
        Without the contender a goal is neither reached nor missed.
        """
        verdict = Goal(figure=CPU, factors={"nginx": 1}).judge({OURS: rounds(1)})
        self.assertIsNone(verdict.reached)
        self.assertTrue(math.isnan(verdict.value))

    def test_spread(self) -> None:
        """
        The spread of a ratio is that of the rounds' own ratios: what slows down both in a round is no spread.
        """
        goal = Goal(figure=CPU, factors={"nginx": 1.15})
        verdict = goal.judge({OURS: rounds(1, 2, 4, 8), "nginx": rounds(1, 2, 4, 8)})
        self.assertEqual((1.0, 1.0), verdict.spread)

    def test_quartiles(self) -> None:
        """
        Quartiles lie within the values; one value is all of them.
        """
        self.assertEqual((2.0, 4.0), quartiles([1, 2, 3, 4, 5]))
        self.assertEqual((7, 7), quartiles([7]))


class MeasureTests(SynchronousTestCase):
    """
    Contenders take turns.
    """

    def setUp(self) -> None:
        self.order: list[str] = []
        self.failing: set[str] = set()

    def trial(self, name: str) -> Trial:
        def run() -> Figures:
            self.order.append(name)
            if name in self.failing:
                raise ClientFailed("no answer")
            return {CPU: float(len(self.order))}

        return Trial(name, run)

    def row(self, *names: str) -> Row:
        return Row(case="case", title="title", trials=[self.trial(name) for name in names])

    def test_turns(self) -> None:
        """
        In every round each has one turn, another one begins each time, and the first round does not count.
        """
        found = measure_row(self.row(OURS, "nginx", "stock"), 3, lambda _: None)
        turns = [self.order[at : at + 3] for at in range(0, 12, 3)]
        self.assertEqual([sorted(turn) for turn in turns], [sorted((OURS, "nginx", "stock"))] * 4)
        self.assertEqual({turn[0] for turn in turns[1:]}, {OURS, "nginx", "stock"})
        self.assertEqual([3, 3, 3], [len(each) for each in found.values()])
        self.assertNotIn({CPU: 1.0}, [figures for each in found.values() for figures in each])

    def test_peer_fails(self) -> None:
        """
        A peer that fails is named and has no more turns; the others go on.
        """
        said: list[str] = []
        self.failing.add("nginx")
        found = measure_row(self.row(OURS, "nginx"), 2, said.append)
        self.assertEqual((2, 0, 1), (len(found[OURS]), len(found["nginx"]), self.order.count("nginx")))
        self.assertIn("title: nginx failed: no answer", said)

    def test_ours_fails(self) -> None:
        """
        Where ours fails nothing is compared.
        """
        self.failing.add(OURS)
        self.assertRaises(ClientFailed, measure_row, self.row(OURS, "nginx"), 2, lambda _: None)
