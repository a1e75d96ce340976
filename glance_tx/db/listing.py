"""
List queries in SQL. See `glance_tx.db.queries` for what they mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from glance_tx.db import records
from glance_tx.db.coverage import alternatives
from glance_tx.db.queries import SortKey, conditions, could_see, sort_keys
from glance_tx.db.tables import image_properties, image_tags, images
from glance_tx.domain.errors import ImageNotFound, InvalidQuery
from glance_tx.domain.filters import Between, OneOf
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
    for condition in conditions(query):
        yield _one_of(condition) if isinstance(condition, OneOf) else _between(condition)
    pairs = sorted(query.properties.items())
    has, value = image_properties.c.name, image_properties.c.value
    yield from _has_all(image_properties, [(has == name) & (value == wanted) for name, wanted in pairs])
    yield from _has_all(image_tags, [image_tags.c.value == tag for tag in sorted(query.tags)])


def _one_of(condition: OneOf) -> sa.ColumnElement[bool]:
    column = images.c[condition.name]
    values = [_literal(column, value) for value in sorted(condition.values - {None}, key=str)]
    matches = column == values[0] if len(values) == 1 else column.in_(values)
    if None not in condition.values:
        return matches
    return matches | column.is_(None) if values else column.is_(None)


def _between(condition: Between) -> sa.ColumnElement[bool]:
    column = images.c[condition.name]
    limits: list[sa.ColumnElement[bool]] = [column.is_not(None)]
    if condition.since is not None:
        limits.append(column >= _literal(column, condition.since))
    if condition.until is not None:
        limits.append(column < _literal(column, condition.until))
    within = sa.and_(*limits)
    return sa.not_(within) & column.is_not(None) if condition.outside else within


def _literal(column: sa.Column[Any], value: object) -> sa.ColumnElement[Any]:
    # As an integer of the column's own size, a great one would be refused where it should merely be no image's.
    number = isinstance(value, int) and not isinstance(value, bool)
    return sa.literal(value, sa.BigInteger() if number else column.type)


def _has_all(table: sa.Table, rows: Sequence[sa.ColumnElement[bool]]) -> Iterator[sa.ColumnElement[bool]]:
    """
    Select images for each of which there are all of some rows, no two of which can be the same.
    """
    own = table.c.image_id == images.c.id
    if len(rows) == 1:
        yield sa.exists().where(own, *rows)
    elif rows:
        # Counted, and not looked for one by one: planners think about every order of so many subqueries.
        count = sa.select(sa.func.count()).select_from(table).where(own, sa.or_(*rows))
        yield count.correlate(images).scalar_subquery() == len(rows)


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
