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

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from attrs import evolve, frozen

from glance_tx.db import records
from glance_tx.db.conditions import narrowing
from glance_tx.db.coverage import parts
from glance_tx.db.queries import SortKey, could_see, sort_keys
from glance_tx.db.tables import images
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
    marker = None if query.marker is None else _marker(connection, query, query.marker)
    conditions = [*narrowing(query), *(() if marker is None else (_after(keys, marker),))]
    order = _Order(keys, explicit=connection.dialect.name == "postgresql")
    # See Note [Lists along indexes].
    heads: list[sa.Select[Any]] = []
    for part in parts(query):
        rows = part.rows.where(*conditions)
        # An order would tempt engines to look along its index for what is found by its id.
        heads += [half.limit(query.limit) for half in _halves(rows, order, marker)] if part.in_order else [rows]
    if not heads:
        return []
    page = heads[0]
    if len(heads) > 1:
        # An image may be in several parts. It counts once.
        together = sa.union(*(sa.select(head.subquery()) for head in heads)).subquery()
        page = sa.select(together).order_by(*order.of(together.c)).limit(query.limit)
    listed = records.with_parts(connection, connection.execute(page).all())
    return records.for_project(connection, listed, query.viewer.project_id)


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


def _halves(rows: sa.Select[Any], order: _Order, marker: Image | None) -> Iterator[sa.Select[Any]]:
    """
    Put rows in order: those without the first key, where it can be null, apart from the others, and only those that
    may come after the marker.
    """
    first, key = images.c[order.keys[0].name], order.keys[0]
    start = getattr(marker, key.name, None)
    if not first.nullable or marker is None or start is not None or key.ascending:
        values = rows.where(first.is_not(None)) if first.nullable else rows
        if start is not None:
            values = values.where(first >= start if key.ascending else first <= start)
        yield values.order_by(*order.of(images.c, values_only=True))
    if first.nullable and (start is None or not key.ascending):
        yield rows.where(first.is_(None)).order_by(*evolve(order, keys=order.keys[1:]).of(images.c))


def _marker(connection: sa.Connection, query: ImageQuery, marker: str) -> Image:
    try:
        image = records.find(connection, marker.lower(), query.viewer.project_id)
    except ImageNotFound:
        image = None
    if image is None or not could_see(query.viewer, image):
        raise InvalidQuery(f"the marker {marker!r} is not an image")
    return image


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
