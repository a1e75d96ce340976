"""
List queries in SQL. See `glance_tx.db.queries` for what they mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from glance_tx.db import records
from glance_tx.db.coverage import alternatives
from glance_tx.db.queries import SortKey, could_see, require_known, sort_keys
from glance_tx.db.tables import image_properties, image_tags, images
from glance_tx.domain.errors import ImageNotFound, InvalidQuery
from glance_tx.domain.images import Image
from glance_tx.domain.interfaces import ImageQuery

__all__ = ["list_images"]


def list_images(connection: sa.Connection, query: ImageQuery) -> list[Image]:
    """
    Read one page of images.

    :raises InvalidQuery: The marker is not an image that the viewer could see, or an attribute is none.
    """
    keys = sort_keys(query)
    page = sa.select(images).where(*_conditions(query)).limit(query.limit)
    if query.marker is not None:
        page = page.where(_after(keys, _marker(connection, query, query.marker)))
    nulls_last = connection.dialect.name == "postgresql"
    page = page.order_by(*(_ordered(key, nulls_last=nulls_last) for key in keys))
    listed = records.with_parts(connection, connection.execute(page).all())
    return records.for_project(connection, listed, query.viewer.project_id)


def _conditions(query: ImageQuery) -> Iterator[sa.ColumnElement[bool]]:
    yield images.c.deleted == sa.false()
    yield images.c.os_hidden == (sa.true() if query.os_hidden else sa.false())
    yield sa.or_(*alternatives(query))
    for name, value in query.filters.items():
        require_known(name)
        yield _equals(name, value)
    for name, value in query.properties.items():
        yield _has(image_properties, image_properties.c.name == name, image_properties.c.value == value)
    for tag in query.tags:
        yield _has(image_tags, image_tags.c.value == tag)


def _equals(name: str, value: object) -> sa.ColumnElement[bool]:
    column = images.c[name]
    if value is None:
        return column.is_(None)
    if name == "id" and isinstance(value, str):
        return column == value.lower()
    if isinstance(value, int) and not isinstance(value, bool):
        # As an integer of the column's own size, a great one would be refused where it should merely equal none.
        return column == sa.literal(value, sa.BigInteger)
    return column == value


def _has(table: sa.Table, *conditions: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    return sa.exists().where(table.c.image_id == images.c.id, *conditions)


def _marker(connection: sa.Connection, query: ImageQuery, marker: str) -> Image:
    try:
        image = records.find(connection, marker.lower(), query.viewer.project_id)
    except ImageNotFound:
        image = None
    if image is None or not could_see(query.viewer, image):
        raise InvalidQuery(f"the marker {marker!r} is not an image")
    return image


def _ordered(key: SortKey, *, nulls_last: bool) -> sa.ColumnElement[Any]:
    """
    Order by a column, null being less than any value.

    :param nulls_last: The engine takes it for more than any value, and understands being told otherwise.
    """
    column: sa.ColumnElement[Any] = images.c[key.name]
    ordered = column.asc() if key.ascending else column.desc()
    if nulls_last and images.c[key.name].nullable:
        return ordered.nulls_first() if key.ascending else ordered.nulls_last()
    return ordered


def _after(keys: Sequence[SortKey], marker: Image) -> sa.ColumnElement[bool]:
    """
    Select what comes after the marker: equal in the first so many keys, and beyond it in the next.
    """
    choices = []
    equal: list[sa.ColumnElement[bool]] = []
    for key in keys:
        column, value = images.c[key.name], getattr(marker, key.name)
        choices.append(sa.and_(*equal, _beyond(column, value, ascending=key.ascending)))
        equal.append(column.is_(None) if value is None else column == value)
    return sa.or_(*choices)


def _beyond(column: sa.Column[Any], value: object, *, ascending: bool) -> sa.ColumnElement[bool]:
    if value is None:
        return column.is_not(None) if ascending else sa.false()
    if ascending:
        return column > value
    return (column < value) | column.is_(None) if column.nullable else column < value
