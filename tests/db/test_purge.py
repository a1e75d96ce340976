"""
Rows that were deleted long ago are removed, and no others.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from twisted.trial.unittest import SynchronousTestCase

from glance_tx.db.purge import purge_members
from glance_tx.db.tables import image_members, images
from glance_tx.domain.errors import CatalogUnavailable
from tests.db.databases import ByHand, OnMysql, OnPostgresql, OnSqlite

NOW = datetime(2026, 5, 1, tzinfo=UTC)
LONG_AGO, LATELY = NOW - timedelta(days=40), NOW - timedelta(days=20)
LINE = NOW - timedelta(days=30)


class PurgeContract:
    """
    What holds on every kind of database.
    """

    make_migrated_url: Any

    def setUp(self) -> None:
        self.url = self.make_migrated_url()
        self.by_hand = ByHand(self, self.url)

    def fill(self, count: int = 1) -> None:
        with self.by_hand.connect() as connection:
            for image, deleted_at in (("living", None), ("gone", LONG_AGO)):
                connection.execute(
                    sa.insert(images).values(
                        id=image,
                        status="deleted" if deleted_at else "active",
                        visibility="shared",
                        protected=False,
                        os_hidden=False,
                        min_ram=0,
                        min_disk=0,
                        created_at=LONG_AGO,
                        updated_at=LONG_AGO,
                        deleted=deleted_at is not None,
                        deleted_at=deleted_at,
                        fence=0,
                    )
                )
                if deleted_at is not None:
                    continue  # its members went with it
                for member, removed_at in (("stays", None), ("left", LONG_AGO), ("leaves", LATELY)):
                    for number in range(count):
                        connection.execute(
                            sa.insert(image_members).values(
                                image_id=image,
                                member_id=f"{member}{number}",
                                status="accepted",
                                created_at=LONG_AGO,
                                updated_at=LONG_AGO,
                                deleted=removed_at is not None,
                                deleted_at=removed_at,
                            )
                        )
            connection.commit()

    def left(self) -> list[tuple[str, str]]:
        columns = image_members.c.image_id, image_members.c.member_id
        with self.by_hand.connect() as connection:
            return sorted((image, member) for image, member in connection.execute(sa.select(*columns)))

    def test_what_goes(self) -> None:
        """
        Members that were taken off before the time go. Images stay, the deleted ones too.
        """
        self.fill()
        self.assertEqual(purge_members(self.url, before=LINE), 1)
        self.assertEqual(self.left(), [("living", "leaves0"), ("living", "stays0")])
        self.assertEqual(self.by_hand.run("SELECT count(*) FROM images"), [(2,)])
        self.assertEqual(purge_members(self.url, before=LINE), 0)

    def test_a_bound(self) -> None:
        """
        No more rows go than were asked for; the next call goes on.
        """
        self.fill(5)
        self.assertEqual(purge_members(self.url, before=LINE, max_rows=3), 3)
        self.assertEqual(len(self.left()), 12)
        self.assertEqual(purge_members(self.url, before=LINE, max_rows=0), 0)
        self.assertEqual(purge_members(self.url, before=LINE, max_rows=100), 2)

    def test_many(self) -> None:
        """
        More rows than one transaction takes go in one call.
        """
        self.fill(501)
        self.assertEqual(purge_members(self.url, before=LINE), 501)


class SqlitePurgeTests(OnSqlite, PurgeContract, SynchronousTestCase):
    """
    On SQLite.
    """

    def test_no_tables(self) -> None:
        """
        A database without tables is told.
        """
        with self.assertRaises(CatalogUnavailable) as caught:
            purge_members(self.make_url(), before=LINE)
        self.assertIn("no such table", str(caught.exception))


class PostgresqlPurgeTests(OnPostgresql, PurgeContract, SynchronousTestCase):
    """
    On PostgreSQL.
    """


class MysqlPurgeTests(OnMysql, PurgeContract, SynchronousTestCase):
    """
    On MariaDB or MySQL.
    """
