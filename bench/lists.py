"""
How much longer lists of images take when there are a million instead of a thousand.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from attrs import evolve, frozen
from sqlalchemy.ext.compiler import compiles

from glance_tx.db import dialects, migrate
from glance_tx.db.listing import list_images, page_reading
from glance_tx.db.tables import image_members, image_properties, image_tags, images
from glance_tx.db.urls import read_url
from glance_tx.domain.filters import equal
from glance_tx.domain.images import Image, Visibility
from glance_tx.domain.interfaces import ImageQuery, Viewer

DEFAULT_SIZES = (1_000, 1_000_000)
GOAL = 2.0
LONGEST_SECONDS = 10
IMAGES_OF_A_PROJECT = 100
# No divisor of the sizes, so that images of every age are spread over all projects.
STRIDE = 7_919

MEMBER = Viewer("p0000003", is_admin=False)
ADMIN = Viewer("p0000003", is_admin=True)
UP, DOWN = "asc", "desc"

QUERIES: dict[str, ImageQuery] = {
    "default": ImageQuery(MEMBER),
    "default, second page": ImageQuery(MEMBER, marker="first page"),
    "visibility=private": ImageQuery(MEMBER, visibility=Visibility.PRIVATE),
    "visibility=public": ImageQuery(MEMBER, visibility=Visibility.PUBLIC),
    "visibility=shared": ImageQuery(MEMBER, visibility=Visibility.SHARED),
    "visibility=all": ImageQuery(MEMBER, visibility="all"),
    "a property, common": ImageQuery(MEMBER, properties={"os_distro": "debian"}),
    "two properties": ImageQuery(MEMBER, properties={"os_distro": "debian", "arch": "x86_64"}),
    "a tag, common": ImageQuery(MEMBER, tags=frozenset({"t3"})),
    "sort=name:asc": ImageQuery(MEMBER, sort=(("name", UP),)),
    "sort=name:desc, second page": ImageQuery(MEMBER, sort=(("name", DOWN),), marker="first page"),
    "name=image-013": ImageQuery(MEMBER, filters=[equal("name", "image-013")]),
    "status=active": ImageQuery(MEMBER, filters=[equal("status", "active")]),
    "admin, default": ImageQuery(ADMIN),
    "admin, visibility=all": ImageQuery(ADMIN, visibility="all"),
    "admin, second page": ImageQuery(ADMIN, marker="first page"),
    "admin, sort=name:asc": ImageQuery(ADMIN, sort=(("name", UP),)),
    "admin, a tag, common": ImageQuery(ADMIN, tags=frozenset({"t3"})),
}
"""Lists that are to be as fast among a million images as among a thousand."""

SLOW: dict[str, ImageQuery] = {
    "sort=size:desc": ImageQuery(MEMBER, sort=(("size", DOWN),)),
    "a property, of one image": ImageQuery(MEMBER, properties={"build": "29"}),
    "a tag, of none": ImageQuery(MEMBER, tags=frozenset({"none"})),
    "admin, a property, of one image": ImageQuery(ADMIN, properties={"build": "29"}),
    "admin, sort=size:desc": ImageQuery(ADMIN, sort=(("size", DOWN),)),
}
"""Lists of which no such thing is promised."""


@frozen
class Server:
    """
    Where databases are made.

    :param url: Of a SQLAlchemy database; for SQLite a folder stands in its place.
    """

    url: sa.URL

    def database(self, size: int) -> sa.URL:
        """
        Name the database of so many images.
        """
        name = f"glance_tx_bench_{size}"
        if self.url.get_backend_name() == "sqlite":
            return self.url.set(database=str(Path(self.url.database or ".") / name))
        return self.url.set(database=name)

    def make(self, size: int) -> None:
        """
        Make that database, unless it is there.
        """
        if self.url.get_backend_name() != "sqlite" and not self._is_there(size):
            self._administrate(f"CREATE DATABASE {self.database(size).database}")

    def remove(self, size: int) -> None:
        """
        Remove that database.
        """
        url = self.database(size)
        if self.url.get_backend_name() == "sqlite":
            for suffix in ("", "-wal", "-shm"):
                Path(f"{url.database}{suffix}").unlink(missing_ok=True)
        else:
            self._administrate(f"DROP DATABASE {url.database}")

    def _is_there(self, size: int) -> bool:
        engine = sa.create_engine(self.url, poolclass=sa.NullPool)
        database = self.database(size).database
        if self.url.get_backend_name() == "postgresql":
            with engine.connect() as connection:
                wanted = sa.text("SELECT count(*) FROM pg_database WHERE datname = :name")
                return bool(connection.execute(wanted, {"name": database}).scalar_one())
        return database in sa.inspect(engine).get_schema_names()

    def _administrate(self, statement: str) -> None:
        engine = sa.create_engine(self.url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)


def fill(url: sa.URL, size: int) -> None:
    """
    Fill a database with images; leave it alone if they are there.

    Everything is computed by the server out of a table of numbers. A project has 100 images, of which 20 are shared
    with the next project; every 199th image is public, and so are the first 30.
    """
    migrate.upgrade(url.render_as_string(hide_password=False))
    engine = dialects.make_engine(url)
    with engine.connect() as connection:
        if connection.scalar(sa.select(sa.func.count()).select_from(images)) == size:
            return
        with _unguarded(connection):
            numbers = _numbers(connection, size)
            for table, columns, rows in _contents(connection.dialect.name, numbers.c.i, size):
                connection.execute(sa.insert(table).from_select(columns, rows))
            connection.commit()
            numbers.drop(connection)
            connection.commit()
    _refresh_statistics(engine)


@contextmanager
def _unguarded(connection: sa.Connection) -> Iterator[None]:
    """
    Do without foreign keys and further indexes: they take their time.
    """
    off, on = {
        "sqlite": ("PRAGMA foreign_keys=OFF", "PRAGMA foreign_keys=ON"),
        "postgresql": ("SET session_replication_role=replica", "SET session_replication_role=origin"),
    }.get(connection.dialect.name, ("SET foreign_key_checks=0", "SET foreign_key_checks=1"))
    connection.exec_driver_sql(off)
    indexes = [index for table in (images, image_tags, image_members) for index in table.indexes]
    for index in indexes:
        index.drop(connection)
    connection.commit()
    yield
    for index in indexes:
        index.create(connection)
    connection.exec_driver_sql(on)
    connection.commit()


def _numbers(connection: sa.Connection, size: int) -> sa.Table:
    table = sa.Table(
        "bench_numbers", sa.MetaData(), sa.Column("i", sa.BigInteger, primary_key=True, autoincrement=False)
    )
    table.drop(connection, checkfirst=True)
    table.create(connection)
    connection.execute(sa.insert(table), [{"i": 0}])
    have = 1
    while have < size:
        more = sa.select(table.c.i + have).where(table.c.i < size - have)
        connection.execute(sa.insert(table).from_select(["i"], more))
        have *= 2
    connection.commit()
    return table


def _contents(kind: str, i: sa.ColumnElement[Any], size: int) -> Iterator[tuple[sa.Table, list[str], sa.Select[Any]]]:
    """
    Give, for each table, its columns and the rows that go there.
    """
    projects = max(1, size // IMAGES_OF_A_PROJECT)

    def text(number: sa.ColumnElement[Any], width: int) -> sa.ColumnElement[Any]:
        if kind == "sqlite":
            return sa.func.printf(f"%0{width}d", number)
        digits = sa.cast(number, sa.String if kind == "postgresql" else sa.CHAR(12))
        return sa.func.lpad(digits, width, "0")

    def moment(seconds: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        if kind == "sqlite":
            return sa.func.datetime(seconds + 1_700_000_000, "unixepoch") + ".000000"
        return sa.func.to_timestamp(seconds) if kind == "postgresql" else sa.func.from_unixtime(seconds + 86_400)

    image_id = sa.literal("00000000-0000-4000-8000-") + text(i, 12)
    nth = sa.cast(sa.func.floor(i / projects), sa.Integer)
    project = i % projects
    owner = sa.literal("p") + text(project, 7)
    visibility = sa.case(((i < 30) | (i % 199 == 0), "public"), (nth % 5 == 1, "shared"), else_="private")
    created_at = moment((i * STRIDE) % size)
    row = {
        "id": image_id,
        "name": sa.literal("image-") + text(i % 977, 3),
        "status": sa.literal("active"),
        "visibility": visibility,
        "owner": owner,
        "protected": sa.false(),
        "os_hidden": sa.false(),
        "container_format": sa.literal("bare"),
        "disk_format": sa.literal("qcow2"),
        "min_ram": sa.literal(0),
        "min_disk": sa.literal(0),
        "size": (i * 104_729) % 1_000_003,
        "created_at": created_at,
        "updated_at": created_at,
        "deleted": sa.false(),
        "fence": sa.literal(0),
    }
    yield images, list(row), sa.select(*row.values())
    properties = {
        "arch": sa.case((nth % 2 == 0, "x86_64"), else_="aarch64"),
        "build": text(i, 1) if kind == "sqlite" else sa.cast(i, sa.CHAR(12) if kind != "postgresql" else sa.String),
        "os_distro": sa.case((nth % 4 == 0, "debian"), (nth % 4 == 1, "ubuntu"), else_="fedora"),
    }
    for name, value in properties.items():
        yield image_properties, ["image_id", "name", "value"], sa.select(image_id, sa.literal(name), value)
    yield image_tags, ["image_id", "value"], sa.select(image_id, sa.literal("all"))
    yield image_tags, ["image_id", "value"], sa.select(image_id, sa.literal("t") + text(nth % 4, 1))
    member = {
        "image_id": image_id,
        "member_id": sa.literal("p") + text((project + 1) % projects, 7),
        "status": sa.literal("accepted"),
        "created_at": created_at,
        "updated_at": created_at,
        "deleted": sa.false(),
    }
    yield image_members, list(member), sa.select(*member.values()).where(visibility == "shared")


def _refresh_statistics(engine: sa.Engine) -> None:
    # SQLite has none unless somebody asks for them, and the service does not.
    tables = ", ".join(table.name for table in (images, image_properties, image_tags, image_members))
    statement = {"postgresql": "VACUUM ANALYZE", "sqlite": None}.get(engine.dialect.name, "ANALYZE TABLE")
    if statement is not None:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(f"{statement} {tables}")


class Lister:
    """
    Times one list in one database.

    :param url: Of a database that is filled.
    """

    def __init__(self, url: sa.URL, query: ImageQuery) -> None:
        self._connection = dialects.make_engine(url, begun_by_hand=True).connect()
        self._query = query
        if query.marker is not None:
            self._query = evolve(query, marker=self._list(evolve(query, marker=None))[-1].id)
        self.found = len(self._list(self._query))
        self._taken: list[float] = []

    def once(self) -> float:
        """
        Time it once more.

        :return: How many seconds it took this time.
        """
        began = time.perf_counter()
        self._list(self._query)
        self._taken.append(time.perf_counter() - began)
        return self._taken[-1]

    @property
    def milliseconds(self) -> float:
        """
        The median of all times.
        """
        return statistics.median(self._taken) * 1000

    def plan(self) -> Iterator[str]:
        """
        Explain how the database reads the page.
        """
        reading, values = page_reading(self._connection, self._query)
        if reading is not None:
            for row in self._connection.execute(_Explained(reading.statement), values):
                yield str(row[-1]) if len(row) in {1, 4} else " | ".join(str(column) for column in row)

    def close(self) -> None:
        """
        Leave the database.
        """
        self._connection.close()

    def _list(self, query: ImageQuery) -> Sequence[Image]:
        return list_images(self._connection, query)


class _Explained(sa.Executable, sa.ClauseElement):
    """
    A statement that is not carried out but explained.
    """

    inherit_cache = False

    def __init__(self, statement: sa.Select[Any]) -> None:
        self.statement = statement


@compiles(_Explained)
def _explain(explained: _Explained, compiler: Any, **options: Any) -> str:
    words = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN (ANALYZE, TIMING OFF)"}
    return f"{words.get(compiler.dialect.name, 'EXPLAIN')} {compiler.process(explained.statement, **options)}"


def report(server: Server, sizes: Sequence[int], rounds: int, wanted: str, *, plans: bool) -> bool:
    """
    Measure lists on one server and print what came out.

    :param wanted: Part of the names of the lists.
    :return: Whether the goal was reached.
    """
    counts = " and ".join(map(str, sizes))
    print(f"\n{server.url.get_backend_name()}: milliseconds for a list of 25, at {counts} images")
    reached = True
    for name, query in (QUERIES | SLOW).items():
        if wanted not in name:
            continue
        listers = [Lister(server.database(size), query) for size in sizes]
        deadline = time.monotonic() + LONGEST_SECONDS
        for _ in range(rounds):
            # In turn, so that whatever else the machine does slows down all of them.
            for lister in listers:
                lister.once()
            if time.monotonic() > deadline:
                break
        ratio = listers[-1].milliseconds / listers[0].milliseconds
        verdict = "" if name in SLOW else "ok" if ratio <= GOAL else "TOO SLOW"
        reached = reached and verdict != "TOO SLOW"
        figures = "  ".join(f"{lister.milliseconds:9.2f} ({lister.found:2})" for lister in listers)
        print(f"  {name:34} {figures}  x{ratio:7.2f}  {verdict}", flush=True)
        for line in listers[-1].plan() if plans else ():
            print(f"      {line}")
        for lister in listers:
            lister.close()
    return reached


def main() -> int:
    """
    Measure what the command line asks for.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", action="append", help="of a server's administrative database; SQLite by default")
    parser.add_argument("--sizes", type=int, nargs="+", default=DEFAULT_SIZES)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--only", default="", help="part of the names of the lists to measure")
    parser.add_argument("--plans", action="store_true", help="print how the greatest database reads each list")
    parser.add_argument("--keep", action="store_true", help="leave the databases for the next run")
    options = parser.parse_args()
    reached = True
    with tempfile.TemporaryDirectory() as folder:
        for text in options.url or [f"sqlite:///{folder}"]:
            server = Server(read_url(text))
            try:
                for size in options.sizes:
                    began = time.monotonic()
                    server.make(size)
                    fill(server.database(size), size)
                    print(f"{size} images are there after {time.monotonic() - began:.0f} s", flush=True)
                done = report(server, options.sizes, options.rounds, options.only, plans=options.plans)
                reached = reached and done
            finally:
                if not options.keep:
                    for size in options.sizes:
                        server.remove(size)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
