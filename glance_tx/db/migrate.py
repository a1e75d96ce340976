"""
Bringing a database to the schema of this version. Everything here blocks: run it in a thread, before serving.

Alembic is imported only by what cannot do without: it brings a template engine and a syntax highlighter along, together
11 MiB and an eighth of a daemon's start, for which a database that is up to date has no use.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from glance_tx.db import dialects
from glance_tx.db.errors import SchemaUnknown, translated
from glance_tx.db.urls import read_url
from glance_tx.domain.errors import CatalogUnavailable

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

__all__ = ["current", "head", "known", "upgrade"]

_HEAD: Final = "0004"
"""The last one of the migrations."""

TURN_SECONDS: Final = 60
"""Longest wait for another process that is migrating the same database."""

_VERSIONS: Final = "alembic_version"
"""The table in which Alembic notes the revision."""

_LOCK_NUMBER: Final = 7_201_904_518_331_417
"""Drawn once: whoever takes this advisory lock in one of our PostgreSQL databases migrates it."""


def head() -> str:
    """
    Name the revision that this version works with.
    """
    return _HEAD


def known() -> frozenset[str]:
    """
    Name the revisions that this version can begin from.
    """
    return frozenset(script.revision for script in _scripts().walk_revisions())


def current(url: str) -> str | None:
    """
    Name the revision that a database is at; ``None`` for an empty one.

    :raises UnsupportedDatabase: The URL cannot be used.
    :raises CatalogUnavailable: The database cannot be reached.
    """
    with _connected(url) as connection:
        return _current(connection)


def upgrade(url: str) -> None:
    """
    Bring a database to this version's schema. Where it is there already, nothing is done.

    Several processes may do so at once: one works, the others wait for it and find the work done.

    :raises UnsupportedDatabase: The URL cannot be used.
    :raises SchemaUnknown: The database is ahead of this version, or is another program's. It is left as it is.
    :raises CatalogUnavailable: The database cannot be reached, or another process did not finish in time.
    """
    _reserve_file(read_url(url))
    with _connected(url) as connection:
        if _current(connection) == head():
            return
        connection.rollback()
        with _turn(connection):
            _upgrade(connection)


def _reserve_file(url: sa.URL) -> None:
    """
    Create a SQLite file that is not there yet, for its owner's eyes only: locations may hold credentials.

    SQLite would go by the umask. The files it puts beside get the rights of this one.
    """
    if url.get_backend_name() == "sqlite" and url.database and not url.query.get("uri"):
        # What is in the way here is in SQLite's way, too, which has the better words for it.
        with suppress(OSError):
            os.close(os.open(url.database, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _upgrade(connection: sa.Connection) -> None:
    from alembic import command  # noqa: PLC0415  # see the head of this module

    config = _config()
    revision = _current(connection)
    if revision is not None and revision not in known():
        raise SchemaUnknown(revision)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _current(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(_VERSIONS):
        return None
    found = connection.exec_driver_sql(f"SELECT version_num FROM {_VERSIONS}").scalars()  # noqa: S608  # our constant
    # Ours has one at most; whoever has more is not ours.
    return ",".join(sorted(found)) or None


def _scripts() -> ScriptDirectory:
    from alembic.script import ScriptDirectory  # noqa: PLC0415  # see the head of this module

    return ScriptDirectory.from_config(_config())


def _config() -> Config:
    from alembic.config import Config  # noqa: PLC0415  # see the head of this module

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    return config


@contextmanager
def _connected(url: str) -> Iterator[sa.Connection]:
    engine = dialects.make_engine(read_url(url))
    try:
        with engine.connect() as connection:
            yield connection
    except SQLAlchemyError as error:
        raise translated(error, detailed=True) from error


@contextmanager
def _turn(connection: sa.Connection) -> Iterator[None]:
    """
    Keep other processes from migrating meanwhile. What happens inside is one transaction, where the engine can do that.
    """
    match connection.dialect.name:
        case "sqlite":
            connection.exec_driver_sql(f"PRAGMA busy_timeout={TURN_SECONDS * 1000}")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield
            connection.commit()
        case "postgresql":
            connection.exec_driver_sql(f"SET LOCAL lock_timeout='{TURN_SECONDS}s'")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK_NUMBER})")
            yield
            connection.commit()
        case _:
            with _named_lock(connection):
                yield
                connection.commit()


@contextmanager
def _named_lock(connection: sa.Connection) -> Iterator[None]:
    # MariaDB and MySQL commit at every table, so that only a lock of the session lasts. Its name is the server's.
    database = connection.exec_driver_sql("SELECT database()").scalar_one()
    name = f"glance_tx.{hashlib.sha256(database.encode()).hexdigest()[:40]}"
    if connection.execute(sa.select(sa.func.get_lock(name, TURN_SECONDS))).scalar_one() != 1:
        raise CatalogUnavailable(f"another process has been migrating the database for {TURN_SECONDS} seconds")
    # The connection is closed after this, which releases the lock whatever happens inside.
    yield
