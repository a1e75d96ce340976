"""
What callers may ask of a list of images.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from glance_tx.domain.errors import InvalidQuery
from glance_tx.domain.filters import OneOf
from glance_tx.domain.interfaces import ImageQuery
from glance_tx.domain.values import flaw_of_text

__all__ = ["EQUALS", "NUMBERS", "SORT_KEYS", "TIMES", "check_query"]

NUMBERS: Final = frozenset({"min_disk", "min_ram", "size", "virtual_size"})
"""Whole numbers, by whose limits a list can be narrowed."""

TIMES: Final = frozenset({"created_at", "updated_at"})
"""Times, by whose limits a list can be narrowed."""

EQUALS: Final = frozenset(
    {
        "checksum",
        "container_format",
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
        "virtual_size",
    }
)
"""Base attributes whose value a list can be narrowed by (contract section 2.7)."""

SORT_KEYS: Final = frozenset(
    {"name", "status", "container_format", "disk_format", "size", "id", "created_at", "updated_at"}
)
"""Attributes that a list can be sorted by."""


def check_query(query: ImageQuery) -> None:
    """
    Refuse what no list can be narrowed or sorted by, and texts that no database takes.

    :raises InvalidQuery: There is such a thing.
    """
    if query.limit < 0:
        raise InvalidQuery("the limit must not be negative")
    for condition in query.filters:
        if condition.name not in (EQUALS if isinstance(condition, OneOf) else NUMBERS | TIMES):
            raise InvalidQuery(f"a list cannot be filtered by {condition.name!r}")
    for name, _ in query.sort:
        if name not in SORT_KEYS:
            raise InvalidQuery(f"a list cannot be sorted by {name!r}")
    for text in _texts(query):
        flaw = flaw_of_text(text)
        if flaw is not None:
            raise InvalidQuery(f"the value {text!r} {flaw}")


def _texts(query: ImageQuery) -> Iterator[str]:
    for condition in query.filters:
        if isinstance(condition, OneOf):
            yield from (value for value in condition.values if isinstance(value, str))
    yield from query.properties
    yield from query.properties.values()
    yield from query.tags
    if query.marker is not None:
        yield query.marker
