"""
What was found, as tables and as JSON.
"""

from __future__ import annotations

import json
import math
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from attrs import frozen

from imagedata.client import BUSY as BUSY_LIMIT
from imagedata.rows import BUSY, OURS, Found, Goal, Row, Verdict, column
from tables import format_table, ratio

__all__ = ["Measured", "figures_table", "goals_table", "remarks", "write_json"]

_REACHED = {True: "reached", False: "missed", None: "-"}


@frozen
class Measured:
    """
    A row with what was found.
    """

    row: Row
    found: Found

    def verdicts(self) -> list[tuple[Goal, Verdict]]:
        """
        Judge all goals.
        """
        return [(goal, goal.judge(self.found)) for goal in self.row.goals]


def figures_table(measured: Sequence[Measured]) -> str:
    """
    List the medians, in brackets the least and the greatest round, and ours divided by each other's.
    """
    peers = list(dict.fromkeys(name for each in measured for name in each.found if name != OURS))
    rows: list[list[object]] = []
    for each in measured:
        for figure in _figures(each.found):
            ours = column(each.found, OURS, figure)
            line: list[object] = [each.row.title, figure, ours or ""]
            for name in peers:
                theirs = column(each.found, name, figure)
                line += [theirs or "", f"{ratio(ours, theirs):.2f}" if ours and theirs else ""]
            rows.append(line)
    return format_table(("case", "figure", OURS, *(word for name in peers for word in (name, "ratio"))), rows)


def _figures(found: Found) -> list[str]:
    names = dict.fromkeys(name for rounds in found.values() for figures in rounds for name in figures)
    return [name for name in names if name != BUSY]


def goals_table(measured: Sequence[Measured]) -> str:
    """
    List what was to be reached, and what was.
    """
    rows = [
        (each.row.title, goal, *_shown(verdict), _REACHED[verdict.reached], verdict.remark)
        for each in measured
        for goal, verdict in each.verdicts()
    ]
    return format_table(("case", "goal", "found", "middle half of rounds", "", ""), rows)


def _shown(verdict: Verdict) -> tuple[str, str]:
    if math.isnan(verdict.value):
        return "", ""
    low, high = verdict.spread
    return f"{verdict.value:.3g}", f"{low:.3g} to {high:.3g}"


def remarks(measured: Sequence[Measured]) -> list[str]:
    """
    Say where the load client was what was measured.
    """
    return [
        f"{each.row.title}: the load client was busy for {busy.median:.0%} of {name}'s time; more was not asked for"
        for each in measured
        for name in each.found
        if (busy := column(each.found, name, BUSY)) is not None and busy.median >= BUSY_LIMIT
    ]


def conditions(processes: int, versions: Mapping[str, str]) -> dict[str, object]:
    """
    Describe the machine and what ran on it.
    """
    return {
        "ended": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": platform.platform(),
        "processors": os.cpu_count(),
        "processor": _processor(),
        "processes_of_each_server": processes,
        "python": platform.python_version(),
        "twisted": version("twisted"),
        **versions,
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def peer_versions(stock: Path | None) -> dict[str, str]:
    """
    Ask peers for their versions.

    :param stock: The environment of stock Glance.
    """
    search = f"{os.environ.get('PATH', '')}:/usr/sbin"
    commands = {"nginx": ["nginx", "-v"], "varnish": ["varnishd", "-V"]}
    found = {name: _first_line(words) for name, words in commands.items() if shutil.which(words[0], path=search)}
    if stock is not None:
        words = ["-c", "from importlib.metadata import version; print(version('glance'), 'uwsgi', version('uwsgi'))"]
        found["stock"] = _first_line([str(stock / "bin/python"), *words])
    return found


def _first_line(command: Sequence[str]) -> str:
    program = shutil.which(command[0], path=f"{os.environ.get('PATH', '')}:/usr/sbin") or command[0]
    run = subprocess.run([program, *command[1:]], check=False, capture_output=True, text=True)
    return (run.stdout + run.stderr).strip().partition("\n")[0]


def write_json(
    path: Path, measured: Sequence[Measured], facts: Mapping[str, object], missing: Mapping[str, str]
) -> None:
    """
    Keep every round, and under which conditions it was measured.
    """
    document = {
        "conditions": facts,
        "left_out": missing,
        "rows": [
            {
                "case": each.row.case,
                "title": each.row.title,
                "rounds": each.found,
                "goals": [
                    {"goal": str(goal), "found": _number(verdict.value), "reached": verdict.reached}
                    for goal, verdict in each.verdicts()
                ],
            }
            for each in measured
        ],
    }
    path.write_text(json.dumps(document, indent=1) + "\n")


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
