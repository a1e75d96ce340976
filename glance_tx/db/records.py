"""
Images written as rows: of the table ``images``, and of those that hold properties, tags and locations.

The functions here and in the modules beside this one block; `glance_tx.db.engine.Database` runs them in threads.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from glance_tx.db.tables import image_locations, image_members, image_properties, image_tags, images
from glance_tx.domain.errors import ImageNotFound, StatusConflict
from glance_tx.domain.images import Image, Location

__all__ = [
    "attributes",
    "data_facts",
    "drop_parts",
    "insert_locations",
    "insert_parts",
    "is_living",
    "refusal",
    "replace_parts",
]


def is_living(image_id: str) -> sa.ColumnElement[bool]:
    """
    Select the row of an image that is not deleted.
    """
    return (images.c.id == image_id) & (images.c.deleted == sa.false())


def attributes(image: Image) -> dict[str, Any]:
    """
    Give the columns that clients and operators change.
    """
    return {
        "name": image.name,
        "visibility": image.visibility,
        "owner": image.owner,
        "protected": image.protected,
        "os_hidden": image.os_hidden,
        "container_format": image.container_format,
        "disk_format": image.disk_format,
        "min_ram": image.min_ram,
        "min_disk": image.min_disk,
    }


def data_facts(image: Image) -> dict[str, Any]:
    """
    Give the columns that an upload sets.
    """
    return {
        "size": image.size,
        "virtual_size": image.virtual_size,
        "checksum": image.checksum,
        "os_hash_algo": image.os_hash_algo,
        "os_hash_value": image.os_hash_value,
    }


def insert_parts(connection: sa.Connection, image: Image) -> None:
    """
    Write the properties, tags and locations of an image that has none yet.
    """
    _insert_properties(connection, image.id, image.properties)
    _insert_tags(connection, image.id, image.tags)
    insert_locations(connection, image.id, image.locations)


def insert_locations(connection: sa.Connection, image_id: str, locations: Sequence[Location]) -> None:
    """
    Write the locations of an image that has none yet.
    """
    rows = [
        {
            "image_id": image_id,
            "position": position,
            "store": location.store,
            "url": location.url,
            "metadata": json.dumps(dict(location.metadata)) if location.metadata else None,
        }
        for position, location in enumerate(locations)
    ]
    _insert(connection, image_locations, rows)


def replace_parts(connection: sa.Connection, image_id: str, image: Image) -> None:
    """
    Make the properties and tags of an image those of another, touching no row that is right already.
    """
    kept = sa.select(image_properties).where(image_properties.c.image_id == image_id)
    properties = {row.name: row.value for row in connection.execute(kept)}
    outdated = [
        name for name, value in properties.items() if name not in image.properties or image.properties[name] != value
    ]
    _delete(connection, image_properties.c.name, image_id, outdated)
    missing = {name: value for name, value in image.properties.items() if name in outdated or name not in properties}
    _insert_properties(connection, image_id, missing)

    tags = set(connection.scalars(sa.select(image_tags.c.value).where(image_tags.c.image_id == image_id)))
    _delete(connection, image_tags.c.value, image_id, tags - image.tags)
    _insert_tags(connection, image_id, image.tags - tags)


def drop_parts(connection: sa.Connection, image_id: str) -> None:
    """
    Delete the properties, tags, locations and members of an image.
    """
    for table in (image_properties, image_tags, image_locations, image_members):
        connection.execute(sa.delete(table).where(table.c.image_id == image_id))


def refusal(connection: sa.Connection, image_id: str, reason: str) -> ImageNotFound | StatusConflict:
    """
    Say why a change that depends on an image's status changed nothing.
    """
    status = connection.scalar(sa.select(images.c.status).where(is_living(image_id)))
    return ImageNotFound(image_id) if status is None else StatusConflict(image_id, status, reason)


def _insert_properties(connection: sa.Connection, image_id: str, properties: Mapping[str, str | None]) -> None:
    rows = [{"image_id": image_id, "name": name, "value": value} for name, value in properties.items()]
    _insert(connection, image_properties, rows)


def _insert_tags(connection: sa.Connection, image_id: str, tags: Iterable[str]) -> None:
    _insert(connection, image_tags, [{"image_id": image_id, "value": tag} for tag in tags])


def _insert(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:  # none at all would mean one of defaults
        connection.execute(sa.insert(table), rows)


def _delete(connection: sa.Connection, column: sa.Column[Any], image_id: str, values: Iterable[str]) -> None:
    wanted = list(values)
    if wanted:
        table = column.table
        connection.execute(sa.delete(table).where(table.c.image_id == image_id, column.in_(wanted)))
