"""
List queries in SQL. See `glance_tx.db.queries` for what they mean.

Note [Lists along indexes]. A page is put together from the first images, in the order of the list, of each of the
parts that `glance_tx.db.coverage` makes of what the viewer's list is about. Each can be read along an index that has
that order, so that a page costs as much among a million images as among a thousand; one query with an OR instead makes
every engine read and sort all that is covered. For the same reason images whose first sort key is null are a part of
their own (PostgreSQL orders nulls in another way than its indexes do), and where a page begins in an index is said
apart from the condition that follows the marker: that is an alternative of several, which planners do not see through.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa
from attrs import evolve, frozen

from glance_tx.db.conditions import narrowing
from glance_tx.db.coverage import parts
from glance_tx.db.queries import SortKey, could_see
from glance_tx.db.shapes import LIMIT, Shape, lifted, of_marker
from glance_tx.db.tables import images
from glance_tx.db.wholes import Reading, find
from glance_tx.domain.errors import ImageNotFound, InvalidQuery
from glance_tx.domain.images import Image
from glance_tx.domain.interfaces import ImageQuery

__all__ = ["list_images", "page_reading"]

_MOST_VALUES: Final = 64
"""Most values of a query whose statement is kept for the next one like it."""


def list_images(connection: sa.Connection, query: ImageQuery) -> list[Image]:
    """
    Read one page of images.

    :raises InvalidQuery: The marker is not an image that the viewer could see, or an attribute is none.
    """
    reading, values = page_reading(connection, query)
    return [] if reading is None else reading.images(connection, values)


def page_reading(connection: sa.Connection, query: ImageQuery) -> tuple[Reading | None, Mapping[str, Any]]:
    """
    Say how to read a page, and what the parameters are; ``None`` where there can be no image in it.

    :raises InvalidQuery: As for `list_images`.
    """
    marker = None if query.marker is None else _marker(connection, query, query.marker)
    shape, values = lifted(query, marker)
    # What a client may make as long as it likes is not kept in memory.
    reading = (_reading if len(values) <= _MOST_VALUES else _reading.__wrapped__)(connection.dialect, shape)
    return reading, values


@lru_cache(maxsize=256)
def _reading(dialect: sa.Dialect, shape: Shape) -> Reading | None:
    """
    Say how to read the page of a list; ``None`` where the list is of nothing.
    """
    order = _Order(shape.keys, explicit=dialect.name == "postgresql")
    page = _page(shape, order)
    return None if page is None else Reading(dialect, page, order.of)


def _page(shape: Shape, order: _Order) -> sa.Select[Any] | None:
    conditions = [*narrowing(shape), *(() if shape.marker is None else (_after(shape.keys, shape.marker),))]
    limit = sa.bindparam(LIMIT, type_=sa.Integer())
    # See Note [Lists along indexes].
    heads: list[sa.Select[Any]] = []
    for part in parts(shape):
        rows = part.rows.where(*conditions)
        # An order would tempt engines to look along its index for what is found by its id.
        heads += [half.limit(limit) for half in _halves(rows, order, shape.marker)] if part.in_order else [rows]
    if not heads:
        return None
    if len(heads) == 1:
        return heads[0]
    # An image may be in several parts. It counts once.
    together = sa.union(*(sa.select(head.subquery()) for head in heads)).subquery()
    return sa.select(together).order_by(*order.of(together.c)).limit(limit)


@frozen
class _Order:
    """
    The order of a list, null being less than any value.

    :param explicit: The engine takes null for more than any value, and understands being told otherwise.
    """

    keys: Sequence[SortKey]
    explicit: bool

    def of(self, columns: Any, *, values_only: bool = False) -> Iterator[sa.ColumnElement[Any]]:
        """
        Order by columns.

        :param values_only: The first of them has no nulls, about which indexes need not be asked then.
        """
        for position, key in enumerate(self.keys):
            ordered = columns[key.name].asc() if key.ascending else columns[key.name].desc()
            if self.explicit and images.c[key.name].nullable and not (values_only and position == 0):
                ordered = ordered.nulls_first() if key.ascending else ordered.nulls_last()
            yield ordered


def _halves(rows: sa.Select[Any], order: _Order, marker: Sequence[bool] | None) -> Iterator[sa.Select[Any]]:
    """
    Put rows in order: those without the first key, where it can be null, apart from the others, and only those that
    may come after the marker.
    """
    first, key = images.c[order.keys[0].name], order.keys[0]
    has_start = marker is not None and marker[0]
    if not first.nullable or marker is None or has_start or key.ascending:
        values = rows.where(first.is_not(None)) if first.nullable else rows
        if has_start:
            start = _of_marker(key)
            values = values.where(first >= start if key.ascending else first <= start)
        yield values.order_by(*order.of(images.c, values_only=True))
    if first.nullable and not (has_start and key.ascending):
        yield rows.where(first.is_(None)).order_by(*evolve(order, keys=order.keys[1:]).of(images.c))


def _marker(connection: sa.Connection, query: ImageQuery, marker: str) -> Image:
    try:
        image = find(connection, marker.lower(), query.viewer.project_id)
    except ImageNotFound:
        image = None
    if image is None or not could_see(query.viewer, image):
        raise InvalidQuery(f"the marker {marker!r} is not an image")
    return image


def _after(keys: Sequence[SortKey], marker: Sequence[bool]) -> sa.ColumnElement[bool]:
    """
    Select what comes after the marker: equal in the first so many keys, and beyond it in the next.

    :param marker: Which of the keys it has a value for.
    """
    choices = []
    equal: list[sa.ColumnElement[bool]] = []
    for key, has_value in zip(keys, marker, strict=True):
        column = images.c[key.name]
        choices.append(sa.and_(*equal, _beyond(column, key, has_value=has_value)))
        equal.append(column == _of_marker(key) if has_value else column.is_(None))
    return sa.or_(*choices)


def _beyond(column: sa.Column[Any], key: SortKey, *, has_value: bool) -> sa.ColumnElement[bool]:
    if not has_value:
        return column.is_not(None) if key.ascending else sa.false()
    if key.ascending:
        return column > _of_marker(key)
    less = column < _of_marker(key)
    return less | column.is_(None) if column.nullable else less


def _of_marker(key: SortKey) -> sa.BindParameter[Any]:
    return sa.bindparam(of_marker(key), type_=images.c[key.name].type)
