"""
An empty repository of images, and how images come into it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from twisted.internet.defer import Deferred

from glance_tx.domain.images import Image, Location
from glance_tx.domain.interfaces import (
    IImageRepository,
    ImageQuery,
    IMemberRepository,
    Lease,
    LeaseOwner,
    StoredData,
    Viewer,
)
from glance_tx.domain.members import MemberStatus

EPOCH = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
OWNER = LeaseOwner("node-1", "boot-1")
OTHER = LeaseOwner("node-2", "boot-2")
ADMIN = Viewer("p0", is_admin=True)
P1 = Viewer("p1", is_admin=False)
STORED = StoredData(11, "5eb63bbbe01eeed093cb22bb8f5acdc3", "sha512", "ab" * 64, 22)
MINUTE = timedelta(minutes=1)
AT_HOME = Location("main", "file:///1")


class ImageCase:
    """
    A repository of images, for a `twisted.trial.unittest.TestCase`.
    """

    images: Any

    async def make_images(self) -> IImageRepository:
        """
        Make an empty repository that tells the time by `now`.
        """
        raise NotImplementedError

    def make_members(self) -> IMemberRepository:
        """
        Make the repository of the members of `images`.
        """
        raise NotImplementedError

    def setUp(self) -> Deferred[None]:
        self.time = EPOCH

        async def make() -> None:
            self.images = await self.make_images()
            self.members: Any = self.make_members()

        return Deferred.fromCoroutine(make())

    def now(self) -> datetime:
        return self.time

    def new(self, **values: Any) -> Image:
        return Image(**{"id": str(uuid4()), "created_at": EPOCH, "updated_at": EPOCH, "owner": "p1", **values})

    async def add(self, **values: Any) -> Image:
        image = self.new(**values)
        await self.images.add(image)
        return image

    async def share(self, image: Image, member_id: str, status: MemberStatus = MemberStatus.PENDING) -> None:
        await self.members.add(image.id, member_id, quota=-1)
        await self.members.set_status(image.id, member_id, status)

    async def begin(self, image: Image, owner: LeaseOwner = OWNER, now: datetime | None = None) -> Lease:
        return await self.images.begin_upload(image.id, owner, self.plan(image), now or self.now())

    def plan(self, image: Image) -> Any:
        return lambda fence: Location("main", f"file:///{image.id}.{fence}")

    async def names(self, viewer: Viewer = ADMIN, **query: Any) -> list[str | None]:
        query.setdefault("sort", (("name", "asc"),))
        return [image.name for image in await self.images.list(ImageQuery(viewer, **query))]
