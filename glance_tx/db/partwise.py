"""
Reading images part by part, a statement for each kind: where one statement cannot read all of them.

See Note [One statement] in `glance_tx.db.wholes`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from attrs import evolve

from glance_tx.db import dialects
from glance_tx.db.coverage import is_member
from glance_tx.db.shapes import PROJECT_ID
from glance_tx.db.tables import image_locations, image_members, image_properties, image_tags
from glance_tx.domain.images import Image, ImageStatus, Location, Visibility

__all__ = ["read"]


def read(
    connection: sa.Connection, rows: sa.Select[Any], values: Mapping[str, Any], project_id: str | None
) -> list[Image]:
    """
    Read images whose rows a statement selects: in one state of the database, whether in a transaction already or not.

    :param values: Of the statement's parameters.
    :param project_id: Whose membership to tell, if any.
    """
    if connection.in_transaction():
        return _read(connection, rows, values, project_id)
    with connection.begin():
        dialects.begin(connection, readonly=True)
        return _read(connection, rows, values, project_id)


def _read(
    connection: sa.Connection, rows: sa.Select[Any], values: Mapping[str, Any], project_id: str | None
) -> list[Image]:
    found = connection.execute(rows, values).all()
    ids = [row.id for row in found]
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
    listed = [_image(row, properties[row.id], tags[row.id], locations[row.id]) for row in found]
    return _for_project(connection, listed, project_id)


def _for_project(connection: sa.Connection, listed: list[Image], project_id: str | None) -> list[Image]:
    """
    Note on images that a project is a member of them, as far as it can matter: on those that others share.
    """
    shared = [image.id for image in listed if image.visibility is Visibility.SHARED and image.owner != project_id]
    if project_id is None or not shared:
        return listed
    memberships = sa.select(image_members.c.image_id).where(is_member(), image_members.c.image_id.in_(shared))
    joined = set(connection.scalars(memberships, {PROJECT_ID: project_id}))
    return [evolve(image, member_id=project_id) if image.id in joined else image for image in listed]


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
