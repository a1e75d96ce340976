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
from glance_tx.domain.images import ImageStatus, Location
from glance_tx.domain.interfaces import ImageQuery, Viewer
from tests.contracts.images import ImageRepositoryContract
from tests.contracts.listing import ImageFiltersContract
from tests.db.databases import OnMysql, OnPostgresql, OnSqlite


class SqlImagesContract(ImageFiltersContract, ImageRepositoryContract):
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
        The default list, and that of one owner, are read in order along an index, without sorting.
        """
        viewer = Viewer("p1", is_admin=True)
        for query, index in (
            (ImageQuery(viewer, visibility="all"), "ix_images_listing"),
            (ImageQuery(viewer, visibility="all", filters=[equal("owner", "p1")]), "ix_images_owner_listing"),
        ):
            plan = await self.database.transact(_plan, query)
            self.assertIn(index, plan)
            self.assertNotIn("TEMP B-TREE", plan)


class PostgresqlImagesTests(OnPostgresql, SqlImagesContract, TestCase):
    """
    `SqlImages` on PostgreSQL.
    """


class MysqlImagesTests(OnMysql, SqlImagesContract, TestCase):
    """
    `SqlImages` on MariaDB or MySQL.
    """


def _plan(connection: sa.Connection, query: ImageQuery) -> str:
    """
    Explain the statement that reads a page.
    """
    seen: list[tuple[str, Any]] = []

    def listen(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        seen.append((statement, parameters))

    sa.event.listen(connection, "before_cursor_execute", listen)
    list_images(connection, query)
    sa.event.remove(connection, "before_cursor_execute", listen)
    statement, parameters = seen[0]
    return "\n".join(row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters))
