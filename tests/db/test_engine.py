"""
`Database`: transactions off the reactor, and the traps on the way.
"""

from __future__ import annotations

import gc
import threading
import traceback
from typing import Any

import sqlalchemy as sa
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase

from glance_tx.db.engine import IDLE_SECONDS, Database
from glance_tx.db.errors import StatementFailed
from glance_tx.domain.errors import CatalogUnavailable, ImageNotFound
from glance_tx.errors import FactualError
from tests.db.databases import ByHand, OnMysql, OnPostgresql, OnSqlite, SteppedReactor, sqlite_url, started, until

INSERT = "INSERT INTO things (name) VALUES ('{}')"


def insert(connection: sa.Connection, name: str) -> str:
    connection.exec_driver_sql(INSERT.format(name))
    return name


def names(connection: sa.Connection) -> list[str]:
    return [row.name for row in connection.exec_driver_sql("SELECT name FROM things ORDER BY name")]


class Gate:
    """
    A transaction that stays in its thread until it is let go.
    """

    def __init__(self) -> None:
        self.inside = threading.Event()
        self._go = threading.Event()

    def __call__(self, connection: sa.Connection, name: str | None = None) -> str | None:
        if name is not None:
            insert(connection, name)
        self.inside.set()
        assert self._go.wait(20)
        return name

    def open(self) -> None:
        self._go.set()

    async def entered(self) -> None:
        await until(self.inside.is_set)


class DatabaseCase(TestCase):
    """
    A case with a table ``things`` and ways to make a `Database`.
    """

    make_url: Any

    def setUp(self) -> None:
        self.url = self.make_url()
        self.by_hand = ByHand(self, self.url)
        self.by_hand.run("CREATE TABLE things (name VARCHAR(20) PRIMARY KEY)")
        self.threads_before = set(threading.enumerate())
        self.reactor = SteppedReactor()

    async def open(self, **options: Any) -> Database:
        database = Database(self.reactor, self.url, **options)
        await database.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(database.stop()))
        return database

    def gate(self) -> Gate:
        gate = Gate()
        self.addCleanup(gate.open)
        return gate

    def threads(self) -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread not in self.threads_before and thread.is_alive()}


