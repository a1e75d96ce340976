"""
Servers that tests may use: found running, or started for the occasion.

A server that was found is entered only by way of a database or a prefix with a random name, which is removed
after the test. A test that stops, empties or kills a server takes one of its own, `own_redis`.

Where a server is looked for, in this order: the environment variable, the usual local addresses, and for Redis a
``redis-server`` binary. A variable that is set is the only place: nobody wants the tests to wander off to another
server because the one that was meant did not answer. Where there is none, the test is skipped with the reason, or
fails with it if ``GLANCE_TX_REQUIRE_SERVICES`` is ``1``.
"""

from __future__ import annotations

import os
import secrets
import selectors
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar
from urllib.parse import unquote, urlsplit

import pika
import pika.exceptions
import psycopg
import pymysql
from attrs import define, field
from sqlalchemy import URL, make_url
from twisted.trial.unittest import SkipTest

from tests.ports import free_port

__all__ = [
    "OwnRedis",
    "lacking",
    "mysql_database",
    "own_redis",
    "postgresql_database",
    "rabbit_url_and_name",
    "redis_url_and_prefix",
]

_Place = TypeVar("_Place")

REACH_SECONDS = 3
START_SECONDS = 20

POSTGRESQL_PLACES = (
    "postgresql+psycopg://postgres@127.0.0.1:5432/postgres",
    "postgresql+psycopg://postgres@/postgres?host=/var/run/postgresql",
)
MYSQL_PLACES = (
    "mysql+pymysql://root@127.0.0.1:3306/",
    "mysql+pymysql://root@localhost/?unix_socket=/run/mysqld/mysqld.sock",
)
REDIS_PLACES = ("redis://127.0.0.1:6379/0",)
RABBIT_PLACES = ("amqp://guest:guest@127.0.0.1:5672/",)


class ServiceCase(Protocol):
    """
    What is asked of a test case here; every trial `TestCase` has it.
    """

    failureException: type[BaseException]

    def addCleanup(self, f: Callable[..., Any], *args: Any, **kwargs: Any) -> Any: ...

    def mktemp(self) -> str: ...


def postgresql_database(case: ServiceCase) -> str:
    """
    Make an empty PostgreSQL database for one test; return its SQLAlchemy URL (driver psycopg).
    """
    server = _first(case, "PostgreSQL", "GLANCE_TX_TEST_POSTGRESQL_URL", POSTGRESQL_PLACES, _reach_postgresql)
    name = _random_name()
    with _postgresql(server) as admin:
        admin.execute(f'CREATE DATABASE "{name}"')

    def remove() -> None:
        with _postgresql(server) as admin:
            admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    case.addCleanup(remove)
    return server.set(database=name).render_as_string(hide_password=False)


def mysql_database(case: ServiceCase) -> str:
    """
    Make an empty MariaDB or MySQL database for one test; return its SQLAlchemy URL (driver PyMySQL).
    """
    server = _first(case, "MariaDB or MySQL", "GLANCE_TX_TEST_MYSQL_URL", MYSQL_PLACES, _reach_mysql)
    name = _random_name()

    def run(statement: str) -> None:
        with _mysql(server) as admin, admin.cursor() as cursor:
            cursor.execute(statement)

    # A character set that our tables must not inherit: they name their own.
    run(f"CREATE DATABASE `{name}` CHARACTER SET latin1")
    case.addCleanup(run, f"DROP DATABASE IF EXISTS `{name}`")
    return server.set(database=name).render_as_string(hide_password=False)


def redis_url_and_prefix(case: ServiceCase) -> tuple[str, str]:
    """
    Find a Redis (or start one); return its URL, and a prefix under which the test may keep keys.
    """
    try:
        url = _first(case, "Redis", "GLANCE_TX_TEST_REDIS_URL", REDIS_PLACES, _reach_redis)
    except SkipTest:
        if os.environ.get("GLANCE_TX_TEST_REDIS_URL") or shutil.which("redis-server") is None:
            raise
        return own_redis(case).url, _random_name()
    prefix = _random_name()

    def remove() -> None:
        with _Redis(url) as redis:
            redis.remove(f"{prefix}*")

    case.addCleanup(remove)
    return url, prefix


def rabbit_url_and_name(case: ServiceCase) -> tuple[str, str]:
    """
    Find a RabbitMQ; return its URL (``rabbit://``), and a name for an exchange and the beginning of names of queues.
    """
    place = _first(case, "RabbitMQ", "GLANCE_TX_TEST_RABBITMQ_URL", RABBIT_PLACES, _reach_rabbit)
    name = _random_name()

    def remove() -> None:
        with pika.BlockingConnection(pika.URLParameters(place)) as connection:
            channel = connection.channel()
            channel.exchange_delete(name)
            for priority in ("info", "warn", "error"):
                channel.queue_delete(f"{name}.{priority}")

    case.addCleanup(remove)
    return place.replace("amqp://", "rabbit://"), name


def own_redis(case: ServiceCase, options: Mapping[str, str] | None = None) -> OwnRedis:
    """
    Start a Redis that belongs to the test: it may be stopped, killed and emptied. It is gone after the test.

    :param options: Further options of the server.
    """
    program = shutil.which("redis-server")
    if program is None:
        raise _missing(case, "Redis", ["there is no redis-server program"])
    folder = Path(case.mktemp()).absolute()
    folder.mkdir(parents=True)
    redis = OwnRedis(program, folder, free_port(), options or {})
    case.addCleanup(redis.kill)
    redis.start()
    return redis


