"""
Where database tests run: mixins that give a test an empty database, one for each kind of server.
"""

from __future__ import annotations

import atexit
import functools
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase

from glance_tx.db import migrate
from glance_tx.db.dialects import make_engine
from glance_tx.db.tables import metadata
from glance_tx.db.urls import read_url
from tests import services

PATIENCE_SECONDS = 20


def sqlite_url(case: TestCase) -> str:
    """
    Name a SQLite file that is not there yet.
    """
    return f"sqlite:///{Path(case.mktemp()).absolute()}"


class OnSqlite:
    """
    Tests of this class run on a SQLite file.
    """

    def make_url(self) -> str:
        return sqlite_url(self)

    def make_migrated_url(self) -> str:
        url = self.make_url()
        migrate.upgrade(url)
        return url


class OnPostgresql:
    """
    Tests of this class run on PostgreSQL, or are skipped.
    """

    def make_url(self) -> str:
        return services.postgresql_database(self)

    def make_migrated_url(self) -> str:
        return _emptied(_migrated(services.postgresql_database, UntilExit(self)))


class OnMysql:
    """
    Tests of this class run on MariaDB or MySQL, or are skipped.
    """

    def make_url(self) -> str:
        return services.mysql_database(self)

    def make_migrated_url(self) -> str:
        return _emptied(_migrated(services.mysql_database, UntilExit(self)))


class UntilExit:
    """
    A test case, as far as `tests.services` goes, whose cleanups run when the process ends; any is as good as another.
    """

    def __init__(self, case: TestCase) -> None:
        self.failureException = case.failureException

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UntilExit)

    def __hash__(self) -> int:
        return 0

    def addCleanup(self, f: Any, *args: Any, **kwargs: Any) -> None:
        atexit.register(f, *args, **kwargs)


@functools.cache
def _migrated(make: Any, case: UntilExit) -> str:
    """
    Make one database with tables for all tests of this process: on servers that takes long.
    """
    url: str = make(case)
    migrate.upgrade(url)
    return url


def _emptied(url: str) -> str:
    engine = make_engine(read_url(url))
    with engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(sa.delete(table))
    return url


class SteppedReactor:
    """
    A reactor whose time a test moves, and which delivers results from threads as the real one does, counting them.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.deliveries = 0

    def seconds(self) -> float:
        return self.clock.seconds()

    def callLater(self, delay: float, call: Any, *args: Any, **kw: Any) -> Any:
        return self.clock.callLater(delay, call, *args, **kw)

    def callFromThread(self, call: Any, *args: Any, **kw: Any) -> None:
        self.deliveries += 1
        reactor.callFromThread(call, *args, **kw)


class ByHand:
    """
    A second way into a database: plain blocking connections, for looking at it from outside.
    """

    def __init__(self, case: TestCase, url: str) -> None:
        self._engine = make_engine(read_url(url))
        case.addCleanup(self._engine.dispose)

    def run(self, statement: str) -> list[Any]:
        with self._engine.connect() as connection:
            result = connection.exec_driver_sql(statement)
            rows = list(result) if result.returns_rows else []
            connection.commit()
            return rows

    def connect(self) -> sa.Connection:
        return self._engine.connect()


async def until(holds: Any) -> None:
    """
    Wait until a condition holds, which must be within `PATIENCE_SECONDS`.
    """
    deadline = reactor.seconds() + PATIENCE_SECONDS
    while not holds():
        if reactor.seconds() > deadline:
            raise AssertionError("waited too long")
        await deferLater(reactor, 0.002)


def started(coroutine: Any) -> Deferred[Any]:
    """
    Start a coroutine without waiting for it.
    """
    return Deferred.fromCoroutine(coroutine)
