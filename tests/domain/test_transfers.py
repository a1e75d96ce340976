"""
Image data, in and out.
"""

from __future__ import annotations

import hashlib
from typing import Any

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import TestCase

from glance_tx.domain.errors import (
    Forbidden,
    FormatsNotSet,
    ImageGone,
    ImageNotFound,
    ImageTooLarge,
    LeaseLost,
    NoData,
    SizeMismatch,
    StatusConflict,
)
from glance_tx.domain.images import Image, ImageStatus, Location
from glance_tx.domain.interfaces import Lease
from glance_tx.stores.errors import LocationTaken, StoreFull, StoreUnavailable
from glance_tx.stores.memory import MemorySettings, MemoryStore
from glance_tx.streaming.errors import BodyLost, RangeNotSatisfiable
from glance_tx.streaming.memory import BytesReader
from glance_tx.streaming.ranges import ByteRange, parse_range
from glance_tx.streaming.units import MiB
from tests.contracts.store import collect
from tests.domain.world import (
    ADMIN,
    EPOCH,
    HERE,
    ID,
    LEASE_SECONDS,
    OWNER,
    READER,
    STRANGER,
    HeldReader,
    Trouble,
    World,
)

DATA = bytes(range(256)) * 5000  # more than one piece


def whole(_: int) -> None:
    """Ask for all of the data."""


class _TransfersCase(TestCase):
    def setUp(self) -> None:
        self.world = World()

    async def assert_queued(self, image: Image) -> None:
        """The image is as it was before the upload, nothing is in the store, and no lease is left."""
        self.assertTrue(await self.world.as_before(image))
        self.assertEqual((self.world.store.objects, self.world.store.parts), ({}, {}))
        self.assertEqual(list(await self.world.repository.leases()), [])

    async def assert_active(self, image_id: str, data: bytes) -> None:
        """The image has these data and nothing else is in the store."""
        image = await self.world.repository.get(image_id)
        self.assertEqual((image.status, image.size), (ImageStatus.ACTIVE, len(data)))
        self.assertEqual(list(self.world.store.objects), [image.locations[0].url])
        self.assertEqual(self.world.store.parts, {})
        self.assertEqual(await self.world.data(image_id), data)
        self.assertEqual(list(await self.world.repository.leases()), [])

    def start(self, transfers: Any, reader: Any, image: Image, declared: int | None = None) -> Deferred[Image]:
        return Deferred.fromCoroutine(transfers.upload(OWNER, image.id, reader, declared))


class UploadTests(_TransfersCase):
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


