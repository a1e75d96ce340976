"""
Image data coming in.
"""

from __future__ import annotations

import hashlib

from attrs import evolve
from twisted.internet.defer import Deferred

from glance_tx.domain.errors import (
    Forbidden,
    FormatsNotSet,
    ImageNotFound,
    ImageTooLarge,
    SizeMismatch,
    StatusConflict,
    TooManyUploads,
)
from glance_tx.domain.images import Image, ImageStatus, Location
from glance_tx.domain.interfaces import Lease
from glance_tx.streaming.memory import BytesReader
from tests.domain.case import DATA, TransfersCase
from tests.domain.world import (
    ADMIN,
    EPOCH,
    HERE,
    ID,
    OWNER,
    READER,
    STRANGER,
    HeldReader,
    Trouble,
    World,
)


class UploadTests(TransfersCase):
    """
    `Transfers.upload`, where nothing goes wrong but what clients do.
    """

    async def test_active(self) -> None:
        """
        Data that came whole make the image active, with their size, digests and location.
        """
        created = await self.world.create(k="v")
        self.world.clock.advance(3)
        image = await self.world.transfers().upload(OWNER, created.id, BytesReader(DATA))
        expected = evolve(
            created,
            status=ImageStatus.ACTIVE,
            size=len(DATA),
            virtual_size=len(DATA),
            checksum=hashlib.md5(DATA, usedforsecurity=False).hexdigest(),
            os_hash_algo="sha512",
            os_hash_value=hashlib.sha512(DATA).hexdigest(),
            locations=(Location("main", f"memory://main/{created.id}.1"),),
            updated_at=image.updated_at,
        )
        self.assertEqual(image, expected)
        self.assertGreater(image.updated_at, created.updated_at)
        await self.assert_active(created.id, DATA)

    async def test_empty(self) -> None:
        """
        No data at all are data, too.
        """
        created = await self.world.create()
        image = await self.world.transfers().upload(OWNER, created.id, BytesReader(b""))
        self.assertEqual(image.checksum, hashlib.md5(b"", usedforsecurity=False).hexdigest())
        await self.assert_active(created.id, b"")

    async def test_hashing_algorithm(self) -> None:
        """
        The strong hash is the configured one.
        """
        for algorithm in ("sha256", "md5"):
            created = await self.world.create()
            transfers = self.world.transfers(hashing_algorithm=algorithm)
            image = await transfers.upload(OWNER, created.id, BytesReader(b"data"))
            found = hashlib.new(algorithm, b"data", usedforsecurity=False).hexdigest()
            self.assertEqual((image.os_hash_algo, image.os_hash_value), (algorithm, found))

    async def test_unknown_length(self) -> None:
        """
        Data whose length nobody announced are taken in as they come.
        """
        created = await self.world.create()
        await self.world.transfers().upload(OWNER, created.id, BytesReader(DATA, announced=False))
        await self.assert_active(created.id, DATA)

    async def test_administrator(self) -> None:
        """
        An administrator may bring in another project's data.
        """
        created = await self.world.create()
        await self.world.transfers().upload(ADMIN, created.id, BytesReader(DATA))

    async def test_too_many(self) -> None:
        """
        A process takes in so many uploads at a time and refuses others without reading them; when one has ended there
        is room again.
        """
        created = [await self.world.create() for _ in range(3)]
        transfers = self.world.transfers(max_uploads=2)
        readers = [HeldReader() for _ in range(2)]
        running = [
            Deferred.fromCoroutine(transfers.upload(OWNER, image.id, reader))
            for image, reader in zip(created, readers, strict=False)
        ]
        with self.assertRaises(TooManyUploads):
            await transfers.upload(OWNER, created[2].id, BytesReader(DATA))
        self.assertIs((await self.world.repository.get(created[2].id)).status, ImageStatus.QUEUED)
        readers[0].arrive(b"")
        await running[0]
        await transfers.upload(OWNER, created[2].id, BytesReader(DATA))
        self.assertEqual(transfers.uploads, 1)
        readers[1].arrive(b"")
        await running[1]
        self.assertEqual(transfers.uploads, 0)

    async def test_permission(self) -> None:
        """
        Who may not change an image may not bring in its data, and not see whether it is there.
        """
        hidden = await self.world.create(visibility="private")
        seen = await self.world.create(visibility="community")
        for caller, image_id, error in [
            (READER, hidden.id, Forbidden),
            (STRANGER, hidden.id, ImageNotFound),
            (STRANGER, seen.id, Forbidden),
            (OWNER, ID, ImageNotFound),
        ]:
            with self.assertRaises(error):
                await self.world.transfers().upload(caller, image_id, BytesReader(DATA))

    async def test_status(self) -> None:
        """
        Only a queued image takes data.
        """
        for status in set(ImageStatus) - {ImageStatus.QUEUED, ImageStatus.DELETED}:
            image = Image(id=ID, created_at=EPOCH, updated_at=EPOCH, owner="p1", status=status)
            world = World()
            await world.repository.add(image)
            with self.assertRaises(StatusConflict):
                await world.transfers().upload(OWNER, ID, BytesReader(DATA))

    async def test_formats(self) -> None:
        """
        Both formats must be known first.
        """
        for missing in ("disk_format", "container_format"):
            created = await self.world.create(**{missing: None})
            with self.assertRaises(FormatsNotSet):
                await self.world.transfers().upload(OWNER, created.id, BytesReader(DATA))
            await self.assert_queued(created)

    async def test_refused_unread(self) -> None:
        """
        What is refused is refused before a byte was asked for.
        """
        active = await self.world.create()
        await self.world.upload(DATA, active.id)
        unset = await self.world.create(disk_format=None)
        small = await self.world.create()
        transfers = self.world.transfers(image_size_cap=10)
        for image, declared in [(active, None), (unset, None), (small, 11)]:
            upload = self.start(transfers, HeldReader(), image, declared)
            self.failureResultOf(upload, StatusConflict, FormatsNotSet, ImageTooLarge)

    async def test_too_large(self) -> None:
        """
        More data than an image may have are refused, announced, declared or not.
        """
        transfers = self.world.transfers(image_size_cap=len(DATA) - 1)
        created = await self.world.create()
        for reader, declared in [
            (BytesReader(DATA), None),
            (BytesReader(DATA, announced=False), len(DATA)),
            (BytesReader(DATA, announced=False), None),
        ]:
            with self.assertRaises(ImageTooLarge) as caught:
                await transfers.upload(OWNER, created.id, reader, declared)
            self.assertEqual(caught.exception.limit, len(DATA) - 1)
            await self.assert_queued(created)

    async def test_as_large_as_may_be(self) -> None:
        """
        The limit itself passes.
        """
        created = await self.world.create()
        transfers = self.world.transfers(image_size_cap=len(DATA))
        await transfers.upload(OWNER, created.id, BytesReader(DATA, announced=False))
        await self.assert_active(created.id, DATA)

    async def test_wrong_size(self) -> None:
        """
        Data that are longer or shorter than declared are refused, and nothing is left of them.
        """
        created = await self.world.create()
        for declared, announced, received in [
            (len(DATA) + 1, True, len(DATA)),
            (len(DATA) - 1, True, len(DATA)),
            (len(DATA) + 1, False, len(DATA)),
            (len(DATA) - 1, False, None),
        ]:
            reader = BytesReader(DATA, announced=announced)
            with self.assertRaises(SizeMismatch) as caught:
                await self.world.transfers().upload(OWNER, created.id, reader, declared)
            self.assertEqual((caught.exception.declared, caught.exception.received), (declared, received))
            self.assertIn(str(declared), str(caught.exception))
            await self.assert_queued(created)

    async def test_declared(self) -> None:
        """
        Data as long as declared pass.
        """
        created = await self.world.create()
        reader = BytesReader(DATA, announced=False)
        await self.world.transfers().upload(OWNER, created.id, reader, len(DATA))
        await self.assert_active(created.id, DATA)

    async def test_again(self) -> None:
        """
        After any refusal the upload can be tried again.
        """
        created = await self.world.create()
        with self.assertRaises(SizeMismatch):
            await self.world.transfers().upload(OWNER, created.id, BytesReader(DATA, announced=False), 5)
        await self.world.upload(DATA, created.id)
        await self.assert_active(created.id, DATA)

    async def test_one_at_a_time(self) -> None:
        """
        While an upload runs, a second one to the same image is refused and does it no harm.
        """
        created = await self.world.create()
        reader = HeldReader()
        first = self.start(self.world.transfers(), reader, created)
        self.assertEqual((await self.world.repository.get(created.id)).status, ImageStatus.SAVING)
        with self.assertRaises(StatusConflict):
            await self.world.upload(b"other", created.id)
        reader.arrive(DATA)
        reader.arrive(b"")
        self.successResultOf(first)
        await self.assert_active(created.id, DATA)

    async def test_location_before_data(self) -> None:
        """
        The database knows where the data go before the store does.
        """
        created = await self.world.create()
        trouble = Trouble()
        trouble.hold("before store.open_writer")
        self.start(self.world.transfers(trouble), BytesReader(DATA), created)
        (lease,) = await self.world.repository.leases()
        self.assertEqual(lease, Lease(created.id, 1, HERE, Location("main", f"memory://main/{created.id}.1"), EPOCH))
        self.assertEqual(self.world.store.parts, {})
