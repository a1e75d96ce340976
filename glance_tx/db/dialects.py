"""
What differs between SQLite, PostgreSQL and MariaDB or MySQL when connecting and beginning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event

__all__ = ["SQLITE_BUSY_SECONDS", "begin", "make_engine", "ping", "writers_at_once"]

SQLITE_BUSY_SECONDS: Final = 5
"""How long SQLite waits for another process's transaction."""

_CONNECT_SECONDS: Final = 5

_SNAPSHOT: Final = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_LATEST: Final = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE"


def make_engine(url: sa.URL, statement_seconds: float | None = None) -> sa.Engine:
    """
    Make an engine whose connections are opened for their user and closed after it; who wants them kept keeps them.

    :param url: As `read_url` returns it.
    :param statement_seconds: Longest wait for a server to carry out one statement; ``None`` for any. A transaction
        that has to wait longer, for a lock that somebody forgot say, fails.
    """
    kind = url.get_backend_name()
    arguments = _connect_arguments(kind, statement_seconds)
    engine = sa.create_engine(
        url,
        connect_args={name: value for name, value in arguments.items() if name not in url.query},
        execution_options={} if statement_seconds is None else {"statement_seconds": statement_seconds},
        poolclass=sa.NullPool,
        # Values may be secrets (locations hold credentials), and errors end up in logs.
        hide_parameters=True,
    )
    if kind == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    elif kind in {"mysql", "mariadb"}:
        event.listen(engine, "connect", _prepare_mysql)
    return engine


def writers_at_once(engine: sa.Engine, size: int) -> int:
    """
    Tell how many transactions of one process can write at a time.

    SQLite has one writer. Others wait by polling, without an order, each holding a connection that a reader could use;
    so they had better wait their turn before they take one.
    """
    return 1 if engine.dialect.name == "sqlite" else size


def begin(connection: sa.Connection, *, readonly: bool) -> None:
    """
    Say, as the first thing in a transaction, what kind of transaction it is.

    A reading one sees one snapshot throughout, and may not write, on any engine. A writing one sees what was committed
    last. In PostgreSQL and MariaDB it therefore waits for another's row lock and goes on from the new state (the higher
    level there fails, or locks gaps, which makes bystanders deadlock); in SQLite it is the only one from the beginning,
    because a transaction that begins by reading may be refused when it comes to write.
    """
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA query_only={'ON' if readonly else 'OFF'}")
        connection.exec_driver_sql("BEGIN" if readonly else "BEGIN IMMEDIATE")
        return
    kind = _SNAPSHOT if readonly else _LATEST
    seconds = connection.get_execution_options().get("statement_seconds")
    if connection.dialect.name == "postgresql" and seconds is not None:
        # In the same trip, and for this transaction only: what a session keeps is lost on poolers between us.
        kind = f"{kind}; SET LOCAL statement_timeout={round(seconds * 1000)}"
    connection.exec_driver_sql(kind)


def ping(connection: sa.Connection) -> None:
    """
    Find out whether a connection still leads to a server; if it does not, the next statement connects anew.

    Leaves no transaction behind.
    """
    if connection.dialect.name == "sqlite":
        return
    try:
        connection.exec_driver_sql("SELECT 1")
    except sa.exc.DBAPIError as error:
        if not error.connection_invalidated:
            raise
    finally:
        connection.rollback()


def _connect_arguments(kind: str, statement_seconds: float | None) -> Mapping[str, object]:
    match kind:
        case "sqlite":
            return {}
        case "postgresql":
            return {
                "application_name": "glance_tx",
                "connect_timeout": _CONNECT_SECONDS,
                # The statement's timeout is the server's to keep. These find out that its machine is gone.
                "keepalives_idle": 30,
                "keepalives_interval": 10,
                "keepalives_count": 3,
                "tcp_user_timeout": 30_000,
            }
        case _:
            timeouts = {"connect_timeout": _CONNECT_SECONDS}
            if statement_seconds is None:
                return timeouts
            return {**timeouts, "read_timeout": statement_seconds, "write_timeout": statement_seconds}


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver begins no transaction by itself: `begin` does
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={SQLITE_BUSY_SECONDS * 1000}")
    if cursor.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        cursor.execute("PRAGMA journal_mode=WAL")
    # NORMAL, the usual companion of WAL, loses acknowledged commits at power loss.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _prepare_mysql(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    # Otherwise a server's configuration decides whether what does not fit is refused or cut.
    cursor.execute("SET SESSION sql_mode='TRADITIONAL'")
    cursor.close()
