"""
`Prepared`: statements run past SQLAlchemy mean and raise what they would through it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import sqlalchemy as sa
from twisted.trial.unittest import SynchronousTestCase

from glance_tx.db import dialects
from glance_tx.db.columns import ExactString, UtcDateTime
from glance_tx.db.prepared import Prepared
from glance_tx.db.urls import read_url
from tests.db.databases import OnPostgresql, OnSqlite

MOMENT = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
THINGS = sa.Table(
    "things",
    sa.MetaData(),
    sa.Column("name", ExactString(20), primary_key=True),
    sa.Column("moment", UtcDateTime),
    sa.Column("good", sa.Boolean),
    sa.Column("size", sa.BigInteger),
)
NAME = sa.bindparam("name", type_=THINGS.c.name.type)


class PreparedContract:
    """
    What holds on every engine whose statements are run past SQLAlchemy.
    """

    make_url: Any

    def setUp(self: Any) -> None:
        engine = dialects.make_engine(read_url(self.make_url()), begun_by_hand=True)
        self.addCleanup(engine.dispose)
        self.connection = engine.connect()
        self.addCleanup(self.connection.close)
        with self.connection.begin():
            dialects.begin(self.connection, readonly=False)
            THINGS.create(self.connection)
            elsewhere = MOMENT.astimezone(timezone(timedelta(hours=5)))
            self.add("a", moment=elsewhere, good=True, size=2**40)
            self.add("b", moment=None, good=False, size=None)

    def add(self: Any, name: str, **values: object) -> None:
        self.connection.execute(sa.insert(THINGS).values(name=name, **values))

    def prepared(self: Any, statement: sa.Select[Any]) -> Prepared:
        return Prepared(statement, self.connection.dialect)

    def test_columns_have_the_types_they_have(self: Any) -> None:
        """
        Rows hold what they would hold if SQLAlchemy had read them: times in UTC, booleans, null, and long numbers.
        """
        everything = sa.select(THINGS).order_by(THINGS.c.name)
        rows = self.prepared(everything).rows(self.connection, {})
        self.assertEqual(rows, [["a", MOMENT, True, 2**40], ["b", None, False, None]])
        self.assertIsInstance(rows[0][2], bool)
        self.assertIs(rows[0][1].tzinfo, UTC)
        self.assertEqual(rows, [list(row) for row in self.connection.execute(everything)])
        self.connection.rollback()

    def test_parameters_have_the_types_of_what_they_are_compared_with(self: Any) -> None:
        """
        Parameters are turned into what the engine stores, whether they come with each run or are part of the
        statement; one may be used twice, and what is not asked for is left alone.
        """
        since = sa.bindparam("since", type_=THINGS.c.moment.type)
        wanted = sa.or_(THINGS.c.moment == since, THINGS.c.moment > since) & (THINGS.c.moment < MOMENT + timedelta(1))
        named = self.prepared(sa.select(THINGS.c.name).where(wanted, THINGS.c.good == sa.literal(value=True)))
        elsewhere = timezone(timedelta(hours=-3))
        for shift, expected in ((0, [["a"]]), (1, [])):
            values = {"since": (MOMENT + timedelta(microseconds=shift)).astimezone(elsewhere), "other": object()}
            self.assertEqual(named.rows(self.connection, values), expected)
        fixed = self.prepared(sa.select(THINGS.c.name).where(THINGS.c.moment == MOMENT.astimezone(elsewhere)))
        self.assertEqual(fixed.rows(self.connection, {}), [["a"]])

    def test_it_is_no_transaction_by_itself(self: Any) -> None:
        """
        Outside of a transaction a statement leaves none behind, and sees what others committed last.
        """
        names = self.prepared(sa.select(THINGS.c.name).order_by(THINGS.c.name))
        self.assertEqual(names.rows(self.connection, {}), [["a"], ["b"]])
        self.assertFalse(self.connection.in_transaction())
        with self.connection.engine.connect() as other, other.begin():
            dialects.begin(other, readonly=False)
            other.execute(sa.delete(THINGS).where(THINGS.c.name == "a"))
        self.assertEqual(names.rows(self.connection, {}), [["b"]])

    def test_it_is_part_of_a_transaction(self: Any) -> None:
        """
        In a transaction it sees what was written there.
        """
        names = self.prepared(sa.select(THINGS.c.name).where(THINGS.c.name == NAME))
        with self.connection.begin() as transaction:
            dialects.begin(self.connection, readonly=False)
            self.add("c")
            self.assertEqual(names.rows(self.connection, {"name": "c"}), [["c"]])
            transaction.rollback()
        self.assertEqual(names.rows(self.connection, {"name": "c"}), [])

    def test_a_refused_statement_is_raised_as_by_sqlalchemy(self: Any) -> None:
        """
        What the engine refuses is raised as the same exception as through SQLAlchemy, without the values.
        """
        missing = sa.Table("nothing", sa.MetaData(), sa.Column("name", ExactString(20)))
        statement = sa.select(missing).where(missing.c.name == NAME)
        with self.assertRaises(sa.exc.DBAPIError) as caught:
            self.prepared(statement).rows(self.connection, {"name": "hunter2"})
        with self.assertRaises(sa.exc.DBAPIError) as other:
            self.connection.execute(statement, {"name": "hunter2"})
        self.connection.rollback()
        self.assertIs(type(caught.exception), type(other.exception))
        self.assertFalse(caught.exception.connection_invalidated)
        self.assertNotIn("hunter2", str(caught.exception))
        self.assertEqual(len(self.prepared(sa.select(THINGS)).rows(self.connection, {})), 2)


class SqlitePreparedTests(OnSqlite, PreparedContract, SynchronousTestCase):
    """
    `Prepared` on SQLite.
    """


class PostgresqlPreparedTests(OnPostgresql, PreparedContract, SynchronousTestCase):
    """
    `Prepared` on PostgreSQL.
    """

    def test_a_connection_that_broke_is_replaced(self) -> None:
        """
        A run on a connection that the server closed says so; the next one has a new connection, as often as that is so.
        """
        own = self.prepared(sa.select(sa.func.pg_backend_pid()))
        seen = set()
        for _ in range(8):  # more often than it takes the driver to prepare a statement
            [[number]] = own.rows(self.connection, {})
            self.assertEqual(own.rows(self.connection, {}), [[number]])
            seen.add(number)
            with self.connection.engine.connect() as other:
                other.exec_driver_sql(f"SELECT pg_terminate_backend({number}, 5000)")
            with self.assertRaises(sa.exc.DBAPIError) as caught:
                own.rows(self.connection, {})
            self.assertTrue(caught.exception.connection_invalidated)
        self.assertEqual(len(seen), 8)
