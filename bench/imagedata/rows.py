"""
What is measured: rows of a table, each with trials of several servers that take turns, and what is to be reached.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

from attrs import field, frozen

from imagedata.client import ClientFailed
from tables import Column

__all__ = ["OURS", "Figures", "Found", "Goal", "Row", "Trial", "Verdict", "measure_row", "quartiles"]

OURS = "ours"

BUSY = "client_busy"
"""The figure that says which part of the time the load client computed."""

Figures = Mapping[str, float]
"""What one trial found; a figure's name carries its unit."""

Found = Mapping[str, Sequence[Figures]]
"""Of one row: each contender's rounds."""


@frozen
class Verdict:
    """
    Whether a goal was reached.

    :param reached: ``None`` where there is nothing to compare with.
    :param value: The ratio, or the figure itself where the goal is a figure.
    :param spread: Between which values the middle half of the rounds lies.
    """

    reached: bool | None
    value: float
    limit: float
    spread: tuple[float, float]
    remark: str = ""


@frozen(kw_only=True)
class Goal:
    """
    What our figure is to be, next to others' or by itself.

    :param factors: Contenders, and how many times their median it may be at most (at least, where not `at_most`). Of
        several the most generous one counts.
    :param value: A limit by itself, in the figure's unit.
    :param loose: The factor that counts where the other's own rounds differ by so much that the first one would say
        nothing: where the ratio of their quartiles is above it.
    """

    figure: str
    factors: Mapping[str, float] = field(factory=dict)
    value: float | None = None
    at_most: bool = True
    loose: float | None = None

    def __str__(self) -> str:
        sign = "<=" if self.at_most else ">="
        of = [f"{factor:g} of {name}" for name, factor in self.factors.items()]
        if self.value is not None:
            of.append(f"{self.value:g}")
        return f"{self.figure} {sign} {' or '.join(of)}"

    def judge(self, found: Found) -> Verdict:
        """
        Compare what was found.
        """
        ours = _rounds(found, OURS, self.figure)
        if self.value is not None:
            middle = statistics.median(ours)
            return Verdict(self._holds(middle, self.value), middle, self.value, quartiles(ours))
        there = {name: factor for name, factor in self.factors.items() if _rounds(found, name, self.figure)}
        if not ours or not there:
            return Verdict(None, float("nan"), float("nan"), (float("nan"), float("nan")), "nothing to compare with")
        limits = {name: factor * statistics.median(_rounds(found, name, self.figure)) for name, factor in there.items()}
        name = (max if self.at_most else min)(limits, key=lambda each: limits[each])
        theirs = _rounds(found, name, self.figure)
        return self._against(name, there[name], ours, theirs)

    def _against(self, name: str, factor: float, ours: Sequence[float], theirs: Sequence[float]) -> Verdict:
        remark = f"of {name}" if len(self.factors) > 1 else ""
        low, high = quartiles(theirs)
        if self.loose is not None and high > low * factor:
            remark, factor = f"{name} itself spreads {high / low:.2f} times: {self.loose:g} counts", self.loose
        value = _divided(statistics.median(ours), statistics.median(theirs))
        pairs = [_divided(mine, other) for mine, other in zip(ours, theirs, strict=False)]
        return Verdict(self._holds(value, factor), value, factor, quartiles(pairs), remark)

    def _holds(self, value: float, limit: float) -> bool:
        return value <= limit if self.at_most else value >= limit


@frozen
class Trial:
    """
    One contender of a row.

    :param run: Measures it once.
    """

    contender: str
    run: Callable[[], Figures]


@frozen(kw_only=True)
class Row:
    """
    Trials that take turns.

    :param case: What the command line calls it.
    :param title: What is measured.
    :param rounds: How many count, where the command line does not say.
    :param warm_up: Whether there is a first one that does not count.
    """

    case: str
    title: str
    trials: Sequence[Trial]
    goals: Sequence[Goal] = ()
    rounds: int = 5
    warm_up: bool = True


def measure_row(row: Row, rounds: int, note: Callable[[str], object]) -> Found:
    """
    Let the trials of a row take turns: in every round each of them once, beginning with another one each time, so that
    what else the machine does falls on all of them.

    :param note: Is told how far it is, and which peer failed: that one is left out from then on.
    :raises ClientFailed: Ours failed.
    """
    found: dict[str, list[Figures]] = {trial.contender: [] for trial in row.trials}
    trials = list(row.trials)
    for number in range(-1 if row.warm_up else 0, rounds):
        note(f"{row.case}: {row.title}: {'warming up' if number < 0 else f'round {number + 1} of {rounds}'}")
        first = number % len(trials)
        for trial in (*trials[first:], *trials[:first]):
            try:
                figures = trial.run()
            except ClientFailed as error:
                if trial.contender == OURS:
                    raise
                note(f"{row.title}: {trial.contender} failed: {error}")
                trials.remove(trial)
                continue
            if number >= 0:
                found[trial.contender].append(figures)
    return found


def column(found: Found, contender: str, figure: str) -> Column | None:
    """
    Gather one figure of one contender; ``None`` where it has none.
    """
    rounds = _rounds(found, contender, figure)
    return Column(rounds) if rounds else None


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """
    Tell between which values the middle half lies.
    """
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def _rounds(found: Found, contender: str, figure: str) -> Sequence[float]:
    return [figures[figure] for figures in found.get(contender, ()) if figure in figures]


def _divided(one: float, other: float) -> float:
    return one / other if other else float("inf")
