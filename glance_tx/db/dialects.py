"""
What differs between SQLite, PostgreSQL and MariaDB or MySQL when connecting and beginning.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event

__all__ = ["SQLITE_BUSY_SECONDS", "begin", "make_engine", "ping", "writers_at_once"]

SQLITE_BUSY_SECONDS: Final = 5
"""How long SQLite waits for another process's transaction."""

_CONNECT_SECONDS: Final = 5

_SNAPSHOT: Final = "ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_LATEST: Final = "ISOLATION LEVEL READ COMMITTED, READ WRITE"

_QUERY_ONLY: Final = "query_only"
"""Under this name a SQLite connection's ``info`` keeps what its pragma was set to last."""


def make_engine(url: sa.URL, statement_seconds: float | None = None, *, begun_by_hand: bool = False) -> sa.Engine:
    """
    Make an engine whose connections are opened for their user and closed after it; who wants them kept keeps them.

    :param url: As `read_url` returns it.
    :param statement_seconds: Longest wait for a server to carry out one statement; ``None`` for any. A transaction
        that has to wait longer, for a lock that somebody forgot say, fails.
    :param begun_by_hand: Transactions of PostgreSQL begin where `begin` is called, and only there, as those of SQLite
        do in any case: a statement outside of one stands for itself, and takes one trip to the server instead of three.
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
    elif kind == "postgresql" and begun_by_hand:
        event.listen(engine, "connect", partial(_prepare_postgresql, statement_seconds))
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
    Say, as the first thing in a transaction, what kind of transaction it is. PostgreSQL's begin here (`make_engine`).

    A reading one sees one snapshot throughout, and may not write, on any engine. A writing one sees what was committed
    last. In PostgreSQL and MariaDB it therefore waits for another's row lock and goes on from the new state (the higher
    level there fails, or locks gaps, which makes bystanders deadlock); in SQLite it is the only one from the beginning,
    because a transaction that begins by reading may be refused when it comes to write.
    """
    if connection.dialect.name == "sqlite":
        if connection.info.get(_QUERY_ONLY) is not readonly:
            # Only when it changes, as SQLite prepares all its statements anew after any pragma of the kind.
            connection.info.pop(_QUERY_ONLY, None)
            connection.exec_driver_sql(f"PRAGMA query_only={'ON' if readonly else 'OFF'}")
            connection.info[_QUERY_ONLY] = readonly
        connection.exec_driver_sql("BEGIN" if readonly else "BEGIN IMMEDIATE")
        return
    kind = _SNAPSHOT if readonly else _LATEST
    if connection.dialect.name != "postgresql":
        connection.exec_driver_sql(f"SET TRANSACTION {kind}")
        return
    # All in one trip.
    statements = [f"BEGIN {kind}"]
    seconds = connection.get_execution_options().get("statement_seconds")
    if seconds is not None:
        # For this transaction: what a session keeps is lost on poolers between us.
        statements.append(f"SET LOCAL statement_timeout={_milliseconds(seconds)}")
    connection.exec_driver_sql("; ".join(statements))


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


def _prepare_postgresql(statement_seconds: float | None, connection: Any, _record: object) -> None:
    connection.autocommit = True  # the driver begins no transaction by itself: `begin` does
    if statement_seconds is not None:
        # For statements outside of transactions. `begin` says it for its own.
        connection.execute(f"SET statement_timeout={_milliseconds(statement_seconds)}")


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _prepare_mysql(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    # Otherwise a server's configuration decides whether what does not fit is refused or cut.
    cursor.execute("SET SESSION sql_mode='TRADITIONAL'")
    cursor.close()
