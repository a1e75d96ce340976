"""
What was found as a picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from attrs import frozen

from imagedata.report import Measured
from imagedata.rows import Goal, Verdict

__all__ = ["chart"]

_LINE, _LEFT, _SCALE, _TOP = 18, 560, 400, 40
# How far from its goal a figure is shown: further ones lie at the edge.
_MOST = 8.0
_COLORS = {True: "#2e7d32", False: "#c62828"}


@frozen
class _Mark:
    """
    One goal: what was found, as a multiple of the limit.
    """

    text: str
    value: float
    low: float
    high: float
    reached: bool

    @classmethod
    def of(cls, title: str, goal: Goal, verdict: Verdict) -> _Mark:
        low, high = (value / verdict.limit for value in verdict.spread)
        return cls(f"{title}: {goal}", verdict.value / verdict.limit, low, high, bool(verdict.reached))


def chart(measured: Sequence[Measured]) -> str:
    """
    Draw every goal as a line, on a logarithmic scale on which all goals are in the middle: a dot for what was found,
    green where the goal was reached, and a bar for the middle half of the rounds.

    :return: SVG.
    """
    marks = [
        _Mark.of(each.row.title, goal, verdict)
        for each in measured
        for goal, verdict in each.verdicts()
        if verdict.reached is not None
    ]
    height = _TOP + _LINE * len(marks) + _LINE
    lines = [_line(mark, _TOP + _LINE * number) for number, mark in enumerate(marks)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _SCALE + 20}" height="{height}">',
            "<style>text { font: 11px sans-serif }</style>",
            '<rect width="100%" height="100%" fill="white"/>',
            *(_scale(factor, height) for factor in (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)),
            *lines,
            "</svg>\n",
        ]
    )


def _scale(factor: float, height: int) -> str:
    at, color = _at(factor), "#333" if factor == 1 else "#ddd"
    text = "goal" if factor == 1 else f"{factor:g}x" if factor > 1 else f"1/{1 / factor:g}"
    return (
        f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP - 14}" y2="{height - _LINE / 2:.0f}" stroke="{color}"/>'
        f'<text x="{at:.1f}" y="{_TOP - 20}" text-anchor="middle">{text}</text>'
    )


def _line(mark: _Mark, y: int) -> str:
    color = _COLORS[mark.reached]
    return (
        f'<text x="{_LEFT - 10}" y="{y + 4}" text-anchor="end">{escape(mark.text)}</text>'
        f'<line x1="{_at(mark.low):.1f}" x2="{_at(mark.high):.1f}" y1="{y}" y2="{y}" stroke="{color}" '
        f'stroke-width="3" stroke-opacity="0.4"/><circle cx="{_at(mark.value):.1f}" cy="{y}" r="4" fill="{color}"/>'
    )


def _at(factor: float) -> float:
    within = min(max(factor, 1 / _MOST), _MOST)
    return _LEFT + _SCALE / 2 * (1 + math.log(within) / math.log(_MOST))
