"""
What a list query means, apart from how it is carried out.

Lists are paged by key: a page begins after the values that its marker has for the sort keys, however many images came
or went meanwhile. ``created_at`` and ``id`` are added to break ties, as in stock Glance, and null counts as less than
any value, on every engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import frozen

from glance_tx.domain.errors import InvalidQuery
from glance_tx.domain.filters import Condition, OneOf
from glance_tx.domain.images import Image, Visibility
from glance_tx.domain.interfaces import ImageQuery, Viewer

__all__ = ["ATTRIBUTES", "SortKey", "conditions", "could_see", "sort_keys"]

ATTRIBUTES: Final = frozenset(
    {
        "checksum",
        "container_format",
        "created_at",
        "disk_format",
        "id",
        "min_disk",
        "min_ram",
        "name",
        "os_hash_algo",
        "os_hash_value",
        "owner",
        "protected",
        "size",
        "status",
        "updated_at",
        "virtual_size",
        "visibility",
    }
)
"""What a repository can filter by and sort by. Which of it clients may use is decided elsewhere."""

_EVERYBODYS: Final = frozenset({Visibility.PUBLIC, Visibility.COMMUNITY})


@frozen
class SortKey:
    """
    One attribute to sort by.
    """

    name: str
    ascending: bool


def sort_keys(query: ImageQuery) -> tuple[SortKey, ...]:
    """
    Complete a query's sort keys so that no two images are equal.

    Those that are added go the way of the others, and downwards where these disagree.

    :raises InvalidQuery: It is not sorted by attributes.
    """
    given = [SortKey(name, direction == "asc") for name, direction in query.sort]
    ascending = bool(given) and all(key.ascending for key in given)
    present = {key.name for key in given}
    for name in present:
        _require_known(name)
    return (*given, *(SortKey(name, ascending) for name in ("created_at", "id") if name not in present))


def conditions(query: ImageQuery) -> Iterator[Condition]:
    """
    Give a query's conditions, the ids in them in the lower case that ids are kept in.

    :raises InvalidQuery: One is about something else than an attribute.
    """
    for condition in query.filters:
        _require_known(condition.name)
        if condition.name == "id" and isinstance(condition, OneOf):
            ids = (value.lower() if isinstance(value, str) else value for value in condition.values)
            yield OneOf("id", frozenset(ids))
        else:
            yield condition


def _require_known(name: str) -> None:
    """
    Refuse what is no attribute.

    :raises InvalidQuery: It is none that a repository can filter or sort by.
    """
    if name not in ATTRIBUTES:
        raise InvalidQuery(f"images have no attribute {name!r} to list by")


def could_see(viewer: Viewer, image: Image) -> bool:
    """
    Tell whether a viewer could fetch an image by its id, and may therefore go on from it as a marker.
    """
    return (
        viewer.is_admin
        or image.visibility in _EVERYBODYS
        or image.owner is None  # stock's rule: whoever knows the id of an image without an owner may read it
        or image.owner == viewer.project_id
        or image.is_shared_with(viewer.project_id)
    )
