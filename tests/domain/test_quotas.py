"""
How much data a project may keep.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from glance_tx.domain.errors import CatalogUnavailable, ImageTooLarge, StorageQuotaExceeded
from glance_tx.domain.images import Image, ImageStatus
from glance_tx.streaming.memory import BytesReader
from tests.domain.case import TransfersCase
from tests.domain.world import ADMIN, OWNER, STRANGER, HeldReader, Trouble, World

LIMIT = 1000


class StorageQuotaTests(TransfersCase):
    """
    `Transfers.upload`, where projects may keep so much.
    """

    def setUp(self) -> None:
        super().setUp()
        self.transfers = self.world.transfers(storage_quota=LIMIT)

    async def queued(self, **values: object) -> Image:
        return await self.world.create(**values)

    async def upload(self, size: int, *, announced: bool = True, transfers: Any = None) -> Image:
        created = await self.queued()
        reader = BytesReader(bytes(size), announced=announced)
        return await (transfers or self.transfers).upload(OWNER, created.id, reader)

    async def assert_refused(self, size: int, left: int, **how: Any) -> None:
        with self.assertRaises(StorageQuotaExceeded) as caught:
            await self.upload(size, **how)
        self.assertEqual((caught.exception.owner, caught.exception.left, caught.exception.limit), ("p1", left, LIMIT))

    async def test_limit(self) -> None:
        """
        Data fit up to the limit, and not one byte beyond it, announced or not; what was refused leaves nothing.
        """
        for announced in (True, False):
            self.setUp()
            await self.upload(600, announced=announced)
            await self.assert_refused(401, 400, announced=announced)
            self.assertEqual((len(self.world.store.objects), self.world.store.parts), (1, {}))
            self.assertEqual(list(await self.world.repository.leases()), [])
            await self.upload(400, announced=announced)
            await self.assert_refused(1, 0, announced=announced)
            await self.upload(0, announced=announced)

    async def test_off(self) -> None:
        """
        Without a quota nothing is added up.
        """
        trouble = Trouble()
        await self.upload(5000, transfers=self.world.transfers(trouble))
        self.assertNotIn("before storage_used", trouble.passed)

    async def test_again(self) -> None:
        """
        The image whose data were refused takes smaller ones; what is deleted makes room.
        """
        first = await self.upload(900)
        created = await self.queued()
        for announced in (True, False):
            with self.assertRaises(StorageQuotaExceeded):
                await self.transfers.upload(OWNER, created.id, BytesReader(bytes(101), announced=announced))
            self.assertTrue(await self.world.as_before(created))
        await self.world.catalog.delete(OWNER, first.id)
        image = await self.transfers.upload(OWNER, created.id, BytesReader(bytes(1000)))
        self.assertEqual(image.status, ImageStatus.ACTIVE)

    async def test_refused_unread(self) -> None:
        """
        What is declared to be too much is refused before a byte was asked for.
        """
        created = await self.queued()
        upload = self.start(self.transfers, HeldReader(), created, LIMIT + 1)
        self.failureResultOf(upload, StorageQuotaExceeded)
        self.assertTrue(await self.world.as_before(created))

    async def test_stopped_midway(self) -> None:
        """
        Data of unknown length are stopped where they outgrow what is left.
        """
        await self.upload(400)
        reader = HeldReader()
        created = await self.queued()
        upload = self.start(self.transfers, reader, created)
        reader.arrive(bytes(601))
        self.failureResultOf(upload, StorageQuotaExceeded)
        self.assertTrue(await self.world.as_before(created))

    async def test_smaller_cap(self) -> None:
        """
        Where an image may not even have what is left, that is what is told.
        """
        transfers = self.world.transfers(storage_quota=LIMIT, image_size_cap=LIMIT)
        for announced in (True, False):
            with self.assertRaises(ImageTooLarge):
                await self.upload(LIMIT + 1, announced=announced, transfers=transfers)

    async def test_whose(self) -> None:
        """
        What counts is the project that owns the image, whoever brings the data; each has its own.
        """
        created = await self.queued()
        await self.transfers.upload(ADMIN, created.id, BytesReader(bytes(900)))
        await self.assert_refused(101, 100)
        others = await self.world.create(STRANGER)
        await self.transfers.upload(STRANGER, others.id, BytesReader(bytes(LIMIT)))
        nobodys = await self.world.create(ADMIN, owner=None)
        await self.transfers.upload(ADMIN, nobodys.id, BytesReader(bytes(5 * LIMIT)))

    async def test_declared_at_once(self) -> None:
        """
        What an upload under way has declared is taken; when it fails it is there again.
        """
        readers = [HeldReader(), HeldReader()]
        first = self.start(self.transfers, readers[0], await self.queued(), 700)
        await self.assert_refused(301, 300)
        second = self.start(self.transfers, readers[1], await self.queued(), 300)
        await self.assert_refused(1, 0)
        readers[0].lose()
        self.failureResultOf(first)
        await self.upload(700)
        readers[1].arrive(bytes(300))
        readers[1].arrive(b"")
        self.successResultOf(second)
        await self.assert_refused(1, 0)

    async def test_declared_by_others(self) -> None:
        """
        What an upload to another project's image has declared takes nothing from this one.
        """
        theirs = await self.world.create(STRANGER)
        Deferred.fromCoroutine(self.transfers.upload(STRANGER, theirs.id, HeldReader(), LIMIT))
        await self.upload(LIMIT)

    async def test_unknown_at_once(self) -> None:
        """
        Of uploads of unknown length that are too much together, the one that ends last is refused.
        """
        readers = [HeldReader(), HeldReader()]
        created = [await self.queued(), await self.queued()]
        uploads = [self.start(self.transfers, *pair) for pair in zip(readers, created, strict=True)]
        for reader in readers:
            reader.arrive(bytes(600))
        readers[1].arrive(b"")
        self.successResultOf(uploads[1])
        readers[0].arrive(b"")
        self.failureResultOf(uploads[0], StorageQuotaExceeded)
        self.assertTrue(await self.world.as_before(created[0]))
        self.assertEqual(len(self.world.store.objects), 1)

    async def test_two_processes(self) -> None:
        """
        Uploads that two processes let in at once are too much for one of them in the end.
        """
        readers = [HeldReader(), HeldReader()]
        processes = [self.transfers, self.world.transfers(storage_quota=LIMIT)]
        uploads = [
            self.start(process, reader, await self.queued(), 600)
            for process, reader in zip(processes, readers, strict=True)
        ]
        for reader in readers:
            reader.arrive(bytes(600))
            reader.arrive(b"")
        self.successResultOf(uploads[0])
        self.failureResultOf(uploads[1], StorageQuotaExceeded)
        self.assertEqual(len(self.world.store.objects), 1)

    async def test_not_twice(self) -> None:
        """
        An upload that is just ending counts once for the one that comes next.
        """
        trouble = Trouble()
        held = trouble.hold("after finish_upload")
        transfers = self.world.transfers(trouble, storage_quota=LIMIT)
        first = self.start(transfers, BytesReader(bytes(600)), await self.queued())
        self.assertEqual(await self.world.repository.storage_used("p1"), 600)
        await self.upload(400, transfers=transfers)
        held.callback(None)
        self.successResultOf(first)

    async def test_database_away(self) -> None:
        """
        A database that cannot tell what is kept lets nothing in; one that is away at the end is waited for.
        """
        trouble = Trouble()
        trouble.fail("before storage_used", CatalogUnavailable("away"))
        transfers = self.world.transfers(trouble, storage_quota=LIMIT)
        with self.assertRaises(CatalogUnavailable):
            await self.upload(LIMIT, transfers=transfers)
        created = await self.queued()
        reader = HeldReader()
        upload = self.start(transfers, reader, created, LIMIT)
        trouble.fail("before storage_used", CatalogUnavailable("away"))
        reader.arrive(bytes(LIMIT))
        reader.arrive(b"")
        self.assertNoResult(upload)
        self.world.settle(upload)
        self.successResultOf(upload)

    async def test_message(self) -> None:
        """
        A refusal says what is left of what.
        """
        await self.upload(600)
        with self.assertRaises(StorageQuotaExceeded) as caught:
            await self.upload(500)
        self.assertIn("more than the 400 bytes", str(caught.exception))
        self.assertIn("1000", str(caught.exception))


class OtherWorldTests(TransfersCase):
    """
    The quota of a service that has been there before.
    """

    async def test_beyond_the_limit(self) -> None:
        """
        A project that keeps more than it may now keeps it, and gets no more.
        """
        world = World()
        created = await world.create()
        await world.upload(bytes(2 * LIMIT), created.id)
        transfers = world.transfers(storage_quota=LIMIT)
        for announced in (True, False):
            further = await world.create()
            with self.assertRaises(StorageQuotaExceeded) as caught:
                await transfers.upload(OWNER, further.id, BytesReader(b"x", announced=announced))
            self.assertEqual(caught.exception.left, 0)
