"""
What the schemas of several kinds of things are made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["UUID_PATTERN", "collection", "read_only", "text"]

UUID_PATTERN: Final = "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$"

_STRING: Final[Mapping[str, str]] = {"type": "string"}


def text(description: str, longest: int | None = None, *, null: bool = False) -> dict[str, Any]:
    """
    Describe a text.

    :param longest: Most characters it may have.
    :param null: Whether it may be missing, as JSON's ``null``.
    """
    schema: dict[str, Any] = {"type": ["null", "string"] if null else "string", "description": description}
    return schema if longest is None else schema | {"maxLength": longest}


def read_only(schema: Mapping[str, Any]) -> dict[str, Any]:
    """
    Mark what no client may set.
    """
    return {**schema, "readOnly": True}


def collection(name: str, items: Mapping[str, Any], *, pages: bool = True) -> dict[str, Any]:
    """
    Describe a list of things, in the object that stands around it.

    :param name: Of the list in that object, and of the schema.
    :param items: How the list itself is described.
    :param pages: Whether it comes in pages that link to each other.
    """
    links = ("first", "next") if pages else ()
    return {
        "name": name,
        "properties": {name: dict(items), **dict.fromkeys(links, _STRING), "schema": _STRING},
        "links": [
            *({"rel": link, "href": f"{{{link}}}"} for link in links),
            {"rel": "describedby", "href": "{schema}"},
        ],
    }
