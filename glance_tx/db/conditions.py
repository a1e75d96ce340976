"""
What narrows a list of images, in SQL.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from glance_tx.db.shapes import Among, Shape, Within, of_property, of_tag
from glance_tx.db.tables import image_properties, image_tags, images

__all__ = ["narrowing"]


def narrowing(shape: Shape) -> Iterator[sa.ColumnElement[bool]]:
    """
    Select the images that are not deleted and meet all of a query's conditions, whoever asks.
    """
    yield images.c.deleted == sa.false()
    yield images.c.os_hidden == (sa.true() if shape.os_hidden else sa.false())
    for condition in shape.narrowing:
        yield _among(condition) if isinstance(condition, Among) else _within(condition)
    has, value = image_properties.c.name, image_properties.c.value
    pairs = [of_property(number) for number in range(shape.properties)]
    yield from _has_all(image_properties, [_equals(has, name) & _equals(value, wanted) for name, wanted in pairs])
    tag = image_tags.c.value
    yield from _has_all(image_tags, [_equals(tag, of_tag(number)) for number in range(shape.tags)])


def _among(condition: Among) -> sa.ColumnElement[bool]:
    column = images.c[condition.attribute]
    values = [_parameter(column, name, is_number=is_number) for name, is_number in condition.parameters]
    choices: list[sa.ColumnElement[bool]] = [column.is_(None)] if condition.or_null else []
    if values:
        choices.append(column == values[0] if len(values) == 1 else column.in_(values))
    return sa.or_(sa.false(), *choices)


def _within(condition: Within) -> sa.ColumnElement[bool]:
    column = images.c[condition.attribute]
    limits: list[sa.ColumnElement[bool]] = [column.is_not(None)]
    if condition.since is not None:
        limits.append(column >= _parameter(column, condition.since, is_number=condition.is_number))
    if condition.until is not None:
        limits.append(column < _parameter(column, condition.until, is_number=condition.is_number))
    within = sa.and_(*limits)
    return sa.not_(within) & column.is_not(None) if condition.outside else within


def _equals(column: sa.Column[Any], parameter: str) -> sa.ColumnElement[bool]:
    return column == _parameter(column, parameter, is_number=False)


def _parameter(column: sa.Column[Any], name: str, *, is_number: bool) -> sa.BindParameter[Any]:
    # As an integer of the column's own size, a great one would be refused where it should merely be no image's.
    return sa.bindparam(name, type_=sa.BigInteger() if is_number else column.type)


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
