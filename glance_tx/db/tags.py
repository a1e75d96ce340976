"""
Single tags in SQL.

The image's row is changed first, so that of changes made at once each sees what the other did.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from glance_tx.db import records
from glance_tx.db.tables import image_tags, images
from glance_tx.domain.errors import ImageNotFound, QuotaExceeded

__all__ = ["add_tag", "remove_tag"]


def add_tag(connection: sa.Connection, image_id: str, tag: str, quota: int, now: datetime) -> None:
    """
    Give an image a tag; see `IImageRepository.add_tag`.
    """
    _touch(connection, image_id, now)
    if connection.execute(sa.select(image_tags.c.value).where(_is(image_id, tag))).all():
        return
    counted = sa.select(sa.func.count()).select_from(image_tags).where(image_tags.c.image_id == image_id)
    wanted = connection.execute(counted).scalar_one() + 1
    if 0 <= quota < wanted:
        raise QuotaExceeded("tags", wanted, quota)
    connection.execute(sa.insert(image_tags), {"image_id": image_id, "value": tag})


def remove_tag(connection: sa.Connection, image_id: str, tag: str, now: datetime) -> None:
    """
    Take a tag off an image; see `IImageRepository.remove_tag`.
    """
    _touch(connection, image_id, now)
    connection.execute(sa.delete(image_tags).where(_is(image_id, tag)))


def _touch(connection: sa.Connection, image_id: str, now: datetime) -> None:
    touched = connection.execute(sa.update(images).where(records.is_living(image_id)).values(updated_at=now))
    if not touched.rowcount:
        raise ImageNotFound(image_id)


def _is(image_id: str, tag: str) -> sa.ColumnElement[bool]:
    return (image_tags.c.image_id == image_id) & (image_tags.c.value == tag)
