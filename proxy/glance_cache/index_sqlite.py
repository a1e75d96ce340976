"""
The index of a node that shares nothing: a SQLite file beside its cache.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

from twisted.internet.defer import TimeoutError as DeadlinePassed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from glance_cache.errors import IndexUnavailable
from glance_cache.index_sqlite_jobs import JOBS_SCHEMA, add_jobs, claim_job, list_jobs, update_job
from glance_cache.interfaces import Announcement, HitTotals, ICacheIndex
from glance_cache.jobs import Job
from glance_tx.streaming.interfaces import ILane

__all__ = ["SqliteIndex"]

T = TypeVar("T")

_SCHEMA_VERSION: Final = 2
_SCHEMA: Final = f"""
CREATE TABLE hits (
    image_id TEXT NOT NULL, node TEXT NOT NULL,
    hits INTEGER NOT NULL, bytes_sent INTEGER NOT NULL, last_at REAL NOT NULL,
    PRIMARY KEY (image_id, node)
) WITHOUT ROWID;
CREATE TABLE marks (node TEXT NOT NULL PRIMARY KEY, mark TEXT NOT NULL) WITHOUT ROWID;
{JOBS_SCHEMA}
"""
_MERGE: Final = """
INSERT INTO hits VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    hits = max(hits, excluded.hits),
    bytes_sent = max(bytes_sent, excluded.bytes_sent),
    last_at = max(last_at, excluded.last_at)
