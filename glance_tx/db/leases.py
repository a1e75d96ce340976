"""
Leases of uploads in SQL.

Whatever changes an image and a lease changes the image's row first: so two transactions about one image wait for each
other, and never cross.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from glance_tx.db import records, wholes
from glance_tx.db.tables import image_leases, image_locations, images
from glance_tx.domain.errors import ImageGone, LeaseLost
from glance_tx.domain.images import Image, ImageStatus, Location
from glance_tx.domain.interfaces import Lease, LeaseOwner, StoredData

__all__ = [
    "begin_upload",
    "end_lease",
    "finish_upload",
    "forget_lease",
    "heartbeat",
    "list_leases",
    "orphan",
    "orphan_locations",
]

NOBODY: Final = LeaseOwner("", "")
"""Owner of leases that were never anybody's to write under: those of a deleted image's data."""


def begin_upload(
    connection: sa.Connection, image_id: str, owner: LeaseOwner, plan: Callable[[int], Location], now: datetime
) -> Lease:
    """
    Move an image from queued to saving; see `IImageRepository.begin_upload`.
    """
    taken = connection.execute(
        sa.update(images)
        .where(records.is_living(image_id), images.c.status == ImageStatus.QUEUED)
        .values(status=ImageStatus.SAVING, fence=images.c.fence + 1, updated_at=now)
    )
    if not taken.rowcount:
        raise records.refusal(connection, image_id, "it takes data only while it is queued")
    fence = _fence(connection, image_id)
    lease = Lease(image_id, fence, owner, plan(fence), now)
    _insert(connection, [lease])
    return lease


def heartbeat(connection: sa.Connection, lease: Lease, now: datetime) -> None:
    """
    Note that a lease's owner lives; see `IImageRepository.heartbeat`.
    """
    beaten = connection.execute(sa.update(image_leases).where(_live(lease)).values(heartbeat_at=now))
    if _is_deleted(connection, lease.image_id):
        raise ImageGone(lease.image_id)
    if not beaten.rowcount:
        raise LeaseLost(lease.image_id, lease.fence)


def finish_upload(connection: sa.Connection, lease: Lease, data: StoredData, now: datetime) -> Image | None:
    """
    Move an image from saving to active; see `IImageRepository.finish_upload`.

    :return: ``None`` where the image was deleted. The lease is ended then, which is to be committed.
    """
    finished = connection.execute(
        sa.update(images)
        .where(_saving_under(lease))
        .values(
            status=ImageStatus.ACTIVE,
            size=data.size,
            virtual_size=data.virtual_size,
            checksum=data.checksum,
            os_hash_algo=data.os_hash_algo,
            os_hash_value=data.os_hash_value,
            updated_at=now,
        )
    )
    if not finished.rowcount:
        if not _is_deleted(connection, lease.image_id):
            raise LeaseLost(lease.image_id, lease.fence)
        connection.execute(sa.update(image_leases).where(_live(lease)).values(ended=True))
        return None
    dropped = connection.execute(sa.delete(image_leases).where(_live(lease)))
    if not dropped.rowcount:
        raise LeaseLost(lease.image_id, lease.fence)
    records.insert_locations(connection, lease.image_id, [lease.location])
    return wholes.find(connection, lease.image_id)


def end_lease(connection: sa.Connection, lease: Lease, now: datetime) -> None:
    """
    End a lease and put its image back to queued; see `IImageRepository.end_lease`.
    """
    connection.execute(
        sa.update(images)
        .where(_saving_under(lease))
        .values(status=ImageStatus.QUEUED, size=None, virtual_size=None, updated_at=now)
    )
    connection.execute(sa.update(image_leases).where(_live(lease)).values(ended=True))


def forget_lease(connection: sa.Connection, lease: Lease) -> None:
    """
    Drop an ended lease; see `IImageRepository.forget_lease`.
    """
    connection.execute(sa.delete(image_leases).where(_same(lease), image_leases.c.ended == sa.true()))


def list_leases(connection: sa.Connection, ended: bool | None, silent_since: datetime | None) -> list[Lease]:
    """
    List leases, the longest silent first; see `IImageRepository.leases`.
    """
    columns = image_leases.c
    listed = sa.select(image_leases).order_by(columns.heartbeat_at, columns.image_id, columns.fence)
    if ended is not None:
        listed = listed.where(columns.ended == (sa.true() if ended else sa.false()))
    if silent_since is not None:
        listed = listed.where(columns.heartbeat_at < silent_since)
    return [_lease(row) for row in connection.execute(listed)]


def orphan_locations(connection: sa.Connection, image_id: str, now: datetime) -> list[Lease]:
    """
    Turn the locations of an image that is being deleted into ended leases. Its row must have been changed already.
    """
    rows = connection.execute(
        sa.select(image_locations).where(image_locations.c.image_id == image_id).order_by(image_locations.c.position)
    ).all()
    return orphan(connection, image_id, [Location(row.store, row.url) for row in rows], now)


def orphan(connection: sa.Connection, image_id: str, locations: Sequence[Location], now: datetime) -> list[Lease]:
    """
    Make ended leases for locations that an image loses. Its row must have been changed already.
    """
    if not locations:
        return []
    last = _fence(connection, image_id)
    leases = [
        Lease(image_id, fence, NOBODY, Location(location.store, location.url), now, ended=True)
        for fence, location in enumerate(locations, last + 1)
    ]
    connection.execute(sa.update(images).where(images.c.id == image_id).values(fence=leases[-1].fence))
    _insert(connection, leases)
    return leases


def _fence(connection: sa.Connection, image_id: str) -> int:
    fence: int = connection.execute(sa.select(images.c.fence).where(images.c.id == image_id)).scalar_one()
    return fence


def _is_deleted(connection: sa.Connection, image_id: str) -> bool:
    return bool(connection.scalar(sa.select(images.c.deleted).where(images.c.id == image_id)))


def _same(lease: Lease) -> sa.ColumnElement[bool]:
    return (image_leases.c.image_id == lease.image_id) & (image_leases.c.fence == lease.fence)


def _live(lease: Lease) -> sa.ColumnElement[bool]:
    return _same(lease) & (image_leases.c.ended == sa.false())


def _saving_under(lease: Lease) -> sa.ColumnElement[bool]:
    return records.is_living(lease.image_id) & (images.c.status == ImageStatus.SAVING) & (images.c.fence == lease.fence)


def _insert(connection: sa.Connection, leases: Sequence[Lease]) -> None:
    rows = [
        {
            "image_id": lease.image_id,
            "fence": lease.fence,
            "node": lease.owner.node,
            "boot_id": lease.owner.boot_id,
            "store": lease.location.store,
            "url": lease.location.url,
            "heartbeat_at": lease.heartbeat_at,
            "ended": lease.ended,
        }
        for lease in leases
    ]
    connection.execute(sa.insert(image_leases), rows)


def _lease(row: sa.Row[Any]) -> Lease:
    owner, location = LeaseOwner(row.node, row.boot_id), Location(row.store, row.url)
    return Lease(row.image_id, row.fence, owner, location, row.heartbeat_at, row.ended)
