"""
Image data going out.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from attrs import evolve
from twisted.logger import LogLevel, capturedLogs

from glance_tx.domain.errors import (
    Forbidden,
    ImageNotFound,
    NoData,
)
from glance_tx.domain.images import Image, ImageStatus, Location
from glance_tx.stores.errors import StoreUnavailable
from glance_tx.streaming.errors import RangeNotSatisfiable
from glance_tx.streaming.ranges import ByteRange, parse_range
from glance_tx.streaming.units import MiB
from tests.contracts.store import collect
from tests.domain.case import DATA, TransfersCase
from tests.domain.world import (
    EPOCH,
    ID,
    OWNER,
    READER,
    STRANGER,
    Trouble,
    World,
)


def whole(_: int) -> None:
    """Ask for all of the data."""


class DownloadTests(TransfersCase):
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

    async def test_deleted_meanwhile(self) -> None:
        """
        An image that is deleted after its record was read is not found, and no damage is reported.
        """
        for step in ("before store.size_bytes", "after store.size_bytes"):
            image = await self.uploaded()
            trouble = Trouble()
            trouble.act(step, partial(self.world.catalog.delete, OWNER, image.id))
            with capturedLogs() as logged, self.assertRaises(ImageNotFound):
                await self.world.transfers(trouble).download(OWNER, image.id, whole)
            self.assertEqual([event for event in logged if event["log_level"] is LogLevel.error], [])

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
