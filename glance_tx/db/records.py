"""
Images as rows: of the table ``images``, and of those that hold properties, tags and locations.

The functions here and in the modules beside this one block; `glance_tx.db.engine.Database` runs them in threads.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from attrs import evolve

from glance_tx.db.coverage import is_member
from glance_tx.db.tables import image_locations, image_members, image_properties, image_tags, images
from glance_tx.domain.errors import ImageNotFound, StatusConflict
from glance_tx.domain.images import Image, ImageStatus, Location, Visibility

__all__ = [
    "attributes",
    "data_facts",
    "drop_parts",
    "find",
    "for_project",
    "insert_locations",
    "insert_parts",
    "is_living",
    "refusal",
    "replace_parts",
    "with_parts",
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


def find(connection: sa.Connection, image_id: str, project_id: str | None = None) -> Image:
    """
    Read one image.

    :param project_id: Whose membership to tell, if any.
    :raises ImageNotFound: It never was, or is deleted.
    """
    rows = connection.execute(sa.select(images).where(is_living(image_id))).all()
    if not rows:
        raise ImageNotFound(image_id)
    return for_project(connection, with_parts(connection, rows), project_id)[0]


def for_project(connection: sa.Connection, listed: Sequence[Image], project_id: str | None) -> list[Image]:
    """
    Note on images that a project is a member of them, as far as it can matter: on those that others share.
    """
    shared = [image.id for image in listed if image.visibility is Visibility.SHARED and image.owner != project_id]
    if project_id is None or not shared:
        return list(listed)
    memberships = sa.select(image_members.c.image_id).where(is_member(project_id), image_members.c.image_id.in_(shared))
    joined = set(connection.scalars(memberships))
    return [evolve(image, member_id=project_id) if image.id in joined else image for image in listed]


def with_parts(connection: sa.Connection, rows: Sequence[sa.Row[Any]]) -> list[Image]:
    """
    Make images of rows of the table ``images``, in their order, reading what other tables hold.
    """
    ids = [row.id for row in rows]
    if not ids:
        return []
    properties: Mapping[str, dict[str, str | None]] = defaultdict(dict)
    tags: Mapping[str, set[str]] = defaultdict(set)
    locations: Mapping[str, list[Location]] = defaultdict(list)
    for part in connection.execute(sa.select(image_properties).where(image_properties.c.image_id.in_(ids))):
        properties[part.image_id][part.name] = part.value
    for part in connection.execute(sa.select(image_tags).where(image_tags.c.image_id.in_(ids))):
        tags[part.image_id].add(part.value)
    ordered = sa.select(image_locations).order_by(image_locations.c.position)
    for part in connection.execute(ordered.where(image_locations.c.image_id.in_(ids))):
        locations[part.image_id].append(Location(part.store, part.url, json.loads(part.metadata or "{}")))
    return [_image(row, properties[row.id], tags[row.id], locations[row.id]) for row in rows]


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


def _image(
    row: sa.Row[Any], properties: Mapping[str, str | None], tags: Iterable[str], locations: Iterable[Location]
) -> Image:
    return Image(
        id=row.id,
        created_at=row.created_at,
        updated_at=row.updated_at,
        owner=row.owner,
        name=row.name,
        status=ImageStatus(row.status),
        visibility=Visibility(row.visibility),
        protected=row.protected,
        os_hidden=row.os_hidden,
        checksum=row.checksum,
        os_hash_algo=row.os_hash_algo,
        os_hash_value=row.os_hash_value,
        size=row.size,
        virtual_size=row.virtual_size,
        container_format=row.container_format,
        disk_format=row.disk_format,
        min_ram=row.min_ram,
        min_disk=row.min_disk,
        tags=frozenset(tags),
        properties=properties,
        locations=tuple(locations),
    )


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
