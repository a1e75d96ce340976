"""
Empty databases for servers under measurement, removed afterwards.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

__all__ = ["POSTGRESQL", "DatabaseMissing", "database"]

POSTGRESQL = "postgresql://postgres@127.0.0.1:5432/postgres"


class DatabaseMissing(Exception):
    """
    There is no such database server.
    """


@contextmanager
def database(engine: str, folder: Path, administrative: str = POSTGRESQL) -> Iterator[sa.URL]:
    """
    Keep an empty database until the block is left.

    :param engine: ``sqlite`` or ``postgresql``.
    :param folder: Where a file may be put.
    :param administrative: URL of a database of the PostgreSQL server, whose user may make others.
    :return: Its URL, without the name of a driver: servers have their own.
    :raises DatabaseMissing: The server does not answer.
    """
    if engine == "sqlite":
        yield sa.URL.create("sqlite", database=str(folder / "images.sqlite"))
        return
    url = sa.make_url(administrative)
    name = f"glance_tx_bench_{secrets.token_hex(6)}"
    _administrate(url, f'CREATE DATABASE "{name}"')
    try:
        yield url.set(database=name)
    finally:
        _administrate(url, f'DROP DATABASE "{name}" WITH (FORCE)')


def _administrate(url: sa.URL, statement: str) -> None:
    engine = sa.create_engine(
        url.set(drivername="postgresql+psycopg"), poolclass=sa.NullPool, isolation_level="AUTOCOMMIT"
    )
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)
    except sa.exc.OperationalError as error:
        raise DatabaseMissing(f"PostgreSQL: {' '.join(str(error.orig).split())}") from error
