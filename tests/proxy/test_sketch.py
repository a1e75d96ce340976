"""
Uses, counted in little memory.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from glance_cache.sketch import MOST_USES, FrequencySketch


class FrequencySketchTests(SynchronousTestCase):
    """
    `FrequencySketch`.
    """

    def test_never_too_low(self) -> None:
        """However few counters there are, no name seems to be used less often than it was."""
        sketch = FrequencySketch(16)
        for number in range(100):
            for _ in range(number % 7):
                sketch.add(f"name-{number}")
        for number in range(100):
            self.assertGreaterEqual(sketch.estimate(f"name-{number}"), number % 7)

    def test_exact_where_there_is_room(self) -> None:
        """With many more counters than names, counts are right; a name that never came has none."""
        sketch = FrequencySketch(16 * 1024)
        told = {number: [sketch.add(f"name-{number}") for _ in range(number % 7)] for number in range(1000)}
        for number, counts in told.items():
            self.assertEqual(counts, list(range(1, number % 7 + 1)))
            self.assertEqual(sketch.estimate(f"name-{number}"), number % 7)
        self.assertEqual(sketch.estimate("another"), 0)

    def test_several_at_once(self) -> None:
        """Uses can be counted in one go; beyond the most there is nothing more."""
        sketch = FrequencySketch(64)
        self.assertEqual([sketch.add("a", 5), sketch.add("a", 4), sketch.add("a", 1000)], [5, 9, MOST_USES])

    def test_halves(self) -> None:
        """Half of what was counted can be forgotten, of everything at once."""
        sketch = FrequencySketch(1024)
        sketch.add("a", 9)
        sketch.add("b", 1)
        sketch.halve()
        self.assertEqual([sketch.estimate("a"), sketch.estimate("b")], [4, 0])
