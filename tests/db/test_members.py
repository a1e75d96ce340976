"""
`SqlMembers`, on every kind of database, and `MemoryMembers`.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from glance_tx.db.engine import Database
from glance_tx.db.images import SqlImages
from glance_tx.db.members import SqlMembers
from glance_tx.db.memory import MemoryImages
from glance_tx.db.memory_members import MemoryMembers
from glance_tx.db.tables import image_members
from glance_tx.domain.errors import CatalogUnavailable
from glance_tx.domain.members import MemberStatus
from tests.contracts.members import MINUTE, MemberRepositoryContract
from tests.db.databases import OnMysql, OnPostgresql, OnSqlite


class MemoryMembersTests(MemberRepositoryContract, TestCase):
    """
    `MemoryMembers` keeps the contract of member repositories.
    """

    async def make_repositories(self) -> tuple[MemoryImages, MemoryMembers]:
        images = MemoryImages(self.now)
        return images, MemoryMembers(images, self.now)


class SqlMembersContract(MemberRepositoryContract):
    """
    What holds for `SqlMembers` beyond the contract.
    """

    make_migrated_url: Any

    async def make_repositories(self) -> tuple[SqlImages, SqlMembers]:
        self.database = Database(reactor, self.make_migrated_url(), size=4)
        await self.database.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.database.stop()))
        return SqlImages(self.database, self.now), SqlMembers(self.database, self.now)

    async def test_a_member_has_one_row(self) -> None:
        """
        A removed member keeps its row, with the time of its end and what it said last; coming back it takes it over.
        """

        def look(connection: sa.Connection) -> list[Any]:
            columns = image_members.c
            picked = sa.select(columns.member_id, columns.status, columns.deleted, columns.deleted_at)
            return [tuple(row) for row in connection.execute(picked)]

        await self.add("p2")
        await self.members.set_status(self.image.id, "p2", MemberStatus.REJECTED)
        self.time += MINUTE
        await self.members.remove(self.image.id, "p2")
        rows = await self.database.transact(look, readonly=True)
        self.assertEqual(rows, [("p2", "rejected", True, self.time)])
        await self.add("p2")
        rows = await self.database.transact(look, readonly=True)
        self.assertEqual(rows, [("p2", "pending", False, None)])

    async def test_a_database_that_is_stopped_is_unavailable(self) -> None:
        """
        Without a database every method says that the catalog is not available.
        """
        await self.database.stop()
        with self.assertRaises(CatalogUnavailable):
            await self.members.list(self.image.id)


class SqliteMembersTests(OnSqlite, SqlMembersContract, TestCase):
    """
    `SqlMembers` on SQLite.
    """


class PostgresqlMembersTests(OnPostgresql, SqlMembersContract, TestCase):
    """
    `SqlMembers` on PostgreSQL.
    """


class MysqlMembersTests(OnMysql, SqlMembersContract, TestCase):
    """
    `SqlMembers` on MariaDB or MySQL.
    """
