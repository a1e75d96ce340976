"""
`SqlImages`, on every kind of database.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from glance_tx.db.engine import Database
from glance_tx.db.images import SqlImages
from glance_tx.db.listing import list_images
from glance_tx.db.members import SqlMembers
from glance_tx.db.tables import image_locations, image_members, image_properties, image_tags, images
from glance_tx.domain.errors import CatalogUnavailable
from glance_tx.domain.filters import equal
from glance_tx.domain.images import ImageStatus, Location, Visibility
from glance_tx.domain.interfaces import ImageQuery, Viewer
from tests.contracts.images import ImageRepositoryContract
from tests.db.databases import OnMysql, OnPostgresql, OnSqlite


class SqlImagesContract(ImageRepositoryContract):
    """
    What holds for `SqlImages` beyond the contract.
    """

    make_migrated_url: Any

    async def make_images(self) -> SqlImages:
        self.database = Database(reactor, self.make_migrated_url(), size=4)
        await self.database.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.database.stop()))
        return SqlImages(self.database, self.now)

    def make_members(self) -> SqlMembers:
        return SqlMembers(self.database, self.now)

    async def test_a_tombstone_keeps_nothing_but_the_row(self) -> None:
        """
        Of a deleted image one row stays, with its end and last fence; properties, tags, locations and members go.
        """
        image = await self.add(properties={"a": "b"}, tags=frozenset({"t"}), locations=(Location("s", "file:///1"),))
        await self.share(image, "p2")
        leases = await self.images.delete(image.id, from_status=ImageStatus.QUEUED)

        def look(connection: sa.Connection) -> list[Any]:
            counts = [
                connection.scalar(sa.select(sa.func.count()).select_from(table))
                for table in (image_properties, image_tags, image_locations, image_members)
            ]
            row = connection.execute(sa.select(images)).one()
            return [*counts, row.id, row.status, row.deleted, row.deleted_at, row.fence]

        expected = [0, 0, 0, 0, image.id, "deleted", True, self.now(), leases[-1].fence]
        self.assertEqual(await self.database.transact(look, readonly=True), expected)

    async def test_rows_that_are_right_are_left_alone(self) -> None:
        """
        Saving what is there already writes no property and no tag.
        """
        image = await self.add(properties={"a": "1", "b": None}, tags=frozenset({"t"}))
        written: list[str] = []

        def listen(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            if not statement.startswith(("SELECT", "UPDATE images", "PRAGMA", "BEGIN", "SET")):
                written.append(statement)

        engine = self.database._kept[0].twisted._connection.engine
        sa.event.listen(engine, "before_cursor_execute", listen)
        await self.images.save(evolve(image, name="new"), was=image)
        self.assertEqual(written, [])

    async def test_a_database_that_is_stopped_is_unavailable(self) -> None:
        """
        Without a database every method says that the catalog is not available.
        """
        image = await self.add()
        await self.database.stop()
        with self.assertRaises(CatalogUnavailable):
            await self.images.get(image.id)


class SqliteImagesTests(OnSqlite, SqlImagesContract, TestCase):
    """
    `SqlImages` on SQLite.
    """

    async def test_a_page_is_read_along_an_index(self) -> None:
        """
        Every part of a list is read in order along an index, whose beginning is known, or found by its ids.
        """
        admin, member, marker = Viewer("p1", is_admin=True), Viewer("p1", is_admin=False), (await self.add()).id
        everybodys, own, public = "ix_images_listing (", "ix_images_owner_listing (", "ix_images_visibility_listing ("
        shared = "sqlite_autoindex_images_1 (id=?)"
        name, by_name = (("name", "asc"),), "ix_images_visibility_listing_by_name ("
        for query, expected in (
            (ImageQuery(admin, visibility="all"), [everybodys]),
            (ImageQuery(admin, visibility="all", filters=[equal("owner", "p1")]), [own]),
            (ImageQuery(admin), [own, everybodys]),
            (ImageQuery(member), [own, public, shared]),
            (ImageQuery(member, visibility=Visibility.PRIVATE), [own]),
            (ImageQuery(member, visibility=Visibility.SHARED), [own, shared]),
            (
                ImageQuery(member, visibility=Visibility.PUBLIC, sort=name),
                [by_name, by_name],
            ),
        ):
            plan = await self.database.transact(_plan, query)
            read = [line.partition(" USING INDEX ")[2] for line in plan if line.startswith("SEARCH images ")]
            self.assertEqual(len(read), len(expected), plan)
            for line, index in zip(read, expected, strict=True):
                self.assertTrue(line.startswith(index), plan)
            # Sorted are the page, and before it what several parts have to offer, of which each is in order.
            most = 1 if len(expected) == 1 else 2
            self.assertLessEqual(plan.count("USE TEMP B-TREE FOR ORDER BY"), most, (query, plan))
            plan = await self.database.transact(_plan, evolve(query, marker=marker))
            for line in plan:
                if line.startswith("SEARCH images ") and shared not in line:
                    self.assertRegex(line, r"created_at<\?|name=\?|name>")


class PostgresqlImagesTests(OnPostgresql, SqlImagesContract, TestCase):
    """
    `SqlImages` on PostgreSQL.
    """


class MysqlImagesTests(OnMysql, SqlImagesContract, TestCase):
    """
    `SqlImages` on MariaDB or MySQL.
    """


def _plan(connection: sa.Connection, query: ImageQuery) -> list[str]:
    """
    Explain the statement that reads a page.
    """
    seen: list[str] = []
    driver: Any = connection.connection.driver_connection
    driver.set_trace_callback(seen.append)
    list_images(connection, query)
    driver.set_trace_callback(None)
    statement = next(each for each in seen if " LIMIT " in each)
    return [row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}")]
