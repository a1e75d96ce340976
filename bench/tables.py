"""
Rounds of several servers as medians, ratios and tables.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from attrs import frozen

__all__ = ["Column", "format_table", "ratio"]


@frozen
class Column:
    """
    One figure of one server, over all rounds.
    """

    rounds: Sequence[float]

    @property
    def median(self) -> float:
        """
        What counts.
        """
        return statistics.median(self.rounds)

    def __str__(self) -> str:
        """
        The median, and between what and what the rounds lie.
        """
        return f"{_short(self.median)} ({_short(min(self.rounds))}-{_short(max(self.rounds))})"


def ratio(ours: Column, theirs: Column) -> float:
    """
    Say how many times as much as the other the first is, by medians.
    """
    return ours.median / theirs.median if theirs.median else float("inf")


def format_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """
    Lay out a table, the first column to the left and the others to the right.
    """
    lines = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if position else cell.ljust(width)
            for position, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _short(value: float) -> str:
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
