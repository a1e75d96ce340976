"""
Prefetch queues in a SQLite database.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from attrs import asdict, fields

from glance_cache.jobs import Job, JobState

__all__ = ["JOBS_SCHEMA", "add_jobs", "claim_job", "list_jobs", "update_job"]

JOBS_SCHEMA: Final = """
CREATE TABLE jobs (
    place INTEGER PRIMARY KEY AUTOINCREMENT, node TEXT NOT NULL, image_id TEXT NOT NULL, queued_at REAL NOT NULL,
    priority INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'queued', attempts INTEGER NOT NULL DEFAULT 0,
    not_before REAL NOT NULL DEFAULT 0, last_error TEXT, worker TEXT, fence INTEGER NOT NULL DEFAULT 0,
    lease_until REAL NOT NULL DEFAULT 0, started_at REAL NOT NULL DEFAULT 0, reported_at REAL NOT NULL DEFAULT 0,
    size_bytes INTEGER, present_bytes INTEGER NOT NULL DEFAULT 0, fetched_bytes INTEGER NOT NULL DEFAULT 0,
    UNIQUE (node, image_id)
);
CREATE INDEX jobs_in_order ON jobs (node, state, priority DESC, place);
"""
"""The table, a column for each attribute of a `Job`. A place is never given twice."""

_NAMES: Final = [field.name for field in fields(Job)]
_COLUMNS: Final = ", ".join(_NAMES)
_FORGET_FAILED: Final = "DELETE FROM jobs WHERE node = ? AND image_id = ? AND state = 'failed'"
_ADD: Final = """
INSERT INTO jobs (node, image_id, priority, queued_at) VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET priority = max(priority, excluded.priority), not_before = 0
"""
_CLAIM: Final = f"""
UPDATE jobs SET
    state = 'running', worker = :worker, fence = fence + 1, attempts = attempts + 1, lease_until = :lease_until,
    started_at = :now, reported_at = :now, fetched_bytes = 0
WHERE (SELECT count(*) FROM jobs WHERE node = :node AND state = 'running' AND lease_until > :now) < :most
AND place = (
    SELECT place FROM jobs WHERE node = :node
    AND (state = 'queued' AND not_before <= :now OR state = 'running' AND lease_until <= :now)
    ORDER BY priority DESC, place LIMIT 1
) RETURNING {_COLUMNS}
"""  # noqa: S608  (names of our own)
_LIST: Final = f"SELECT {_COLUMNS} FROM jobs WHERE node = ? ORDER BY priority DESC, place"  # noqa: S608
_UPDATE: Final = """
UPDATE jobs SET
    state = :state, attempts = :attempts, not_before = :not_before, last_error = :last_error,
    lease_until = :lease_until, reported_at = :reported_at, size_bytes = :size_bytes,
    present_bytes = :present_bytes, fetched_bytes = :fetched_bytes
WHERE node = :node AND image_id = :image_id AND place = :place AND fence = :fence AND state = 'running'
"""


def add_jobs(connection: sqlite3.Connection, node: str, image_ids: Sequence[str], priority: int, at: float) -> int:
    """
    See `ICacheIndex.add_jobs`.
    """
    # A new place for what begins anew.
    connection.executemany(_FORGET_FAILED, [(node, image_id) for image_id in image_ids])
    before = _count(connection, node)
    connection.executemany(_ADD, [(node, image_id, priority, at) for image_id in image_ids])
    return _count(connection, node) - before


def _count(connection: sqlite3.Connection, node: str) -> int:
    (count,) = connection.execute("SELECT count(*) FROM jobs WHERE node = ?", (node,)).fetchone()
    return int(count)


def claim_job(
    connection: sqlite3.Connection, node: str, worker: str, now: float, lease_until: float, most_running: int
) -> Job | None:
    """
    See `ICacheIndex.claim_job`. One statement: no other process comes between its parts.
    """
    values = {"node": node, "worker": worker, "now": now, "lease_until": lease_until, "most": most_running}
    rows = connection.execute(_CLAIM, values).fetchall()
    return _job(rows[0]) if rows else None


def update_job(connection: sqlite3.Connection, node: str, job: Job) -> bool:
    """
    See `ICacheIndex.update_job`.
    """
    return connection.execute(_UPDATE, {**asdict(job), "node": node}).rowcount > 0


def list_jobs(connection: sqlite3.Connection, node: str) -> Sequence[Job]:
    """
    See `ICacheIndex.jobs`.
    """
    return [_job(row) for row in connection.execute(_LIST, (node,))]


def _job(row: Sequence[Any]) -> Job:
    values = dict(zip(_NAMES, row, strict=True))
    return Job(**{**values, "state": JobState(values["state"])})
