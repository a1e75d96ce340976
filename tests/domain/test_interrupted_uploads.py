"""
Image data coming in, where something goes wrong.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from glance_tx.domain.errors import (
    CatalogUnavailable,
    ImageGone,
    ImageNotFound,
    LeaseLost,
    SizeMismatch,
)
from glance_tx.stores.errors import LocationTaken, StoreFull, StoreUnavailable
from glance_tx.stores.memory import MemorySettings, MemoryStore
from glance_tx.streaming.errors import BodyLost
from glance_tx.streaming.memory import BytesReader
from glance_tx.streaming.units import MiB
from tests.domain.case import DATA, TransfersCase
from tests.domain.world import (
    LEASE_SECONDS,
    OWNER,
    HeldReader,
    Trouble,
    World,
)


class InterruptedUploadTests(TransfersCase):
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

    async def test_retries_are_logged(self) -> None:
        """
        While the database is away the log says which upload waits for it.
        """
        created = await self.world.create()
        trouble = Trouble()
        trouble.fail("before finish_upload", CatalogUnavailable("away"))
        events: list[LogEvent] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        upload = self.start(self.world.transfers(trouble), BytesReader(DATA), created)
        self.world.settle(upload)
        self.successResultOf(upload)
        self.assertIn(f"about the upload to {created.id} (fence 1), trying again in 0.2 s", formatEvent(events[0]))

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
