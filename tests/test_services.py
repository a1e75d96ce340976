"""
The servers that tests use: found, entered under a random name, left clean.
"""

from __future__ import annotations

import os
import shutil
import socket

import psycopg
import pymysql
from sqlalchemy import make_url
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests import services
from tests.ports import free_port


class Bystander(SynchronousTestCase):
    """
    A case that has not run: something to register cleanups on, which a test then runs by itself.
    """

    def runTest(self) -> None: ...

    def clean_up(self) -> None:
        self.doCleanups()


class DatabaseTests(SynchronousTestCase):
    """
    `postgresql_database` and `mysql_database`.
    """

    def test_a_postgresql_database_is_removed_afterwards(self) -> None:
        """
        A PostgreSQL database is there for the test and gone after its cleanups, open connections or not.
        """
        case = Bystander()
        url = make_url(services.postgresql_database(case))
        query = {name: str(value) for name, value in url.query.items()}
        words = {"port": url.port, "user": url.username, "password": url.password, "dbname": url.database}
        host = {"host": url.host} if url.host else {}
        left_open = psycopg.connect(**words, **host, **query)
        self.addCleanup(left_open.close)
        case.clean_up()
        with self.assertRaises(psycopg.OperationalError) as caught:
            psycopg.connect(**words, **host, **query)
        self.assertIn("does not exist", str(caught.exception))

    def test_a_mysql_database_is_removed_afterwards(self) -> None:
        """
        A MariaDB database is there for the test and gone after its cleanups.
        """
        case = Bystander()
        url = make_url(services.mysql_database(case))

        def connect() -> pymysql.Connection:
            return pymysql.connect(
                host=url.host or "localhost",
                port=url.port or 3306,
                user=url.username,
                password=url.password or "",
                unix_socket=url.query.get("unix_socket"),
                database=url.database,
            )

        connect().close()
        case.clean_up()
        with self.assertRaises(pymysql.OperationalError) as caught:
            connect()
        self.assertIn("Unknown database", str(caught.exception))


class RedisTests(SynchronousTestCase):
    """
    `redis_url_and_prefix` and `own_redis`.
    """

    def test_keys_under_the_prefix_are_removed_afterwards(self) -> None:
        """
        Keys under the test's prefix are gone after its cleanups, and others stay.
        """
        own = services.own_redis(self)
        self.patch_environment("GLANCE_TX_TEST_REDIS_URL", own.url)
        case = Bystander()
        url, prefix = services.redis_url_and_prefix(case)
        with services._Redis(url) as redis:
            redis.command("SET", f"{prefix}:a", "1")
            redis.command("SET", "other", "2")
            case.clean_up()
            self.assertEqual(redis.command("KEYS", "*"), ["other"])

    def test_own_redis_comes_back_empty_on_the_same_port(self) -> None:
        """
        A Redis of the test's own refuses connections once killed, and comes back empty where it was.
        """
        own = services.own_redis(self)
        with services._Redis(own.url) as redis:
            redis.command("SET", "key", "value")
        own.kill()
        with self.assertRaises(OSError):
            socket.create_connection(("127.0.0.1", own.port))
        own.restart_empty()
        with services._Redis(own.url) as redis:
            self.assertEqual(redis.command("DBSIZE"), 0)

    def test_a_program_that_does_not_start_fails_the_test_with_its_words(self) -> None:
        """
        A redis-server that cannot listen fails the test with what it said.
        """
        first = services.own_redis(self)
        second = services.OwnRedis(first.program, first.folder, first.port)
        with self.assertRaises(AssertionError) as caught:
            second.start()
        self.assertIn("Address already in use", str(caught.exception))

    def patch_environment(self, name: str, value: str) -> None:
        self.patch(os, "environ", {**os.environ, name: value})


class MissingTests(SynchronousTestCase):
    """
    Where there is no server.
    """

    def without(self, variable: str, url: str, **more: str) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("GLANCE_TX_")}
        self.patch(os, "environ", {**clean, variable: url.format(port=free_port()), **more})

    def test_an_absent_server_skips_by_name_with_the_reason(self) -> None:
        """
        A test that needs an absent server is skipped; the reason names the kind, the place and what went wrong.
        """
        for variable, url, find, kind in (
            ("GLANCE_TX_TEST_POSTGRESQL_URL", "postgresql://x@127.0.0.1:{port}/", services.postgresql_database, "Post"),
            ("GLANCE_TX_TEST_MYSQL_URL", "mysql://x@127.0.0.1:{port}/", services.mysql_database, "Maria"),
            ("GLANCE_TX_TEST_REDIS_URL", "redis://127.0.0.1:{port}/0", services.redis_url_and_prefix, "Redis"),
        ):
            self.without(variable, url)
            with self.assertRaises(SkipTest) as caught:
                find(self)
            for word in (kind, variable, "refused"):
                self.assertIn(word, str(caught.exception))

    def test_required_services_fail_instead(self) -> None:
        """
        With ``GLANCE_TX_REQUIRE_SERVICES=1`` an absent server is a failure.
        """
        self.without("GLANCE_TX_TEST_MYSQL_URL", "mysql://x@127.0.0.1:{port}/", GLANCE_TX_REQUIRE_SERVICES="1")
        with self.assertRaises(self.failureException) as caught:
            services.mysql_database(self)
        self.assertNotIsInstance(caught.exception, SkipTest)

    def test_redis_is_started_where_none_is_found(self) -> None:
        """
        Without a Redis at the usual port, one is started for the test.
        """
        if shutil.which("redis-server") is None:
            raise SkipTest("there is no redis-server program")
        self.without("GLANCE_TX_UNUSED", "")
        self.patch(services, "REDIS_PLACES", (f"redis://127.0.0.1:{free_port()}/0",))
        url, _prefix = services.redis_url_and_prefix(self)
        with services._Redis(url) as redis:
            self.assertEqual(redis.command("PING"), "PONG")

    def test_a_password_is_not_in_the_reason(self) -> None:
        """
        The reason of a skip names the variable, never the URL in it, which may hold a password.
        """
        self.without("GLANCE_TX_TEST_POSTGRESQL_URL", "postgresql://x:hunter2@127.0.0.1:{port}/")
        with self.assertRaises(SkipTest) as caught:
            services.postgresql_database(self)
        self.assertNotIn("hunter2", str(caught.exception))
