"""
Database URLs: which can be used, and by which driver.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from glance_tx.db.errors import UnsupportedDatabase

__all__ = ["read_url"]

_DRIVERS: Final[Mapping[str, str]] = {
    "sqlite": "sqlite+pysqlite",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
}
"""The driver that a URL means when it names none: the one that the default install brings."""


def read_url(text: str) -> sa.URL:
    """
    Read a database URL and settle its driver.

    :raises UnsupportedDatabase: It cannot be read, or names something that is not supported or not installed.
    """
    try:
        url = sa.make_url(text)
    except (ArgumentError, ValueError):
        # The library quotes what it could not read, which may be a part of the password: its words stay out.
        raise UnsupportedDatabase("it cannot be read (is a character in the password not percent-encoded?)") from None
    kind = url.get_backend_name()
    if kind not in _DRIVERS:
        raise UnsupportedDatabase(f"{kind} is none of {', '.join(sorted(_DRIVERS))}")
    if url.host and "@" in url.host:
        raise UnsupportedDatabase('the password has an "@" that is not percent-encoded')
    if url.drivername == kind:
        url = url.set(drivername=_DRIVERS[kind])
    _require_driver(url)
    if kind == "sqlite":
        _require_file(url)
    elif kind in {"mysql", "mariadb"}:
        # "utf8", common in older configurations, is a subset there, and the server's default may be anything.
        url = url.update_query_dict({"charset": "utf8mb4"})
    return url


def _require_driver(url: sa.URL) -> None:
    try:
        dialect = url.get_dialect()
        dialect.import_dbapi()
    except (ImportError, NoSuchModuleError) as error:
        raise UnsupportedDatabase(f"the driver {url.drivername} is not installed") from error
    if dialect.is_async:
        raise UnsupportedDatabase(f"{url.drivername} is a driver for asyncio; name none, or a synchronous one")


def _require_file(url: sa.URL) -> None:
    if not url.database or ":memory:" in url.database or url.query.get("mode") == "memory":
        raise UnsupportedDatabase("SQLite in memory is another database for every connection; name a file")
