"""
What a node tells, as people read it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

__all__ = ["cached_table", "jobs_table", "nodes_table", "show_facts", "speed", "when"]

_NOTHING: Final = "N/A"


def when(seconds: float | None) -> str:
    """
    Write a time down, in UTC.
    """
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") if seconds else _NOTHING


def speed(bytes_per_second: float | None) -> str:
    """
    Write down how fast something comes.
    """
    return "" if bytes_per_second is None else f"{decimal(int(bytes_per_second))}/s"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        # Ids and times are copied from here: they stay in one piece however narrow the window is.
        table.add_column(column, no_wrap=True, overflow="ignore")
    return table


def cached_table(images: Iterable[Mapping[str, Any]]) -> Table:
    """
    Show entries.
    """
    table = _table("ID", "Last Accessed (UTC)", "Last Modified (UTC)", "Size", "Hits", "")
    for image in images:
        marks = "pinned" if image.get("pinned") else ""
        table.add_row(
            image["image_id"],
            when(image["last_accessed"]),
            when(image["last_modified"]),
            str(image["size"]),
            str(image["hits"]),
            marks,
        )
    return table


def jobs_table(jobs: Sequence[Mapping[str, Any]]) -> Table:
    """
    Show jobs.
    """
    table = _table("ID", "State", "Priority", "Attempts", "Progress", "Speed", "Left", "Last error")
    for job in jobs:
        left = job["seconds_left"]
        table.add_row(
            job["image_id"],
            job["state"],
            str(job["priority"]),
            str(job["attempts"]),
            f"{100 * job['progress']:.0f}%",
            speed(job["bytes_per_second"]),
            "" if left is None else f"{left:.0f} s",
            job["last_error"] or "",
        )
    return table


def nodes_table(nodes: Iterable[Mapping[str, Any]]) -> Table:
    """
    Show nodes.
    """
    table = _table("Node", "Last Seen (UTC)", "Images", "Used", "Of", "Hits", "Hits/s", "Version")
    for node in nodes:
        rates = node["rates"] or {}
        table.add_row(
            node["node"],
            when(node["last_seen"]),
            str(node["entries"]),
            decimal(node["used_bytes"] or 0),
            decimal(node["max_bytes"] or 0),
            str(node["hits"]),
            str(rates.get("hits", "")),
            str(node["version"]),
        )
    return table


def show_facts(console: Console, facts: Mapping[str, Any], indent: str = "") -> None:
    """
    Show a document, a line for each fact.
    """
    for name, value in facts.items():
        words = name.replace("_", " ")
        if isinstance(value, Mapping):
            console.print(f"{indent}{words}:", markup=False, highlight=False)
            show_facts(console, value, indent + "  ")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            for each in value:
                console.print(f"{indent}{words}:", markup=False, highlight=False)
                show_facts(console, each, indent + "  ")
        else:
            text = ", ".join(map(str, value)) or "none" if isinstance(value, list) else _text(name, value)
            console.print(f"{indent}{words}: {text}", markup=False, highlight=False, soft_wrap=True)


def _text(name: str, value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case int() | float() if name in {"last_accessed", "last_modified", "queued_at", "started_at", "not_before"}:
            return when(value)
        case int() | float() if name.endswith("bytes") or name == "size":
            return f"{value} ({decimal(int(value))})"
        case _:
            return str(value)