@define
class OwnRedis:
    """
    A redis-server process that keeps nothing on disk, so that each start finds it empty.

    :param folder: Its working folder.
    :param port: Its port on 127.0.0.1; the same over restarts.
    """

    program: str
    folder: Path
    port: int
    options: Mapping[str, str] = field(factory=dict)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """
        Where it listens.
        """
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """
        Start the server; return when it accepts connections. Harmless while it runs.
        """
        if self._process is not None:
            return
        options = {"bind": "127.0.0.1", "port": str(self.port), "dir": str(self.folder), "save": "", "appendonly": "no"}
        options |= self.options
        command = [self.program, *(part for name, value in options.items() for part in (f"--{name}", value))]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert self._process.stdout is not None
        with self._process.stdout as output:
            said = _read_until(output, b"eady to accept connections", START_SECONDS)
        if said is not None:
            self.kill()
            raise AssertionError(f"redis-server did not start: {said.decode(errors='replace')}")

    def kill(self) -> None:
        """
        Kill the server (SIGKILL) and wait for its end. Harmless when it is gone.
        """
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart_empty(self) -> None:
        """
        Kill the server and start it again, with nothing in it, on the same port.
        """
        self.kill()
        self.start()


def _random_name() -> str:
    return f"glance_tx_test_{secrets.token_hex(8)}"


def _first(case: ServiceCase, kind: str, variable: str, usual: Sequence[str], reach: Callable[[str], _Place]) -> _Place:
    named = os.environ.get(variable)
    reasons = []
    for place in [named] if named else usual:
        try:
            return reach(place)
        except (OSError, psycopg.Error, pymysql.Error) as error:
            where = variable if named else place
            reasons.append(f"{where}: {' '.join(str(error).split())}")
    raise _missing(case, kind, reasons)


def _missing(case: ServiceCase, kind: str, reasons: Iterable[str]) -> BaseException:
    return lacking(case, f"no {kind} server: {'; '.join(reasons)}")


def lacking(case: ServiceCase, text: str) -> BaseException:
    """
    Make the exception for a test that this machine cannot run: a skip, or a failure where everything must be there.

    :param text: What is missing.
    """
    if os.environ.get("GLANCE_TX_REQUIRE_SERVICES") == "1":
        return case.failureException(text)
    return SkipTest(text)


def _reach_postgresql(place: str) -> URL:
    url = make_url(place).set(drivername="postgresql+psycopg")
    _postgresql(url).close()
    return url


def _postgresql(url: URL) -> psycopg.Connection:
    query: dict[str, Any] = {name: str(value) for name, value in url.query.items()}
    return psycopg.connect(
        host=url.host or query.pop("host", None),
        port=url.port,
        user=url.username,
        password=url.password,
        dbname=url.database or "postgres",
        autocommit=True,
        connect_timeout=REACH_SECONDS,
        **query,
    )


def _reach_mysql(place: str) -> URL:
    url = make_url(place).set(drivername="mysql+pymysql")
    _mysql(url).close()
    return url


def _mysql(url: URL) -> pymysql.Connection[Any]:
    return pymysql.connect(
        host=url.host or "localhost",
        port=url.port or 3306,
        user=url.username,
        password=url.password or "",
        unix_socket=url.query.get("unix_socket"),
        autocommit=True,
        connect_timeout=REACH_SECONDS,
    )


def _reach_rabbit(place: str) -> str:
    try:
        pika.BlockingConnection(pika.URLParameters(place)).close()
    except pika.exceptions.AMQPError as error:
        raise ConnectionError(repr(error)) from error
    return place


def _reach_redis(place: str) -> str:
    with _Redis(place) as redis:
        redis.command("PING")
    return place


class _Redis:
    """
    As much of a Redis client as looking for one, and cleaning up in one, takes. It blocks.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port or 6379), timeout=REACH_SECONDS)
        self._file = self._socket.makefile("rb")
        if parts.password:
            self.command("AUTH", *([parts.username] if parts.username else []), unquote(parts.password))
        self.command("SELECT", parts.path.strip("/") or "0")

    def __enter__(self) -> _Redis:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def command(self, *words: str) -> Any:
        parts = [f"*{len(words)}\r\n".encode()]
        for word in words:
            data = word.encode()
            parts += [f"${len(data)}\r\n".encode(), data, b"\r\n"]
        self._socket.sendall(b"".join(parts))
        return self._reply()

    def remove(self, pattern: str) -> None:
        for keys in self._scan(pattern):
            self.command("DEL", *keys)

    def _scan(self, pattern: str) -> Iterator[list[str]]:
        cursor = "0"
        while True:
            cursor, keys = self.command("SCAN", cursor, "MATCH", pattern, "COUNT", "1000")
            if keys:
                yield keys
            if cursor == "0":
                return

    def _reply(self) -> Any:
        line = self._file.readline()
        kind, rest = line[:1], line[1:].strip().decode()
        match kind:
            case b"+":
                return rest
            case b":":
                return int(rest)
            case b"$":
                return None if rest == "-1" else self._file.read(int(rest) + 2)[:-2].decode()
            case b"*":
                return [self._reply() for _ in range(int(rest))]
            case _:
                # What is no Redis, or one that wants a password we do not have, is no server for us.
                raise ConnectionError(f"not usable as a Redis: {rest!r}")


def _read_until(output: IO[bytes], word: bytes, timeout_seconds: float) -> bytes | None:
    """
    Read a program's output until a word is there; return what it said instead, if it ended or took too long.
    """
    said = b""
    deadline = time.monotonic() + timeout_seconds
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while word not in said:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                return said + b" (no more for too long)"
            piece = os.read(output.fileno(), 4096)
            if not piece:
                return said
            said += piece
    return None