class DatabaseContract(DatabaseCase):
    """
    What holds on every kind of database.
    """

    async def test_a_transaction_is_committed_when_its_function_returns(self) -> None:
        """
        What a function wrote is there for everybody once `transact` returns, without a commit of its own.
        """
        database = await self.open()
        self.assertEqual(await database.transact(insert, "a"), "a")
        self.assertEqual(self.by_hand.run("SELECT name FROM things"), [("a",)])

    async def test_every_transaction_is_timed(self) -> None:
        """
        Who observes is told of each transaction, of those that fail too, and how long they took with their waiting.
        """
        seen: list[tuple[str, float]] = []
        database = await self.open(observe=lambda kind, seconds: seen.append((kind, seconds)))
        gate = self.gate()
        writing = started(database.transact(gate, "a"))
        await gate.entered()
        self.reactor.clock.advance(3)
        gate.open()
        await writing
        await database.transact(names, readonly=True)
        with self.assertRaises(ZeroDivisionError):
            await database.transact(lambda connection: 1 // 0)
        self.assertEqual(seen, [("writes", 3), ("reads", 0), ("writes", 0)])

    async def test_a_transaction_is_undone_when_its_function_raises(self) -> None:
        """
        What a function wrote before it raised is gone, and its exception arrives as it is.
        """
        database = await self.open()

        def fail(connection: sa.Connection) -> None:
            insert(connection, "a")
            raise ImageNotFound("a")

        with self.assertRaises(ImageNotFound):
            await database.transact(fail)
        self.assertEqual(self.by_hand.run("SELECT name FROM things"), [])
        self.assertEqual(await database.transact(insert, "a"), "a")

    async def test_a_select_leaves_no_transaction_open(self) -> None:
        """
        After reading, and after failing, a kept connection is in no transaction.
        """
        database = await self.open(size=1)
        await database.transact(names, readonly=True)
        connection = database._kept[0].twisted._connection
        self.assertFalse(connection.in_transaction())
        with self.assertRaises(StatementFailed):
            await database.transact(lambda each: (insert(each, "a"), insert(each, "a")))
        self.assertFalse(connection.in_transaction())
        self.reactor.clock.advance(IDLE_SECONDS + 1)  # the ping reads, too
        await database.transact(names, readonly=True)
        self.assertFalse(connection.in_transaction())

    async def test_a_transaction_is_one_trip_to_the_thread(self) -> None:
        """
        However many statements a transaction has, its thread reports back once.
        """
        database = await self.open()
        self.reactor.deliveries = 0
        await database.transact(lambda connection: [insert(connection, f"{n}") for n in range(10)])
        self.assertEqual(self.reactor.deliveries, 1)

    async def test_there_are_as_many_threads_as_connections(self) -> None:
        """
        Any number of transactions at once makes do with the threads of the kept connections; stopping ends those.
        """
        database = await self.open(size=3)
        await gatherResults([started(database.transact(insert, f"{n}")) for n in range(50)])
        self.assertEqual(len(self.by_hand.run("SELECT name FROM things")), 50)
        self.assertLessEqual(len(self.threads()), 3)
        await database.stop()
        await until(lambda: not self.threads())

    async def test_a_cancelled_start_leaves_nothing_behind(self) -> None:
        """
        Cancelling `start` ends the threads that were opening connections, and closes what they had opened.
        """
        database = Database(self.reactor, self.url, size=4)
        starting = started(database.start())
        starting.cancel()
        with self.assertRaises(CancelledError):
            await starting
        await until(lambda: not self.threads())
        with self.assertRaises(CatalogUnavailable):
            await database.transact(names)

    async def test_a_caller_cancelled_in_the_queue_never_runs(self) -> None:
        """
        A transaction whose caller leaves before it has a connection does nothing, and blocks nobody.
        """
        database = await self.open(size=1)
        gate = self.gate()
        holding = started(database.transact(gate))
        await gate.entered()
        waiting = started(database.transact(insert, "never"))
        after = started(database.transact(insert, "after"))
        waiting.cancel()
        with self.assertRaises(CancelledError):
            await waiting
        gate.open()
        await holding
        await after
        self.assertEqual(self.by_hand.run("SELECT name FROM things"), [("after",)])

    async def test_a_connection_is_not_handed_on_before_its_thread_is_done(self) -> None:
        """
        When a caller is cancelled during its transaction, the connection stays taken until that ends, and then is free.
        """
        database = await self.open(size=1)
        gate = self.gate()
        holding = started(database.transact(gate, "held"))
        await gate.entered()
        holding.cancel()
        with self.assertRaises(CancelledError):
            await holding
        after = started(database.transact(names))
        self.assertFalse(after.called)
        gate.open()
        self.assertEqual(await after, ["held"])

    async def test_the_failure_of_a_transaction_without_a_caller_is_logged(self) -> None:
        """
        A transaction that fails when its caller has left is not silent, and gives its connection back.
        """
        lines = await self.said_of_failure_without_caller(ValueError("nobody hears this"))
        self.assertIn("nobody hears this", "\n".join(lines))

    async def test_a_refusal_without_a_caller_is_not_logged(self) -> None:
        """
        What a transaction refuses, and nobody wants to know any more, is no failure.
        """
        lines = await self.said_of_failure_without_caller(ImageNotFound("some-image"))
        self.assertEqual([line for line in lines if "some-image" in line], [])

    async def said_of_failure_without_caller(self, error: Exception) -> list[str]:
        """
        Have a transaction fail when its caller has left, see that its connection is given back, and get the log.
        """
        database = await self.open(size=1)
        gate = self.gate()

        def fail(connection: sa.Connection) -> None:
            gate(connection)
            raise error

        holding = started(database.transact(fail))
        await gate.entered()
        holding.cancel()
        with self.assertRaises(CancelledError):
            await holding
        lines = self.logged()
        gate.open()
        self.assertEqual(await database.transact(names), [])
        return lines

    async def test_waiting_for_a_connection_has_a_deadline(self) -> None:
        """
        A transaction that gets no connection in time fails, and never runs; others go on.
        """
        database = await self.open(size=1, wait_seconds=5)
        gate = self.gate()
        holding = started(database.transact(gate))
        await gate.entered()
        waiting = started(database.transact(insert, "late"))
        self.reactor.clock.advance(4.9)
        self.assertFalse(waiting.called)
        self.reactor.clock.advance(0.2)
        with self.assertRaises(CatalogUnavailable) as caught:
            await waiting
        self.assertIn("5 seconds", str(caught.exception))
        gate.open()
        await holding
        self.assertEqual(await database.transact(names), [])
        self.assertEqual(self.reactor.clock.getDelayedCalls(), [])

    async def test_a_transaction_has_a_deadline(self) -> None:
        """
        Nobody waits for ever for a server that says nothing; the connection stays taken until it does.
        """
        database = await self.open(size=1, transaction_seconds=7)
        gate = self.gate()
        hanging = started(database.transact(gate, "held"))
        await gate.entered()
        lines = self.logged()
        self.reactor.clock.advance(6.9)
        self.assertFalse(hanging.called)
        self.reactor.clock.advance(0.2)
        with self.assertRaises(CatalogUnavailable) as caught:
            await hanging
        self.assertIn("did not end within 7 seconds", str(caught.exception))
        self.assertIn("did not end within 7 seconds", "\n".join(lines))
        after = started(database.transact(names))
        self.assertFalse(after.called)
        gate.open()
        self.assertEqual(await after, ["held"])
        self.assertEqual(self.reactor.clock.getDelayedCalls(), [])

    async def test_reading_sees_one_state_throughout(self) -> None:
        """
        A reading transaction does not see what others commit while it runs.
        """
        database = await self.open(size=2)
        first_read, go_on = threading.Event(), threading.Event()
        self.addCleanup(go_on.set)

        def read_twice(connection: sa.Connection) -> tuple[list[str], list[str]]:
            before = names(connection)
            first_read.set()
            assert go_on.wait(20)
            return before, names(connection)

        reading = started(database.transact(read_twice, readonly=True))
        await until(first_read.is_set)
        await database.transact(insert, "a")
        go_on.set()
        self.assertEqual(await reading, ([], []))
        self.assertEqual(await database.transact(names, readonly=True), ["a"])

    async def test_a_reading_transaction_may_not_write(self) -> None:
        """
        A function that writes although it was called to read is refused, and its connection can be written with later.
        """
        database = await self.open(size=1)
        with self.assertRaises(FactualError):
            await database.transact(insert, "a", readonly=True)
        self.assertEqual(await database.transact(names, readonly=True), [])
        await database.transact(insert, "a")
        with self.assertRaises(FactualError):
            await database.transact(insert, "b", readonly=True)
        self.assertEqual(await database.transact(names), ["a"])

    async def test_a_look_leaves_no_transaction_open(self) -> None:
        """
        Looking needs no transaction, and leaves none behind that SQLAlchemy began by itself, whether or not it fails.
        """
        database = await self.open(size=1)
        await database.transact(insert, "a")
        self.assertEqual(await database.look(names), ["a"])
        connection = database._kept[0].twisted._connection
        self.assertFalse(connection.in_transaction())
        with self.assertRaises(StatementFailed):
            await database.look(lambda each: (names(each), insert(each, "a")))
        self.assertFalse(connection.in_transaction())
        await database.transact(insert, "b")
        self.assertEqual(await database.look(names), ["a", "b"])

    async def test_transactions_that_read_before_they_write_do_not_fail_each_other(self) -> None:
        """
        Many transactions that read and then write all succeed, from two processes' connections at once.
        """
        one, other = await self.open(size=2), await self.open(size=2)

        def read_and_write(connection: sa.Connection, name: str) -> None:
            names(connection)
            insert(connection, name)

        await gatherResults(
            [
                started(database.transact(read_and_write, f"{n}{who}"))
                for n in range(20)
                for who, database in (("a", one), ("b", other))
            ]
        )
        self.assertEqual(len(await one.transact(names)), 40)

    async def test_stopping_waits_for_what_runs_and_sends_away_what_waits(self) -> None:
        """
        `stop` lets a running transaction commit; one without a connection yet, or later, fails.
        """
        database = await self.open(size=1)
        gate = self.gate()
        running = started(database.transact(gate, "a"))
        await gate.entered()
        waiting = started(database.transact(insert, "b"))
        stopping = started(database.stop())
        with self.assertRaises(CatalogUnavailable):
            await waiting
        with self.assertRaises(CatalogUnavailable):
            await database.transact(insert, "c")
        self.assertFalse(stopping.called)
        gate.open()
        await running
        await stopping
        self.assertEqual(self.by_hand.run("SELECT name FROM things"), [("a",)])
        await database.stop()

    async def test_stopping_has_a_deadline(self) -> None:
        """
        `stop` does not wait for ever for a transaction that hangs, and says that it left it behind.
        """
        database = await self.open(size=2, stop_seconds=5)
        gate = self.gate()
        running = started(database.transact(gate))
        await gate.entered()
        lines = self.logged()
        stopping = started(database.stop())
        self.reactor.clock.advance(5.1)
        await stopping
        self.assertIn("still running after 5", "\n".join(lines))
        gate.open()
        await running
        await until(lambda: not self.threads())

    async def test_a_database_can_be_started_again(self) -> None:
        """
        A stopped database starts and works again.
        """
        database = await self.open(size=1)
        await database.stop()
        await database.start()
        self.assertEqual(await database.transact(names), [])
        with self.assertRaises(RuntimeError):
            await database.start()

    async def test_a_cursor_is_refused(self) -> None:
        """
        A function that returns a cursor is told so, and what it did is undone.
        """
        database = await self.open(size=1)

        def leak(connection: sa.Connection) -> Any:
            insert(connection, "a")
            return connection.exec_driver_sql("SELECT 1")

        with self.assertRaises(TypeError):
            await database.transact(leak)
        self.assertEqual(await database.transact(names), [])

    async def test_a_refused_statement_is_told_without_its_values(self) -> None:
        """
        What a database refuses becomes `StatementFailed`, with SQLAlchemy's error as the cause but no bound values.
        """
        database = await self.open(size=1)

        def twice(connection: sa.Connection) -> None:
            for _ in range(2):
                connection.execute(sa.text("INSERT INTO things (name) VALUES (:name)"), {"name": "hunter2"})

        with self.assertRaises(StatementFailed) as caught:
            await database.transact(twice)
        self.assertIsInstance(caught.exception.__cause__, sa.exc.SQLAlchemyError)
        self.assertNotIn("hunter2", str(caught.exception))
        self.assertIn("hide_parameters", str(caught.exception.__cause__))

    def logged(self) -> list[str]:
        lines: list[str] = []

        def observe(event: Any) -> None:
            lines.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        return lines


class ServerContract(DatabaseCase):
    """
    What holds on databases that are servers, with connections that can break.
    """

    own_id: str
    end_connection: str
    count_connections: str

    def cut(self, database: Database) -> None:
        """
        End the kept connections, on the server's side.
        """
        ids = [place.twisted._connection.exec_driver_sql(self.own_id).scalar_one() for place in database._kept]
        for place in database._kept:
            place.twisted._connection.rollback()
        for each in ids:
            self.by_hand.run(self.end_connection.format(each))

    async def test_connections_closed_while_idle_are_replaced(self) -> None:
        """
        After a time without use, connections that the server has closed are noticed and replaced before they are used.
        """
        database = await self.open(size=2)
        self.cut(database)
        self.reactor.clock.advance(IDLE_SECONDS)
        await gatherResults([started(database.transact(insert, name)) for name in "abcd"])
        self.assertEqual(await database.transact(names), ["a", "b", "c", "d"])

    async def test_readers_begin_again_on_a_connection_that_was_closed(self) -> None:
        """
        Who reads, or looks, on a connection that the server closed unnoticed begins again, once, on a new one.
        """
        await (await self.open(size=1)).transact(insert, "a")
        for readers in (lambda d: d.transact(names, readonly=True), lambda d: d.look(names)):
            database = await self.open(size=1)
            for _ in range(2):
                self.cut(database)
                self.assertEqual(await readers(database), ["a"])

    async def test_a_connection_lost_in_use_fails_one_transaction_only(self) -> None:
        """
        A lost connection fails the transaction that finds out, once and without a second try; others are pinged first.
        """
        database = await self.open(size=3)
        self.cut(database)
        runs = []

        def count(connection: sa.Connection) -> None:
            runs.append(1)
            names(connection)

        with self.assertRaises(CatalogUnavailable) as caught:
            await database.transact(count)
        self.assertIn("lost", str(caught.exception))
        self.assertLessEqual(len(runs), 1)
        gates = [self.gate() for _ in range(3)]
        running = [started(database.transact(gate, f"{n}")) for n, gate in enumerate(gates)]
        for gate in gates:
            gate.open()
        await gatherResults(running)
        self.assertEqual(await database.transact(names), ["0", "1", "2"])

    async def test_a_start_that_fails_leaves_nothing_behind_and_tells_no_secret(self) -> None:
        """
        Where the server refuses, `start` fails with `CatalogUnavailable`; no thread remains, and no password is shown.
        """
        url = sa.make_url(self.url).set(username="nobody_here", password="hunter2", database="nowhere")
        lines: list[str] = []

        def observe(event: Any) -> None:
            lines.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        database = Database(self.reactor, url.render_as_string(hide_password=False), size=4)
        with self.assertRaises(CatalogUnavailable) as caught:
            await database.start()
        await until(lambda: not self.threads())
        shown = "\n".join([*traceback.format_exception(caught.exception), *lines, repr(database)])
        self.assertIn("nobody_here", shown)
        self.assertNotIn("hunter2", shown)

    async def test_a_statement_that_takes_too_long_fails(self) -> None:
        """
        A transaction that waits too long for somebody's lock fails, and its connection serves the next one.
        """
        self.by_hand.run(INSERT.format("a"))
        database = await self.open(size=1, statement_seconds=0.3)

        def change(connection: sa.Connection) -> None:
            connection.exec_driver_sql("UPDATE things SET name = 'b'")

        with self.by_hand.connect() as connection:
            connection.exec_driver_sql("SELECT name FROM things FOR UPDATE")
            with self.assertRaises(CatalogUnavailable):
                await database.transact(change)
        await database.transact(change)
        self.assertEqual(await database.transact(names, readonly=True), ["b"])

    async def test_a_look_that_takes_too_long_fails(self) -> None:
        """
        A statement outside of a transaction has the same deadline as one in it, on new connections as on old ones.
        """
        database = await self.open(size=1, statement_seconds=0.3)
        for renewed in (False, True):
            if renewed:
                self.cut(database)
                self.assertEqual(await database.look(names), [])
            with self.assertRaises(CatalogUnavailable):
                await database.look(lambda connection: connection.exec_driver_sql(self.sleep).all())
            self.assertEqual(await database.look(names), [])

    async def test_nothing_is_open_on_the_server_after_stop(self) -> None:
        """
        When `stop` returns, the server knows no connection of ours any more.
        """
        before = self.by_hand.run(self.count_connections)
        database = await self.open(size=3)
        self.assertEqual(self.by_hand.run(self.count_connections)[0][0], before[0][0] + 3)
        await database.stop()
        await until(lambda: self.by_hand.run(self.count_connections) == before)

    async def test_a_cancelled_start_leaves_no_connection(self) -> None:
        """
        Connections that come up after `start` was cancelled are closed, whether or not garbage is collected.
        """
        before = self.by_hand.run(self.count_connections)
        gc.disable()
        self.addCleanup(gc.enable)
        starting = started(Database(self.reactor, self.url, size=4).start())
        starting.cancel()
        with self.assertRaises(CancelledError):
            await starting
        await until(lambda: not self.threads())
        await until(lambda: self.by_hand.run(self.count_connections) == before)


class SqliteDatabaseTests(OnSqlite, DatabaseContract):
    """
    `Database` on SQLite.
    """

    async def test_connections_are_durable_and_careful(self) -> None:
        """
        Connections write ahead, sync every commit, check foreign keys, and wait for other processes.
        """
        database = await self.open(size=1)

        def settings(connection: sa.Connection) -> list[Any]:
            pragmas = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            return [connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one() for pragma in pragmas]

        full = 2
        self.assertEqual(await database.transact(settings, readonly=True), ["wal", full, 1, 5000])

    async def test_reading_goes_on_while_writers_wait(self) -> None:
        """
        Writers, of whom there is one at a time, wait without holding the connections that readers could use.
        """
        database = await self.open(size=2)
        gate = self.gate()
        writers = [started(database.transact(gate, "a")), started(database.transact(insert, "b"))]
        await gate.entered()
        self.assertEqual(await database.transact(names, readonly=True), [])
        gate.open()
        await gatherResults(writers)

    async def test_a_start_that_fails_leaves_nothing_behind(self) -> None:
        """
        Where the file cannot be opened, `start` fails with `CatalogUnavailable` and no thread remains.
        """
        database = Database(self.reactor, f"{sqlite_url(self)}/no/such/folder", size=3)
        with self.assertRaises(CatalogUnavailable):
            await database.start()
        await until(lambda: not self.threads())

    async def test_many_processes_may_open_a_new_file_at_once(self) -> None:
        """
        Several sets of connections that open the same new file at the same time all succeed.
        """
        self.url = sqlite_url(self)
        await gatherResults([started(self.open(size=4)) for _ in range(4)])

    async def test_no_snapshot_stays_pinned(self) -> None:
        """
        After reading, the write-ahead log can be emptied: no forgotten transaction holds on to an old state.
        """
        database = await self.open(size=3)
        await database.transact(insert, "a")
        await gatherResults([started(database.transact(names, readonly=True)) for _ in range(9)])
        busy, _log, _moved = self.by_hand.run("PRAGMA wal_checkpoint(TRUNCATE)")[0]
        self.assertEqual(busy, 0)


class PostgresqlDatabaseTests(OnPostgresql, DatabaseContract):
    """
    `Database` on PostgreSQL.
    """


class PostgresqlServerTests(OnPostgresql, ServerContract):
    """
    `Database` on PostgreSQL, as a server.
    """

    own_id = "SELECT pg_backend_pid()"
    sleep = "SELECT pg_sleep(10)"
    end_connection = "SELECT pg_terminate_backend({}, 5000)"
    count_connections = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"

    async def test_a_transaction_brings_its_deadline(self) -> None:
        """
        A statement in a transaction has its deadline even where the session has lost its own, as behind a pooler.
        """
        database = await self.open(size=1, statement_seconds=0.3)
        forget = "SET statement_timeout = 0"
        await database.look(lambda connection: connection.exec_driver_sql(forget) and None)
        for readonly in (False, True):
            with self.assertRaises(CatalogUnavailable):
                await database.transact(
                    lambda connection: connection.exec_driver_sql("SELECT pg_sleep(3)").all(), readonly=readonly
                )

    async def test_no_connection_is_idle_in_transaction(self) -> None:
        """
        After reading, and after failing, the server sees the kept connections idle, in no transaction.
        """
        database = await self.open(size=3)
        await gatherResults([started(database.transact(names, readonly=True)) for _ in range(9)])
        await gatherResults([started(database.look(names)) for _ in range(9)])
        with self.assertRaises(StatementFailed):
            await database.transact(lambda connection: connection.exec_driver_sql("SELECT nonsense").all())
        states = "SELECT state FROM pg_stat_activity WHERE application_name = 'glance_tx' AND pid <> pg_backend_pid()"
        states += " AND datname = current_database()"
        self.assertEqual(self.by_hand.run(states), [("idle",)] * 3)


class MysqlDatabaseTests(OnMysql, DatabaseContract):
    """
    `Database` on MariaDB or MySQL.
    """


class MysqlServerTests(OnMysql, ServerContract):
    """
    `Database` on MariaDB or MySQL, as a server.
    """

    own_id = "SELECT connection_id()"
    sleep = "SELECT sleep(10)"
    end_connection = "KILL {}"
    count_connections = "SELECT count(*) FROM information_schema.processlist WHERE db = database()"

    async def test_text_is_any_text_and_never_cut(self) -> None:
        """
        The connection speaks all of Unicode, and a text that is too long is refused, whatever the server's settings.
        """
        database = await self.open(size=1)

        def settings(connection: sa.Connection) -> str:
            return connection.exec_driver_sql("SELECT @@character_set_client").scalar_one()

        self.assertEqual(await database.transact(settings), "utf8mb4")
        with self.assertRaises(StatementFailed):
            await database.transact(insert, "x" * 21)


# The contracts run by way of their subclasses only.
del DatabaseContract, ServerContract
