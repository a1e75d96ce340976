"""
Which images a list is about, in SQL (the table under contract section 2.7).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import sqlalchemy as sa
from attrs import frozen
from sqlalchemy.ext.compiler import compiles

from glance_tx.db.shapes import PROJECT_ID, Shape
from glance_tx.db.tables import image_members, images
from glance_tx.domain.images import Visibility

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


def parts(shape: Shape) -> Iterator[Part]:
    """
    Say which images a viewer's list is about, part by part. An image may be in several.
    """
    if shape.is_admin:
        yield from _of_everybody(shape)
        return
    visibility = images.c.visibility
    match shape.visibility:
        case None:
            yield from _own(shape)
            yield Part(_NARROW.where(visibility == Visibility.PUBLIC))
            yield from _shared(shape)
        case "all":
            yield from _own(shape)
            yield Part(_NARROW.where(visibility == Visibility.PUBLIC))
            yield Part(_NARROW.where(visibility == Visibility.COMMUNITY))
            yield from _shared(shape)
        case Visibility.SHARED:
            yield from _own(shape, Visibility.SHARED)
            yield from _shared(shape)
        case Visibility.PRIVATE:
            yield from _own(shape, Visibility.PRIVATE)
        case _:
            yield Part(_NARROW.where(visibility == shape.visibility))


def is_member() -> sa.ColumnElement[bool]:
    """
    Select the memberships of the viewer's project (parameter `PROJECT_ID`), removed ones left out.
    """
    member_id = image_members.c.member_id
    return (member_id == _project(member_id)) & (image_members.c.deleted == sa.false())


def _project(column: sa.Column[Any]) -> sa.BindParameter[Any]:
    return sa.bindparam(PROJECT_ID, type_=column.type)


def _own(shape: Shape, visibility: Visibility | None = None) -> Iterator[Part]:
    if not shape.has_project:
        return
    own = images.c.owner == _project(images.c.owner)
    # As an expression, or SQLite looks through all the private images of the world instead of all those of a project.
    narrower = () if visibility is None else (images.c.visibility.concat("") == visibility,)
    yield Part(_NARROW.where(own, *narrower))


def _of_everybody(shape: Shape) -> Iterator[Part]:
    match shape.visibility:
        case None:
            yield from _own(shape)
            yield Part(_OF_EVERYBODY.where(images.c.visibility != Visibility.COMMUNITY))
        case "all":
            yield Part(_OF_EVERYBODY)
        case _:
            yield Part(_NARROW.where(images.c.visibility == shape.visibility))


def _shared(shape: Shape) -> Iterator[Part]:
    """
    Select what is shared with the viewer's project.
    """
    if not shape.has_project:
        return
    shared = _BY_MEMBERSHIP.where(is_member(), images.c.visibility == Visibility.SHARED)
    if shape.member_status != "all":
        shared = shared.where(image_members.c.status == shape.member_status)
    yield Part(shared, in_order=False)