class InterruptedUploadTests(_TransfersCase):
    """
    `Transfers.upload`, where something goes wrong.
    """

    async def test_sender_lost(self) -> None:
        """
        A sender that goes away leaves the image queued and nothing in the store.
        """
        created = await self.world.create()
        reader = HeldReader()
        upload = self.start(self.world.transfers(), reader, created)
        reader.arrive(b"x" * MiB)
        self.assertEqual(len(self.world.store.parts), 1)
        reader.lose()
        self.failureResultOf(upload, BodyLost)
        await self.assert_queued(created)

    async def test_cancelled(self) -> None:
        """
        Cancelling the wait, at any number of pieces, stops the upload and clears up.
        """
        for pieces in range(3):
            created = await self.world.create()
            reader = HeldReader()
            upload = self.start(self.world.transfers(), reader, created)
            for _ in range(pieces):
                reader.arrive(b"x" * MiB)
            upload.cancel()
            self.failureResultOf(upload, CancelledError)
            self.assertEqual(reader.cancelled, 1)
            await self.assert_queued(created)

    async def test_cancelled_while_the_store_is_slow(self) -> None:
        """
        A cancelled upload clears up behind the write that is still under way.
        """
        created = await self.world.create()
        trouble = Trouble()
        held = trouble.hold("before store.write")
        transfers = self.world.transfers(trouble)
        upload = self.start(transfers, BytesReader(DATA), created)
        upload.cancel()
        self.failureResultOf(upload, CancelledError)
        await transfers.settled()
        self.assertTrue(held.called)
        await self.assert_queued(created)

    async def test_cancelled_at_each_step(self) -> None:
        """
        An upload that is cancelled at a step which cannot be cut short ends well or leaves nothing.
        """
        steps = {
            "before begin_upload": False,
            "after begin_upload": False,
            "before store.open_writer": False,
            "after store.open_writer": False,
            "before store.commit": True,
            "after store.commit": True,
            "before finish_upload": True,
            "after finish_upload": True,
        }
        for step, succeeds in steps.items():
            self.world = World()
            created = await self.world.create()
            trouble = Trouble()
            held = trouble.hold(step)
            transfers = self.world.transfers(trouble)
            upload = self.start(transfers, BytesReader(DATA), created)
            upload.cancel()
            self.failureResultOf(upload, CancelledError)
            settled = Deferred.fromCoroutine(transfers.settled())
            self.assertNoResult(settled)
            held.callback(None)
            self.successResultOf(settled)
            if succeeds:
                await self.assert_active(created.id, DATA)
            else:
                await self.assert_queued(created)

    async def test_cancelled_during_clean_up(self) -> None:
        """
        Clearing up goes on when the one who waits for it leaves.
        """
        for step in ("before store.abort", "before end_lease", "before store.delete", "before forget_lease"):
            self.world = World()
            created = await self.world.create()
            trouble = Trouble()
            held = trouble.hold(step)
            transfers = self.world.transfers(trouble)
            upload = self.start(transfers, BytesReader(DATA, announced=False), created, 5)
            self.assertNoResult(upload)
            upload.cancel()
            self.failureResultOf(upload, CancelledError)
            held.callback(None)
            await transfers.settled()
            await self.assert_queued(created)

    async def test_store_full(self) -> None:
        """
        A store without room, known at once or found out, is reported, and the image stays queued.
        """
        self.world = World(MemoryStore(MemorySettings("main", capacity_bytes=len(DATA) - 1)))
        created = await self.world.create()
        for announced in (True, False):
            with self.assertRaises(StoreFull):
                await self.world.transfers().upload(OWNER, created.id, BytesReader(DATA, announced=announced))
            await self.assert_queued(created)

    async def test_store_fails_at_each_step(self) -> None:
        """
        Whatever the store refuses to do, its error passes through and the image stays queued.
        """
        for step in ("open_writer", "write", "commit"):
            for moment in ("before", "after"):
                self.world = World()
                created = await self.world.create()
                trouble = Trouble()
                trouble.fail(f"{moment} store.{step}", StoreUnavailable("main", "away"))
                with self.assertRaises(StoreUnavailable):
                    await self.world.transfers(trouble).upload(OWNER, created.id, BytesReader(DATA))
                await self.assert_queued(created)

    async def test_location_taken(self) -> None:
        """
        What lies at a location already is not removed, and the next try goes elsewhere.
        """
        created = await self.world.create()
        taken = self.world.store.plan_location(created.id, 1)
        self.world.store.objects[taken] = b"old"
        with self.assertRaises(LocationTaken):
            await self.world.upload(DATA, created.id)
        self.assertEqual(self.world.store.objects, {taken: b"old"})
        self.assertEqual(list(await self.world.repository.leases()), [])
        await self.world.upload(DATA, created.id)
        self.assertEqual(await self.world.data(created.id), DATA)

    async def test_store_cannot_clear_up(self) -> None:
        """
        Data that cannot be removed now stay on record until recovery removes them.
        """
        created = await self.world.create()
        trouble = Trouble()
        trouble.fail("before store.abort", StoreUnavailable("main", "away"))
        trouble.fail("before store.delete", StoreUnavailable("main", "away"))
        with self.assertRaises(SizeMismatch):
            await self.world.transfers(trouble).upload(OWNER, created.id, BytesReader(DATA, announced=False), 5)
        self.assertEqual(len(self.world.store.parts), 1)
        self.assertTrue(await self.world.as_before(created))
        await self.world.recovery().sweep()
        await self.assert_queued(created)

    async def test_deleted_meanwhile(self) -> None:
        """
        An image deleted during its upload stops it by the next heartbeat, and nothing of it is left.
        """
        created = await self.world.create()
        upload = self.start(self.world.transfers(), HeldReader(), created)
        await self.world.catalog.delete(OWNER, created.id)
        self.assertNoResult(upload)
        self.world.clock.advance(LEASE_SECONDS / 5)
        self.failureResultOf(upload, ImageGone)
        self.assertEqual((self.world.store.objects, self.world.store.parts), ({}, {}))
        self.assertEqual(list(await self.world.repository.leases()), [])

    async def test_deleted_at_each_step(self) -> None:
        """
        An image deleted at any step of its upload stays deleted, and nothing of it is left.
        """
        for step in ("before store.open_writer", "before store.write", "before store.commit", "before finish_upload"):
            self.world = World()
            created = await self.world.create()
            image_id = created.id
            trouble = Trouble()
            trouble.act(step, lambda world=self.world, image_id=image_id: world.catalog.delete(OWNER, image_id))
            with self.assertRaises(ImageGone):
                await self.world.transfers(trouble).upload(OWNER, created.id, BytesReader(DATA))
            self.assertEqual((self.world.store.objects, self.world.store.parts), ({}, {}))
            self.assertEqual(list(await self.world.repository.leases()), [])

    async def test_deleted_before_the_lease(self) -> None:
        """
        An image deleted between the checks and the lease is not found.
        """
        created = await self.world.create()
        trouble = Trouble()
        trouble.act("before begin_upload", lambda: self.world.catalog.delete(OWNER, created.id))
        with self.assertRaises(ImageNotFound):
            await self.world.transfers(trouble).upload(OWNER, created.id, BytesReader(DATA))

    async def test_heartbeat(self) -> None:
        """
        An upload that takes long keeps its lease.
        """
        created = await self.world.create()
        reader = HeldReader()
        upload = self.start(self.world.transfers(), reader, created)
        for _ in range(30):
            self.world.clock.advance(10)
            await self.world.recovery().sweep()
        reader.arrive(b"data")
        reader.arrive(b"")
        self.successResultOf(upload)
        await self.assert_active(created.id, b"data")
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    async def test_lease_taken(self) -> None:
        """
        An upload whose lease somebody ended stops by the next heartbeat.
        """
        created = await self.world.create()
        upload = self.start(self.world.transfers(), HeldReader(), created)
        (lease,) = await self.world.repository.leases()
        await self.world.repository.end_lease(lease, self.world.now())
        self.world.clock.advance(LEASE_SECONDS / 5)
        self.failureResultOf(upload, LeaseLost)
        await self.assert_queued(created)

    async def test_stopped(self) -> None:
        """
        Uploads that are stopped by the service clear up before it ends.
        """
        created = await self.world.create()
        transfers = self.world.transfers()
        upload = self.start(transfers, HeldReader(), created)
        await transfers.stop()
        self.failureResultOf(upload, CancelledError)
        await self.assert_queued(created)
        self.assertEqual(self.world.clock.getDelayedCalls(), [])


