"""
Images in SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime

import sqlalchemy as sa
from attrs import evolve
from sqlalchemy.exc import IntegrityError
from zope.interface import implementer

from glance_tx.db import leases, listing, locations, records, tags, usage, wholes
from glance_tx.db.engine import Database
from glance_tx.db.tables import images
from glance_tx.domain.errors import ImageExists, ImageGone
from glance_tx.domain.images import Image, ImageStatus, Location
from glance_tx.domain.interfaces import IImageRepository, ImageQuery, Lease, LeaseOwner, StoredData

__all__ = ["SqlImages"]


@implementer(IImageRepository)
class SqlImages:
    """
    Images in a database. Each method is one transaction, which goes on when its caller is cancelled.

    :param database: A started database.
    :param now: Tells the time, for changes whose caller does not.
    """

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    async def add(self, image: Image) -> None:
        """
        Keep a new image, its id in lower case.
        """
        await self._database.transact(_add, evolve(image, id=image.id.lower()))

    async def get(self, image_id: str, *, project_id: str | None = None) -> Image:
        """
        Fetch one image.
        """
        return await self._database.look(wholes.find, image_id.lower(), project_id)

    async def list(self, query: ImageQuery) -> Sequence[Image]:
        """
        Fetch one page.
        """
        return await self._database.look(listing.list_images, query)

    async def save(self, image: Image, *, was: Image) -> Image:
        """
        Write the attributes, properties and tags of a changed image.
        """
        return await self._database.transact(_save, image, was.id.lower(), was.status, self._now())

    async def change_locations(self, image: Image, *, was: Image) -> tuple[Image, Sequence[Lease]]:
        """
        Write a changed image with its locations.
        """
        return await self._database.transact(locations.change_locations, image, was, self._now())

    async def set_status(self, image_id: str, status: ImageStatus, *, from_status: ImageStatus) -> None:
        """
        Move an image from one status to another.
        """
        await self._database.transact(_set_status, image_id.lower(), status, from_status, self._now())

    async def add_tag(self, image_id: str, tag: str, *, quota: int) -> None:
        """
        Give an image a tag.
        """
        await self._database.transact(tags.add_tag, image_id.lower(), tag, quota, self._now())

    async def remove_tag(self, image_id: str, tag: str) -> None:
        """
        Take a tag off an image.
        """
        await self._database.transact(tags.remove_tag, image_id.lower(), tag, self._now())

    async def delete(self, image_id: str, *, from_status: ImageStatus) -> Sequence[Lease]:
        """
        Turn an image into a tombstone.
        """
        return await self._database.transact(_delete, image_id.lower(), from_status, self._now())

    async def storage_used(self, owner: str, *, without: Collection[str] = frozenset()) -> int:
        """
        Add up the bytes of a project's images.
        """
        return await self._database.transact(usage.storage_used, owner, without, readonly=True)

    async def begin_upload(
        self, image_id: str, owner: LeaseOwner, plan: Callable[[int], Location], now: datetime
    ) -> Lease:
        """
        Move an image from queued to saving.
        """
        return await self._database.transact(leases.begin_upload, image_id.lower(), owner, plan, now)

    async def heartbeat(self, lease: Lease, now: datetime) -> None:
        """
        Say that the owner lives.
        """
        await self._database.transact(leases.heartbeat, lease, now)

    async def finish_upload(self, lease: Lease, data: StoredData, now: datetime) -> Image:
        """
        Move an image from saving to active.
        """
        image = await self._database.transact(leases.finish_upload, lease, data, now)
        if image is None:
            raise ImageGone(lease.image_id)
        return image

    async def end_lease(self, lease: Lease, now: datetime) -> None:
        """
        Mark a lease as ended.
        """
        await self._database.transact(leases.end_lease, lease, now)

    async def forget_lease(self, lease: Lease) -> None:
        """
        Drop an ended lease.
        """
        await self._database.transact(leases.forget_lease, lease)

    async def leases(self, *, ended: bool | None = None, silent_since: datetime | None = None) -> Sequence[Lease]:
        """
        List leases.
        """
        return await self._database.transact(leases.list_leases, ended, silent_since, readonly=True)


def _add(connection: sa.Connection, image: Image) -> None:
    row = {
        "id": image.id,
        "status": image.status,
        "created_at": image.created_at,
        "updated_at": image.updated_at,
        "deleted": False,
        "fence": 0,
        **records.attributes(image),
        **records.data_facts(image),
    }
    try:
        connection.execute(sa.insert(images), row)
    except IntegrityError as error:
        raise ImageExists(image.id) from error
    records.insert_parts(connection, image)


def _save(connection: sa.Connection, image: Image, image_id: str, status: ImageStatus, now: datetime) -> Image:
    saved = connection.execute(
        sa.update(images)
        .where(records.is_living(image_id), images.c.status == status)
        .values(updated_at=now, **records.attributes(image))
    )
    if not saved.rowcount:
        raise records.refusal(connection, image_id, f"it was {status} when it was read")
    records.replace_parts(connection, image_id, image)
    return wholes.find(connection, image_id)


def _set_status(
    connection: sa.Connection, image_id: str, status: ImageStatus, from_status: ImageStatus, now: datetime
) -> None:
    moved = connection.execute(
        sa.update(images)
        .where(records.is_living(image_id), images.c.status == from_status)
        .values(status=status, updated_at=now)
    )
    if not moved.rowcount:
        raise records.refusal(connection, image_id, f"it was {from_status} when it was read")


def _delete(connection: sa.Connection, image_id: str, status: ImageStatus, now: datetime) -> list[Lease]:
    deleted = connection.execute(
        sa.update(images)
        .where(records.is_living(image_id), images.c.status == status)
        .values(status=ImageStatus.DELETED, deleted=True, deleted_at=now, updated_at=now)
    )
    if not deleted.rowcount:
        raise records.refusal(connection, image_id, f"it was {status} when it was read")
    orphans = leases.orphan_locations(connection, image_id, now)
    records.drop_parts(connection, image_id)
    return orphans
