"""
Which images a list is about, in SQL (the table under contract section 2.7).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import sqlalchemy as sa
from attrs import frozen
from sqlalchemy.ext.compiler import compiles

from glance_tx.db.tables import image_members, images
from glance_tx.domain.images import Visibility
from glance_tx.domain.interfaces import ImageQuery

__all__ = ["Part", "is_member", "parts"]


class _InOrder(sa.Join):
    """
    A join whose right side is looked up for each row of the left.
    """

    inherit_cache = True


@compiles(_InOrder, "sqlite")
def _in_order(join: _InOrder, compiler: Any, **options: Any) -> str:
    # SQLite, which knows nothing of how many rows there are of each kind, has this way of being told outright.
    left = compiler.process(join.left, **options)
    right = compiler.process(join.right, **options)
    return f"{left} CROSS JOIN {right} ON {compiler.process(join.onclause, **{**options, 'asfrom': False})}"


_BY_MEMBERSHIP: Final = sa.select(images).select_from(
    _InOrder(image_members, images, image_members.c.image_id == images.c.id)
)
_OF_EVERYBODY: Final = sa.select(images)
# MariaDB and MySQL would rather begin in the middle of all images than at the first of a project's.
_NARROW: Final = _OF_EVERYBODY.with_hint(
    images, "IGNORE INDEX (ix_images_listing, ix_images_listing_by_name)", "mysql"
).with_hint(images, "IGNORE INDEX (ix_images_listing, ix_images_listing_by_name)", "mariadb")


@frozen
class Part:
    """
    A part of what a list is about, which can be read along an index of its own.

    :param rows: Its images.
    :param in_order: Whether an index has them in order. The others are found by their ids.
    """

    rows: sa.Select[Any]
    in_order: bool = True


def parts(query: ImageQuery) -> Iterator[Part]:
    """
    Say which images the viewer's list is about, part by part. An image may be in several.
    """
    if query.viewer.is_admin:
        yield from _of_everybody(query)
        return
    visibility = images.c.visibility
    match query.visibility:
        case None:
            yield from _own(query)
            yield Part(_NARROW.where(visibility == Visibility.PUBLIC))
            yield from _shared(query)
        case "all":
            yield from _own(query)
            yield Part(_NARROW.where(visibility == Visibility.PUBLIC))
            yield Part(_NARROW.where(visibility == Visibility.COMMUNITY))
            yield from _shared(query)
        case Visibility.SHARED:
            yield from _own(query, Visibility.SHARED)
            yield from _shared(query)
        case Visibility.PRIVATE:
            yield from _own(query, Visibility.PRIVATE)
        case _:
            yield Part(_NARROW.where(visibility == query.visibility))


def is_member(project_id: str) -> sa.ColumnElement[bool]:
    """
    Select a project's memberships, removed ones left out.
    """
    return (image_members.c.member_id == project_id) & (image_members.c.deleted == sa.false())


def _own(query: ImageQuery, visibility: Visibility | None = None) -> Iterator[Part]:
    own = images.c.owner == query.viewer.project_id
    if query.viewer.project_id is None:
        return
    # As an expression, or SQLite looks through all the private images of the world instead of all those of a project.
    narrower = () if visibility is None else (images.c.visibility.concat("") == visibility,)
    yield Part(_NARROW.where(own, *narrower))


def _of_everybody(query: ImageQuery) -> Iterator[Part]:
    match query.visibility:
        case None:
            yield from _own(query)
            yield Part(_OF_EVERYBODY.where(images.c.visibility != Visibility.COMMUNITY))
        case "all":
            yield Part(_OF_EVERYBODY)
        case _:
            yield Part(_NARROW.where(images.c.visibility == query.visibility))


def _shared(query: ImageQuery) -> Iterator[Part]:
    """
    Select what is shared with the viewer's project.
    """
    if query.viewer.project_id is None:
        return
    shared = _BY_MEMBERSHIP.where(is_member(query.viewer.project_id), images.c.visibility == Visibility.SHARED)
    if query.member_status != "all":
        shared = shared.where(image_members.c.status == query.member_status)
    yield Part(shared, in_order=False)
