"""
JSON patch documents, in the two dialects that the Image API has (contract section 2.5).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from glance_tx.domain.changes import Add, Operation, Remove, Replace
from glance_tx.web.errors import BadRequest

__all__ = ["NEWER_PATCH", "OLDER_PATCH", "PATCH_MEDIA_TYPES", "parse_patch"]

NEWER_PATCH: Final = "application/openstack-images-v2.1-json-patch"
"""Operations as RFC 6902 has them: ``{"op": "add", "path": "/name", "value": ...}``."""

OLDER_PATCH: Final = "application/openstack-images-v2.0-json-patch"
"""Operations by name: ``{"add": "/name", "value": ...}``. Its ``add`` does not overwrite."""

PATCH_MEDIA_TYPES: Final = (NEWER_PATCH, OLDER_PATCH)

_OPERATIONS: Final = ("add", "replace", "remove")
_BROKEN_ESCAPE: Final = re.compile("~(?![01])")


def parse_patch(document: object, media_type: str) -> Sequence[Operation]:
    """
    Read a patch.

    :param media_type: One of `PATCH_MEDIA_TYPES`.
    :raises BadRequest: It is no patch of that dialect.
    """
    if not isinstance(document, list):
        raise BadRequest("a patch must be a list of operations")
    split = _newer if media_type == NEWER_PATCH else _older
    return [_operation(*split(element), element) for element in document if _is_object(element)]


def _is_object(element: object) -> bool:
    if not isinstance(element, dict):
        raise BadRequest("each operation of a patch must be an object")
    return True


def _newer(element: dict[str, Any]) -> tuple[str, object]:
    name = element.get("op")
    if name not in _OPERATIONS:
        raise BadRequest(f"an operation's 'op' must be one of {', '.join(_OPERATIONS)}, not {name!r}")
    if "path" not in element:
        raise BadRequest(f"the operation {name!r} lacks its 'path'")
    return name, element["path"]


def _older(element: dict[str, Any]) -> tuple[str, object]:
    names = [name for name in _OPERATIONS if name in element]
    if len(names) != 1:
        raise BadRequest(f"an operation must have exactly one of {', '.join(_OPERATIONS)}")
    return names[0], element[names[0]]


def _operation(name: str, pointer: object, element: dict[str, Any]) -> Operation:
    path = _path(pointer)
    if name == "remove":
        return Remove(path)
    if "value" not in element:
        raise BadRequest(f"the operation {name!r} lacks its 'value', on {pointer!r}")
    return (Add if name == "add" else Replace)(path, element["value"])


def _path(pointer: object) -> tuple[str, ...]:
    """
    Take a JSON pointer (RFC 6901) apart.
    """
    # What is wrong comes first: of a long text the end is not quoted.
    if not isinstance(pointer, str) or not pointer.startswith("/"):
        raise BadRequest(f"a path must be a text that begins with a slash, not {pointer!r}")
    if "//" in pointer or pointer.endswith("/"):
        raise BadRequest(f"a path must not have an empty part, as has {pointer!r}")
    if _BROKEN_ESCAPE.search(pointer):
        raise BadRequest(f"a tilde in a path must be ~0 or ~1, unlike in {pointer!r}")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/"))