"""
_SUM: Final = "SELECT image_id, sum(hits), sum(bytes_sent), max(last_at) FROM hits"

# Fewer than the parameters that any SQLite takes in one statement.
_IDS_AT_ONCE: Final = 500
_NO_DATABASE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC

_TRIES: Final = 3
"""So often a database is begun anew for one piece of work."""


class _ForeignSchema(sqlite3.DatabaseError):
    """
    A database of another version, or of somebody else.
    """


class _Database:
    """
    The file. Every method blocks, raises `sqlite3.Error` or `OSError`, and is called in one lane.

    A file that is no sound database is moved aside, and a new one begun: hits are resent by whoever counted them, and
    a queue can be asked for again, while an index that stays broken would lose all that comes after. See
    Note [One moves it].
    """

    # Note [One moves it]
    # Several processes use the file, and may find at once that it is broken. It is opened and moved in turns, by a lock
    # beside it, and moved only by who finds the very file that he opened: what has its name later is another one's new
    # database. Those who still had the old one open find out after their work, which went nowhere, and do it again.
    # SQLite itself leaves the side files alone when a database is closed that has another name by then.

    _log = Logger()

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._inode = 0

    def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """
        Do some work in a transaction of its own; again, where it went into a file that was moved aside.
        """
        for _ in range(_TRIES):
            try:
                result = self._try(work)
                if self._is_current():
                    return result
                self.close()
            except sqlite3.DatabaseError as error:
                if not isinstance(error, _ForeignSchema) and _primary_code(error) not in _NO_DATABASE:
                    raise
                self._move_aside(error)
        return self._try(work)

    def _try(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._connection is None:
            self._connection = self._open()
        with self._connection:
            return work(self._connection)

    def _is_current(self) -> bool:
        """
        Whether the file that was opened is the one that others open.
        """
        try:
            return self._path.stat().st_ino == self._inode
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """
        Let go of the file. Harmless when repeated.
        """
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        lock = os.open(self._path.with_name(f"{self._path.name}.lock"), _CREATE, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _open(self) -> sqlite3.Connection:
        with self._turn():
            # Who reads how often must not be readable by others; SQLite gives its side files the same permissions.
            os.close(os.open(self._path, _CREATE, 0o600))
            self._inode = self._path.stat().st_ino
            # The lane sees to it that threads take turns.
            connection = sqlite3.connect(self._path, timeout=1, check_same_thread=False)
            try:
                self._check(connection)
                connection.execute("PRAGMA journal_mode = WAL")
                # The prefetch queue is a promise; NORMAL would lose what was promised last at a power loss.
                connection.execute("PRAGMA synchronous = FULL")
            except BaseException:
                connection.close()
                raise
        return connection

    def _check(self, connection: sqlite3.Connection) -> None:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise _ForeignSchema(verdict)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if version == 0 and tables == 0:
            connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_SCHEMA_VERSION}; COMMIT;")
        elif version != _SCHEMA_VERSION:
            raise _ForeignSchema(f"its version is {version} and not {_SCHEMA_VERSION}")

    def _move_aside(self, reason: Exception) -> None:
        with suppress(sqlite3.Error):  # it is broken: closing it properly is more than can be asked
            self.close()
        aside = self._path.with_name(f"{self._path.name}.broken")
        with self._turn():
            if not self._is_current():
                return
            self._path.replace(aside)
            for suffix in ("-wal", "-shm"):
                self._path.with_name(f"{self._path.name}{suffix}").unlink(missing_ok=True)
        self._log.error(
            "the index {path} is broken ({reason}): it is now {aside}, and a new one is begun. Hits will be resent, "
            "images queued to be cached must be queued again.",
            path=self._path,
            aside=aside,
            reason=reason,
        )


@implementer(ICacheIndex)
class SqliteIndex:
    """
    Keeps the index in a file of this node.

    :param path: The file, in a folder of this daemon alone.
    :param lane: Where all work on the file is done; this index's own.
    :param reactor: Measures the deadline.
    :param timeout_seconds: For each call. Work that was begun goes on behind it.
    """

    name = "sqlite"

    def __init__(self, path: Path, lane: ILane, reactor: IReactorTime, *, timeout_seconds: float = 10.0) -> None:
        self._database = _Database(path)
        self._lane = lane
        self._reactor = reactor
        self._timeout_seconds = timeout_seconds
        self._stopped = False
        self._announced: dict[str, tuple[Announcement, int]] = {}

    async def start(self) -> None:
        """
        See `ICacheIndex`. Does nothing: the file is opened by the first call that needs it.
        """

    async def stop(self) -> None:
        """
        See `ICacheIndex`. Calls made before are done first.
        """
        self._stopped = True
        await self._lane.run(self._database.close)

    async def merge_hits(self, node: str, totals: Mapping[str, HitTotals], *, after: str, mark: str) -> bool:
        """
        See `ICacheIndex`.
        """
        copy = dict(totals)  # the caller's own may change before a thread comes to it
        return await self._do(lambda db: _merge_hits(db, node, copy, after, mark))

    async def forget_hits(self, node: str, keys: Sequence[str]) -> None:
        """
        See `ICacheIndex`.
        """
        rows = [(node, key) for key in keys]
        await self._do(lambda db: db.executemany("DELETE FROM hits WHERE node = ? AND image_id = ?", rows).rowcount)

    async def all_hits(self) -> Mapping[str, Mapping[str, HitTotals]]:
        """
        See `ICacheIndex`.
        """
        return await self._do(_all_hits)

    async def announce(self, node: str, report: Mapping[str, object], kept_seconds: int) -> None:
        """
        See `ICacheIndex`. Nobody else reads this index, so it is not written down.
        """
        self._announced[node] = (Announcement(node, self._reactor.seconds(), report), kept_seconds)

    async def announced(self) -> Sequence[Announcement]:
        """
        See `ICacheIndex`.
        """
        now = self._reactor.seconds()
        return [said for _, (said, kept_seconds) in sorted(self._announced.items()) if now <= said.at + kept_seconds]

    async def hits(self, image_ids: Sequence[str] | None = None) -> Mapping[str, HitTotals]:
        """
        See `ICacheIndex`.
        """
        return await self._do(lambda db: _hits(db, image_ids))

    async def node_hits(self, node: str) -> Mapping[str, HitTotals]:
        """
        See `ICacheIndex`.
        """
        return await self._do(lambda db: _node_hits(db, node))

    async def add_jobs(self, node: str, image_ids: Sequence[str], priority: int, at: float) -> int:
        """
        See `ICacheIndex`.
        """
        return await self._do(lambda db: add_jobs(db, node, image_ids, priority, at))

    async def claim_job(self, node: str, worker: str, now: float, lease_until: float, most_running: int) -> Job | None:
        """
        See `ICacheIndex`.
        """
        return await self._do(lambda db: claim_job(db, node, worker, now, lease_until, most_running))

    async def update_job(self, node: str, job: Job) -> bool:
        """
        See `ICacheIndex`.
        """
        return await self._do(lambda db: update_job(db, node, job))

    async def remove_job(self, node: str, image_id: str, claim: Job | None = None) -> bool:
        """
        See `ICacheIndex`.
        """
        if claim is None:
            return await self._change("DELETE FROM jobs WHERE node = ? AND image_id = ?", node, image_id) > 0
        claimed = "DELETE FROM jobs WHERE node = ? AND place = ? AND fence = ? AND state = 'running'"
        return await self._change(claimed, node, claim.place, claim.fence) > 0

    async def clear_jobs(self, node: str) -> int:
        """
        See `ICacheIndex`.
        """
        return await self._change("DELETE FROM jobs WHERE node = ?", node)

    async def jobs(self, node: str) -> Sequence[Job]:
        """
        See `ICacheIndex`.
        """
        return await self._do(lambda db: list_jobs(db, node))

    async def _change(self, statement: str, *values: object) -> int:
        return await self._do(lambda db: db.execute(statement, values).rowcount)

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._stopped:
            raise IndexUnavailable("it was stopped")
        try:
            job = self._lane.run(self._database.do, work)
            return await job.addTimeout(self._timeout_seconds, self._reactor)
        except DeadlinePassed as error:
            raise IndexUnavailable(f"no answer within {self._timeout_seconds:g} seconds") from error
        except (sqlite3.Error, OSError) as error:
            raise IndexUnavailable(str(error)) from error


def _primary_code(error: sqlite3.DatabaseError) -> int:
    # The upper bits tell more than is asked here.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _merge_hits(
    connection: sqlite3.Connection, node: str, totals: Mapping[str, HitTotals], after: str, mark: str
) -> bool:
    found = connection.execute("SELECT mark FROM marks WHERE node = ?", (node,)).fetchone()
    if totals:
        rows = ((image, node, t.hits, t.bytes_sent, t.last_at) for image, t in totals.items())
        connection.executemany(_MERGE, rows)
    if found != (mark,):
        connection.execute("INSERT OR REPLACE INTO marks VALUES (?, ?)", (node, mark))
    return bool(found == (after,))


def _hits(connection: sqlite3.Connection, image_ids: Sequence[str] | None) -> Mapping[str, HitTotals]:
    if image_ids is None:
        return dict(_totals(connection.execute(f"{_SUM} WHERE NOT instr(image_id, ':') GROUP BY image_id")))
    sums: dict[str, HitTotals] = {}
    for start in range(0, len(image_ids), _IDS_AT_ONCE):
        wanted = image_ids[start : start + _IDS_AT_ONCE]
        marks = ", ".join("?" * len(wanted))
        sums.update(_totals(connection.execute(f"{_SUM} WHERE image_id IN ({marks}) GROUP BY image_id", wanted)))
    return sums


def _all_hits(connection: sqlite3.Connection) -> Mapping[str, Mapping[str, HitTotals]]:
    nodes: dict[str, dict[str, HitTotals]] = {}
    rows = connection.execute("SELECT node, image_id, hits, bytes_sent, last_at FROM hits")
    for node, key, hits, bytes_sent, last_at in rows:
        nodes.setdefault(node, {})[key] = HitTotals(hits, bytes_sent, last_at)
    return nodes


def _node_hits(connection: sqlite3.Connection, node: str) -> Mapping[str, HitTotals]:
    rows = connection.execute("SELECT image_id, hits, bytes_sent, last_at FROM hits WHERE node = ?", (node,))
    return dict(_totals(rows))


def _totals(rows: Iterable[tuple[str, int, int, float]]) -> Iterator[tuple[str, HitTotals]]:
    for image, hits, bytes_sent, last_at in rows:
        yield image, HitTotals(hits, bytes_sent, last_at)
