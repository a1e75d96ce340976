"""
Which images a list is about, in SQL (the table under contract section 2.7).
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from glance_tx.db.tables import image_members, images
from glance_tx.domain.images import Visibility
from glance_tx.domain.interfaces import ImageQuery

__all__ = ["alternatives", "is_member"]


def alternatives(query: ImageQuery) -> Sequence[sa.ColumnElement[bool]]:
    """
    Select the images that the viewer's list is about: those that meet one condition or another.

    Each of them can be read along an index of its own. An image may meet several.
    """
    if query.viewer.is_admin:
        return _of_everybody(query)
    project_id, visibility = query.viewer.project_id, images.c.visibility
    own = sa.false() if project_id is None else images.c.owner == project_id
    match query.visibility:
        case None:
            return [own, visibility == Visibility.PUBLIC, *_shared(query)]
        case "all":
            return [own, visibility.in_([Visibility.PUBLIC, Visibility.COMMUNITY]), *_shared(query)]
        case Visibility.SHARED:
            return [own & (visibility == Visibility.SHARED), *_shared(query)]
        case Visibility.PRIVATE:
            return [own & (visibility == Visibility.PRIVATE)]
        case _:
            return [visibility == query.visibility]


def is_member(project_id: str) -> sa.ColumnElement[bool]:
    """
    Select a project's memberships, removed ones left out.
    """
    return (image_members.c.member_id == project_id) & (image_members.c.deleted == sa.false())


def _of_everybody(query: ImageQuery) -> Sequence[sa.ColumnElement[bool]]:
    match query.visibility:
        case None:
            project_id, not_community = query.viewer.project_id, images.c.visibility != Visibility.COMMUNITY
            return [not_community] if project_id is None else [images.c.owner == project_id, not_community]
        case "all":
            return [sa.true()]
        case _:
            return [images.c.visibility == query.visibility]


def _shared(query: ImageQuery) -> Sequence[sa.ColumnElement[bool]]:
    """
    Select what is shared with the viewer's project. The subquery does not depend on the image: engines run it once.
    """
    if query.viewer.project_id is None:
        return []
    memberships = sa.select(image_members.c.image_id).where(is_member(query.viewer.project_id))
    if query.member_status != "all":
        memberships = memberships.where(image_members.c.status == query.member_status)
    return [(images.c.visibility == Visibility.SHARED) & images.c.id.in_(memberships)]
