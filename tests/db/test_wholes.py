"""
Images read whole by one statement are those that are read part by part.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from glance_tx.db import listing, partwise, wholes
from glance_tx.db.engine import Database
from glance_tx.db.images import SqlImages
from glance_tx.db.members import SqlMembers
from glance_tx.db.shapes import PROJECT_ID
from glance_tx.db.tables import images
from glance_tx.domain.filters import OneOf
from glance_tx.domain.images import Image, Location, Visibility
from glance_tx.domain.interfaces import IImageRepository, ImageQuery, IMemberRepository
from tests.contracts.image_case import ADMIN, ImageCase
from tests.db.databases import OnMysql, OnPostgresql, OnSqlite, SteppedReactor

ODD = ('{"a": [1]}', "[1]", "null", '"', "\\u0041 \\", "\x01\t\n\x7f", "\u2028 é \U0001f600", " ", "", "0" * 9000)
"""Texts that a way through JSON might take for something else."""


class WholesContract(ImageCase):
    """
    What holds on every engine.
    """

    make_migrated_url: Any

    async def make_images(self) -> IImageRepository:
        self.database = Database(SteppedReactor(), self.make_migrated_url(), size=2)
        await self.database.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.database.stop()))  # type: ignore[attr-defined]
        return SqlImages(self.database, self.now)

    def make_members(self) -> IMemberRepository:
        return SqlMembers(self.database, self.now)

    async def add_odd(self) -> list[Image]:
        names = [text for text in ODD if text and len(text) < 256]
        plain = await self.add(name="plain")
        full = await self.add(
            name=ODD[6],
            properties={**{name: ODD[-1 - at] for at, name in enumerate(names)}, "none": None},
            tags=frozenset(names),
            locations=tuple(Location(f"s{n}", text or "u", {"é": {text: [n, None]}}) for n, text in enumerate(ODD)),
        )
        shared = await self.add(owner="p2", tags=frozenset({"t"}))
        await self.share(shared, "p1")
        private = await self.add(owner="p2", visibility=Visibility.PRIVATE)
        return [plain, full, shared, private]

    async def test_texts_come_back_as_they_are(self: Any) -> None:
        """
        Names, values, tags and locations come back as they were written, whatever is in them, in their order.
        """
        for image in await self.add_odd():
            self.assertEqual(await self.images.get(image.id), image)

    async def test_one_statement_reads_what_many_read(self: Any) -> None:
        """
        The one statement, and the one for each kind of part, read the same, memberships included.
        """
        ids = [image.id for image in await self.add_odd()]

        def both(connection: sa.Connection, project_id: str | None) -> list[tuple[Image, Image]]:
            values = {PROJECT_ID: project_id}
            pairs = []
            for image_id in ids:
                (parts,) = partwise.read(
                    connection, sa.select(images).where(images.c.id == image_id), values, project_id
                )
                pairs.append((wholes.find(connection, image_id, project_id), parts))
            return pairs

        for project_id in ("p1", "p2", None):
            for whole, parts in await self.database.look(both, project_id):
                self.assertEqual(whole, parts)
        shared = (await self.database.look(both, "p1"))[2]
        self.assertEqual([image.member_id for image in shared], ["p1", "p1"])

    async def test_statements_are_kept_for_the_next_of_their_shape(self: Any) -> None:
        """
        Lists of one shape share a statement, whatever they ask for; that of a very long list of values is not kept.
        """
        kept = listing._reading
        for limit in (1, 2, 3):
            await self.images.list(ImageQuery(ADMIN, limit=limit))
        before = kept.cache_info()
        await self.images.list(ImageQuery(ADMIN, limit=4))
        self.assertEqual(kept.cache_info().misses, before.misses)
        image = await self.add(name="n7")
        many = OneOf("name", frozenset(f"n{number}" for number in range(500)))
        listed = await self.images.list(ImageQuery(ADMIN, filters=[many]))
        self.assertEqual([one.id for one in listed], [image.id])
        self.assertEqual(kept.cache_info().misses, before.misses)


class SqliteWholesTests(OnSqlite, WholesContract, TestCase):
    """
    On SQLite.
    """

    def test_its_json_is_used(self) -> None:
        """
        The SQLite that tests run with has JSON functions, so that the one statement is what they test.
        """
        self.assertTrue(wholes.in_one_statement(self.database._kept[0].twisted._connection.dialect))


class PostgresqlWholesTests(OnPostgresql, WholesContract, TestCase):
    """
    On PostgreSQL.
    """


class MysqlWholesTests(OnMysql, WholesContract, TestCase):
    """
    On MariaDB or MySQL.
    """
