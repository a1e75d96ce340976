"""
Members of images in SQL.

Whatever changes a member locks the image's row first: so two transactions about one image wait for each other, the
quota holds, and a deleted image gains no members.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from attrs import evolve
from zope.interface import implementer

from glance_tx.db import records
from glance_tx.db.engine import Database
from glance_tx.db.tables import image_members, images
from glance_tx.domain.errors import ImageNotFound, MemberExists, MemberNotFound, QuotaExceeded
from glance_tx.domain.interfaces import IMemberRepository
from glance_tx.domain.members import Member, MemberStatus

__all__ = ["SqlMembers"]


@implementer(IMemberRepository)
class SqlMembers:
    """
    Members in a database. Each method is one transaction, which goes on when its caller is cancelled.

    :param database: A started database.
    :param now: Tells the time.
    """

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    async def add(self, image_id: str, member_id: str, *, quota: int) -> Member:
        """
        Share an image with one more project.
        """
        return await self._database.transact(_add, image_id.lower(), member_id, quota, self._now())

    async def list(self, image_id: str) -> Sequence[Member]:
        """
        List the members of an image.
        """
        return await self._database.transact(_list, image_id.lower(), readonly=True)

    async def get(self, image_id: str, member_id: str) -> Member:
        """
        Fetch one member.
        """
        return await self._database.transact(_get, image_id.lower(), member_id, readonly=True)

    async def set_status(self, image_id: str, member_id: str, status: MemberStatus) -> Member:
        """
        Note what a member says.
        """
        return await self._database.transact(_set_status, image_id.lower(), member_id, status, self._now())

    async def remove(self, image_id: str, member_id: str) -> Member:
        """
        Share an image with one project less.
        """
        return await self._database.transact(_remove, image_id.lower(), member_id, self._now())


def _add(connection: sa.Connection, image_id: str, member_id: str, quota: int, now: datetime) -> Member:
    _lock(connection, image_id)
    present = connection.execute(
        sa.select(image_members.c.deleted).where(_is_row(image_id, member_id))
    ).scalar_one_or_none()
    if present is False:
        raise MemberExists(image_id, member_id)
    _require_quota(connection, image_id, quota)
    member = Member(image_id, member_id, MemberStatus.PENDING, now, now)
    state = {"status": member.status, "created_at": now, "updated_at": now, "deleted": False, "deleted_at": None}
    if present:
        connection.execute(sa.update(image_members).where(_is_row(image_id, member_id)).values(state))
    else:
        connection.execute(sa.insert(image_members).values(image_id=image_id, member_id=member_id, **state))
    return member


def _list(connection: sa.Connection, image_id: str) -> list[Member]:
    _require_image(connection, image_id)
    listed = sa.select(image_members).where(_are_members(image_id))
    ordered = listed.order_by(image_members.c.created_at, image_members.c.member_id)
    return [_member(row) for row in connection.execute(ordered)]


def _get(connection: sa.Connection, image_id: str, member_id: str) -> Member:
    _require_image(connection, image_id)
    return _find(connection, image_id, member_id)


def _set_status(
    connection: sa.Connection, image_id: str, member_id: str, status: MemberStatus, now: datetime
) -> Member:
    _lock(connection, image_id)
    _change(connection, image_id, member_id, {"status": status, "updated_at": now})
    return _find(connection, image_id, member_id)


def _remove(connection: sa.Connection, image_id: str, member_id: str, now: datetime) -> Member:
    _lock(connection, image_id)
    member = _find(connection, image_id, member_id)
    _change(connection, image_id, member_id, {"deleted": True, "deleted_at": now, "updated_at": now})
    return evolve(member, updated_at=now)


def _lock(connection: sa.Connection, image_id: str) -> None:
    # SQLite has no such lock, and needs none: there a writing transaction is the only one.
    _require(connection, image_id, sa.select(images.c.id).where(records.is_living(image_id)).with_for_update())


def _require_image(connection: sa.Connection, image_id: str) -> None:
    _require(connection, image_id, sa.select(images.c.id).where(records.is_living(image_id)))


def _require(connection: sa.Connection, image_id: str, living: sa.Select[tuple[Any]]) -> None:
    if connection.scalar(living) is None:
        raise ImageNotFound(image_id)


def _require_quota(connection: sa.Connection, image_id: str, quota: int) -> None:
    if quota < 0:
        return
    counted = sa.select(sa.func.count()).select_from(image_members).where(_are_members(image_id))
    wanted = connection.execute(counted).scalar_one() + 1
    if wanted > quota:
        raise QuotaExceeded("members", wanted, quota)


def _find(connection: sa.Connection, image_id: str, member_id: str) -> Member:
    found = sa.select(image_members).where(_are_members(image_id), image_members.c.member_id == member_id)
    row = connection.execute(found).one_or_none()
    if row is None:
        raise MemberNotFound(image_id, member_id)
    return _member(row)


def _change(connection: sa.Connection, image_id: str, member_id: str, values: dict[str, Any]) -> None:
    is_member = _are_members(image_id) & (image_members.c.member_id == member_id)
    if not connection.execute(sa.update(image_members).where(is_member).values(values)).rowcount:
        raise MemberNotFound(image_id, member_id)


def _is_row(image_id: str, member_id: str) -> sa.ColumnElement[bool]:
    return (image_members.c.image_id == image_id) & (image_members.c.member_id == member_id)


def _are_members(image_id: str) -> sa.ColumnElement[bool]:
    return (image_members.c.image_id == image_id) & (image_members.c.deleted == sa.false())


def _member(row: sa.Row[Any]) -> Member:
    return Member(row.image_id, row.member_id, MemberStatus(row.status), row.created_at, row.updated_at)
