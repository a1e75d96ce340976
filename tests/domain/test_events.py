"""
What is told of images.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred

from glance_tx.domain.activation import Activation
from glance_tx.domain.changes import Replace
from glance_tx.domain.errors import Forbidden, ImageNotFound, SizeMismatch, StatusConflict
from glance_tx.domain.tags import Tags
from glance_tx.domain.values import ImageRules, Values
from glance_tx.streaming.memory import BytesReader
from tests.domain.case import DATA, TransfersCase
from tests.domain.world import ADMIN, OWNER, STRANGER, HeldReader


class EventTests(TransfersCase):
    """
    Events, and the order they come in.
    """

    def fails(self, work: object, error: type[Exception]) -> Deferred[Exception]:
        return self.assertFailure(Deferred.fromCoroutine(work), error)

    async def test_life(self) -> None:
        """
        Everything that is done to an image is told, once, with who did it.
        """
        image = await self.world.create(name="n", k="v", tags=["t"])
        await self.world.transfers().upload(OWNER, image.id, BytesReader(DATA))
        await self.world.catalog.change(OWNER, image.id, [Replace(("name",), "m")])
        await self.world.catalog.delete(OWNER, image.id)
        self.assertEqual(
            self.world.told.types,
            ["image.create", "image.prepare", "image.upload", "image.activate", "image.update", "image.delete"],
        )
        created, prepared, uploaded, activated, updated, deleted = (dict(e.payload) for e in self.world.told.events)
        self.assertEqual(
            created,
            {
                "id": image.id,
                "name": "n",
                "status": "queued",
                "created_at": "2024-05-06T07:08:09Z",
                "updated_at": "2024-05-06T07:08:09Z",
                "min_disk": 0,
                "min_ram": 0,
                "protected": False,
                "checksum": None,
                "owner": image.owner,
                "disk_format": image.disk_format,
                "container_format": image.container_format,
                "size": None,
                "virtual_size": None,
                "is_public": False,
                "visibility": "shared",
                "properties": {"k": "v"},
                "tags": ["t"],
                "deleted": False,
                "deleted_at": None,
            },
        )
        self.assertEqual((prepared["status"], prepared["size"]), ("saving", len(DATA)))
        self.assertEqual((uploaded["status"], uploaded["size"]), ("active", len(DATA)))
        self.assertEqual(activated, uploaded)
        self.assertEqual(updated["name"], "m")
        self.assertEqual((deleted["status"], deleted["deleted"]), ("deleted", True))
        self.assertEqual(deleted["deleted_at"], "2024-05-06T07:08:09Z")
        self.assertEqual(
            {(e.user_id, e.project_id) for e in self.world.told.events}, {(OWNER.user_id, OWNER.project_id)}
        )
        self.assertEqual({e.priority for e in self.world.told.events}, {"INFO"})

    async def test_tags_and_status(self) -> None:
        """
        A tag that comes or goes, and data kept back or given out again, are updates that show it.
        """
        image = await self.world.create()
        await self.world.upload(DATA, image.id)
        del self.world.told.events[:]
        tags = Tags(self.world.repository, self.world.access, Values(ImageRules()), self.world.events)
        activation = Activation(self.world.repository, self.world.access, self.world.events)
        await tags.add(OWNER, image.id, "a")
        await tags.add(OWNER, image.id, "a")
        await tags.remove(OWNER, image.id, "a")
        await activation.deactivate(ADMIN, image.id)
        await activation.deactivate(ADMIN, image.id)
        await activation.reactivate(ADMIN, image.id)
        self.assertEqual(
            [(e.event_type, e.payload["tags"], e.payload["status"]) for e in self.world.told.events],
            [
                ("image.update", ["a"], "active"),
                ("image.update", [], "active"),
                ("image.update", [], "deactivated"),
                ("image.update", [], "active"),
            ],
        )

    async def test_nothing_done(self) -> None:
        """
        What was refused, or changed nothing, is not told.
        """
        image = await self.world.create(protected=True)
        del self.world.told.events[:]
        await self.fails(self.world.catalog.delete(OWNER, image.id), Forbidden)
        await self.fails(self.world.catalog.change(STRANGER, image.id, []), ImageNotFound)
        await self.world.catalog.change(OWNER, image.id, [])
        await self.world.catalog.change(OWNER, image.id, [Replace(("protected",), value=True)])
        await self.fails(self.world.transfers().upload(STRANGER, image.id, BytesReader(DATA)), ImageNotFound)
        self.assertEqual(self.world.told.types, [])

    async def test_failed_upload(self) -> None:
        """
        An upload that came to nothing is told in words, as an error.
        """
        image = await self.world.create()
        work = self.world.transfers().upload(OWNER, image.id, BytesReader(DATA), len(DATA) + 1)
        await self.fails(work, SizeMismatch)
        self.assertEqual(self.world.told.types, ["image.create"])  # nothing had begun
        reader = BytesReader(DATA)
        reader.length = None
        await self.fails(self.world.transfers().upload(OWNER, image.id, reader, len(DATA) + 1), SizeMismatch)
        self.assertEqual(self.world.told.types, ["image.create", "image.prepare", "image.upload"])
        failed = self.world.told.events[-1]
        self.assertEqual(failed.priority, "ERROR")
        self.assertIn("bytes", failed.payload)

    async def test_second_upload(self) -> None:
        """
        Of two uploads at once, only the one that began is told.
        """
        image = await self.world.create()
        transfers, held = self.world.transfers(), HeldReader()
        first = Deferred.fromCoroutine(transfers.upload(OWNER, image.id, held))
        await self.fails(transfers.upload(OWNER, image.id, BytesReader(DATA)), StatusConflict)
        first.cancel()
        await self.assertFailure(first, CancelledError)
        await transfers.settled()
        self.assertEqual(self.world.told.types, ["image.create", "image.prepare", "image.upload"])
        self.assertEqual(self.world.told.events[-1].payload, "it was broken off")

    async def test_sent(self) -> None:
        """
        A download is told with the bytes that went out; where they are fewer than announced, as an error.
        """
        image = await self.world.create()
        await self.world.upload(DATA, image.id)
        transfers = self.world.transfers()
        download = await transfers.download(ADMIN, image.id, lambda size: None)
        self.addCleanup(download.body.stopProducing)
        transfers.sent(ADMIN, download, len(DATA), "192.0.2.1")
        transfers.sent(ADMIN, download, len(DATA) - 1, None)
        whole, part = self.world.told.events[-2:]
        self.assertEqual((whole.event_type, whole.priority, part.priority), ("image.send", "INFO", "ERROR"))
        self.assertEqual(
            whole.payload,
            {
                "bytes_sent": len(DATA),
                "image_id": image.id,
                "owner_id": image.owner,
                "receiver_tenant_id": ADMIN.project_id,
                "receiver_user_id": ADMIN.user_id,
                "destination_ip": "192.0.2.1",
            },
        )
