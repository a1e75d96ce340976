"""
Changes to where the data of images lie, in SQL.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from glance_tx.db import leases, records, wholes
from glance_tx.db.tables import image_locations, images
from glance_tx.domain.errors import StatusConflict
from glance_tx.domain.images import Image
from glance_tx.domain.interfaces import Lease

__all__ = ["change_locations"]


def change_locations(
    connection: sa.Connection, image: Image, was: Image, now: datetime
) -> tuple[Image, Sequence[Lease]]:
    """
    Write a changed image with its locations; see `IImageRepository.change_locations`.
    """
    image_id = was.id.lower()
    changed = connection.execute(
        sa.update(images)
        .where(records.is_living(image_id), images.c.status == was.status)
        .values(status=image.status, updated_at=now, **records.attributes(image), **records.data_facts(image))
    )
    if not changed.rowcount:
        raise records.refusal(connection, image_id, f"it was {was.status} when it was read")
    if wholes.find(connection, image_id).locations != was.locations:
        raise StatusConflict(image_id, image.status, "its locations changed meanwhile")
    records.replace_parts(connection, image_id, image)
    kept = {location.url for location in image.locations}
    orphans = leases.orphan(
        connection, image_id, [location for location in was.locations if location.url not in kept], now
    )
    connection.execute(sa.delete(image_locations).where(image_locations.c.image_id == image_id))
    records.insert_locations(connection, image_id, image.locations)
    return wholes.find(connection, image_id), orphans
