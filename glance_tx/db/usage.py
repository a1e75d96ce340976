"""
How much projects keep, in SQL.
"""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from glance_tx.db.tables import image_locations, images
from glance_tx.domain.images import ImageStatus

__all__ = ["storage_used"]

_COUNTS_NOTHING = (ImageStatus.KILLED, ImageStatus.DELETED, ImageStatus.PENDING_DELETE)


def storage_used(connection: sa.Connection, owner: str, without: Collection[str]) -> int:
    """
    Add up what a project keeps; see `IImageRepository.storage_used`.
    """
    total = (
        sa.select(sa.func.coalesce(sa.func.sum(images.c.size), 0))
        .select_from(images.join(image_locations))  # an image counts once for each of its locations
        .where(images.c.owner == owner, images.c.deleted == sa.false(), images.c.status.not_in(_COUNTS_NOTHING))
    )
    if without:
        total = total.where(images.c.id.not_in(without))
    return int(connection.scalar(total) or 0)  # PostgreSQL and MariaDB answer with a Decimal