class DownloadTests(_TransfersCase):
    """
    `Transfers.download` and `Transfers.facts`.
    """

    async def uploaded(self, **values: object) -> Image:
        created = await self.world.create(**values)
        return await self.world.upload(DATA, created.id)

    async def refused(self, caller: Any, image_id: str, error: type[Exception]) -> None:
        """Both ways of asking are refused alike."""
        with self.assertRaises(error):
            await self.world.transfers().download(caller, image_id, whole)
        with self.assertRaises(error):
            await self.world.transfers().facts(caller, image_id)

    async def test_whole(self) -> None:
        """
        All of the data come, with the image they are of.
        """
        image = await self.uploaded()
        download = await self.world.transfers().download(OWNER, image.id, whole)
        self.assertEqual((download.image, download.range, download.body.length), (image, None, len(DATA)))
        self.assertEqual(await collect(download.body), DATA)
        self.assertEqual(await self.world.transfers().facts(OWNER, image.id), image)

    async def test_range(self) -> None:
        """
        The part that is chosen comes, of the size that was told.
        """
        image = await self.uploaded()
        for header in ("bytes=5-9", "bytes=-7", f"bytes={MiB}-"):
            download = await self.world.transfers().download(
                OWNER, image.id, lambda size, header=header: parse_range(header, size)
            )
            part = download.range
            self.assertIsInstance(part, ByteRange)
            self.assertEqual(await collect(download.body), DATA[part.offset : part.end])

    async def test_bad_range(self) -> None:
        """
        A range that cannot be served is refused as the one who chose it says.
        """
        image = await self.uploaded()
        with self.assertRaises(RangeNotSatisfiable):
            await self.world.transfers().download(
                OWNER, image.id, lambda size: parse_range(f"bytes={len(DATA)}-", size)
            )

    async def test_empty(self) -> None:
        """
        An image of no bytes is not an image without data.
        """
        created = await self.world.create()
        await self.world.upload(b"", created.id)
        self.assertEqual(await self.world.data(created.id), b"")
        self.assertEqual((await self.world.transfers().facts(OWNER, created.id)).size, 0)

    async def test_permission(self) -> None:
        """
        Readers see an image and may not read its data; strangers see nothing.
        """
        shared = await self.uploaded()
        await self.refused(READER, shared.id, Forbidden)
        await self.refused(STRANGER, shared.id, ImageNotFound)
        await self.refused(OWNER, ID, ImageNotFound)
        public = await self.uploaded(visibility="community")
        await self.world.transfers().download(STRANGER, public.id, whole)
        await self.refused(READER, public.id, Forbidden)

    async def test_no_data_yet(self) -> None:
        """
        An image whose data have not come has none, whatever part is asked for.
        """
        for status in set(ImageStatus) - {ImageStatus.ACTIVE, ImageStatus.DEACTIVATED, ImageStatus.DELETED}:
            self.world = World()
            await self.world.repository.add(Image(id=ID, created_at=EPOCH, updated_at=EPOCH, owner="p1", status=status))
            await self.refused(OWNER, ID, NoData)
            with self.assertRaises(NoData):
                await self.world.transfers().download(OWNER, ID, lambda size: parse_range("bytes=0-", size))

    async def test_data_on_their_way_out(self) -> None:
        """
        Data that are about to be removed are not served, even while they are still there.
        """
        image = await self.uploaded()
        await self.world.repository.add(evolve(image, id=ID, status=ImageStatus.PENDING_DELETE))
        await self.refused(OWNER, ID, NoData)

    async def test_deactivated(self) -> None:
        """
        The data of a deactivated image are for administrators.
        """
        image = await self.uploaded()
        deactivated = evolve(image, id=ID, status=ImageStatus.DEACTIVATED)
        await self.world.repository.add(deactivated)
        await self.refused(OWNER, ID, Forbidden)
        self.assertEqual(await self.world.data(ID), DATA)

    async def test_missing(self) -> None:
        """
        Data that are missing in every location are none.
        """
        image = await self.uploaded()
        self.world.store.objects.clear()
        await self.refused(OWNER, image.id, NoData)

    async def test_damaged(self) -> None:
        """
        Bytes that cannot be the image's, by their number, are never served.
        """
        image = await self.uploaded()
        for damaged in (DATA[:-1], DATA + b"x", b""):
            self.world.store.objects[image.locations[0].url] = damaged
            await self.refused(OWNER, image.id, NoData)

    async def test_next_location(self) -> None:
        """
        Where one location fails the next one serves.
        """
        image = await self.uploaded()
        for bad in (Location("main", "memory://main/gone"), Location("elsewhere", "x"), Location("main", "file:///x")):
            copy = evolve(image, id=ID, locations=(bad, *image.locations))
            self.world.repository = type(self.world.repository)(self.world.now)
            await self.world.repository.add(copy)
            self.assertEqual(await self.world.data(ID), DATA)

    async def test_out_of_reach(self) -> None:
        """
        Data that may be there and cannot be reached are not taken for missing.
        """
        image = await self.uploaded()
        trouble = Trouble()
        trouble.fail("before store.size_bytes", StoreUnavailable("main", "away"), lasting=True)
        transfers = self.world.transfers(trouble)
        with self.assertRaises(StoreUnavailable):
            await transfers.download(OWNER, image.id, whole)
        with self.assertRaises(StoreUnavailable):
            await transfers.facts(OWNER, image.id)

    async def test_gone_between(self) -> None:
        """
        Data that vanish between the look and the opening are missing.
        """
        image = await self.uploaded()

        async def vanish() -> None:
            self.world.store.objects.clear()

        trouble = Trouble()
        trouble.act("after store.size_bytes", vanish)
        with self.assertRaises(NoData):
            await self.world.transfers(trouble).download(OWNER, image.id, whole)
