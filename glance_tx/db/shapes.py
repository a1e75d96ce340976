"""
List queries without their values: the shape of a query decides what the statement is, its values go with it.

There are few shapes, so statements are put together and compiled once for each of them.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from attrs import frozen

from glance_tx.db.queries import SortKey, conditions, sort_keys
from glance_tx.domain.filters import Condition, OneOf
from glance_tx.domain.images import Image, Visibility
from glance_tx.domain.interfaces import ImageQuery
from glance_tx.domain.members import MemberStatus

__all__ = ["LIMIT", "PROJECT_ID", "Among", "Shape", "Within", "lifted", "of_marker", "of_property", "of_tag"]

PROJECT_ID = "viewer_project_id"
"""Name of the parameter for the viewer's project."""
LIMIT = "page_limit"
"""Name of the parameter for the length of a page."""


@frozen
class Among:
    """
    A `OneOf` without its values.

    :param attribute: What is compared.
    :param numbers: The names of the parameters with what it may be, and whether they are numbers.
    :param or_null: It may be unset.
    """

    attribute: str
    parameters: tuple[tuple[str, bool], ...]
    or_null: bool


@frozen
class Within:
    """
    A `Between` without its values.

    :param attribute: What is compared.
    :param since: The parameter with the least value that is within; ``None`` where any is.
    :param until: The parameter with the least value that is beyond.
    :param is_number: Whether these are numbers; they are times otherwise.
    """

    attribute: str
    since: str | None
    until: str | None
    is_number: bool
    outside: bool


Narrowing: TypeAlias = Among | Within


@frozen
class Shape:
    """
    What a list's statement depends on.

    :param is_admin: The viewer sees the images of all projects.
    :param has_project: The viewer belongs to a project.
    :param properties: How many properties are asked for.
    :param tags: How many tags are asked for.
    :param keys: What the list is sorted by, ties broken.
    :param marker: For each of the keys whether the image that the page begins after has a value for it; ``None`` for
        a list's first page.
    """

    is_admin: bool
    has_project: bool
    visibility: Visibility | Literal["all"] | None
    member_status: MemberStatus | Literal["all"]
    os_hidden: bool
    narrowing: tuple[Narrowing, ...]
    properties: int
    tags: int
    keys: tuple[SortKey, ...]
    marker: tuple[bool, ...] | None


def of_property(number: int) -> tuple[str, str]:
    """
    Name the parameters for the name and the value of a property that is asked for.
    """
    return f"property_name_{number}", f"property_value_{number}"


def of_tag(number: int) -> str:
    """
    Name the parameter for a tag that is asked for.
    """
    return f"tag_{number}"


def of_marker(key: SortKey) -> str:
    """
    Name the parameter for what the marker has for a sort key.
    """
    return f"marker_{key.name}"


def lifted(query: ImageQuery, marker: Image | None) -> tuple[Shape, dict[str, Any]]:
    """
    Take a query apart into its shape and its values, by the names of their parameters.

    :param marker: The image of the query's marker, where it has one.
    :raises InvalidQuery: It is about something else than attributes.
    """
    viewer, keys = query.viewer, sort_keys(query)
    values: dict[str, Any] = {LIMIT: query.limit, PROJECT_ID: viewer.project_id}
    narrowing = tuple(_lifted(number, condition, values) for number, condition in enumerate(conditions(query)))
    for number, pair in enumerate(sorted(query.properties.items())):
        values.update(zip(of_property(number), pair, strict=True))
    for number, tag in enumerate(sorted(query.tags)):
        values[of_tag(number)] = tag
    if marker is not None:
        values.update((of_marker(key), getattr(marker, key.name)) for key in keys)
    shape = Shape(
        is_admin=viewer.is_admin,
        has_project=viewer.project_id is not None,
        visibility=query.visibility,
        member_status=query.member_status,
        os_hidden=query.os_hidden,
        narrowing=narrowing,
        properties=len(query.properties),
        tags=len(query.tags),
        keys=keys,
        marker=None if marker is None else tuple(values[of_marker(key)] is not None for key in keys),
    )
    return shape, values


def _lifted(number: int, condition: Condition, values: dict[str, Any]) -> Narrowing:
    if isinstance(condition, OneOf):
        given = {f"is_{number}_{n}": v for n, v in enumerate(sorted(condition.values - {None}, key=str))}
        values.update(given)
        parameters = tuple((name, _is_number(value)) for name, value in given.items())
        return Among(condition.name, parameters, or_null=None in condition.values)
    limits = {f"since_{number}": condition.since, f"until_{number}": condition.until}
    values.update(limits)
    since, until = (name if value is not None else None for name, value in limits.items())
    is_number = any(_is_number(value) for value in limits.values())
    return Within(condition.name, since, until, is_number, condition.outside)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
