"""
What narrows a list of images, in SQL.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from glance_tx.db.queries import conditions
from glance_tx.db.tables import image_properties, image_tags, images
from glance_tx.domain.filters import Between, OneOf
from glance_tx.domain.interfaces import ImageQuery

__all__ = ["narrowing"]


def narrowing(query: ImageQuery) -> Iterator[sa.ColumnElement[bool]]:
    """
    Select the images that are not deleted and meet all of a query's conditions, whoever asks.

    :raises InvalidQuery: One is about something else than an attribute.
    """
    yield images.c.deleted == sa.false()
    yield images.c.os_hidden == (sa.true() if query.os_hidden else sa.false())
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
        # Not "equals", which planners expect to be met by next to no image.
        yield count.correlate(images).scalar_subquery() >= len(rows)
