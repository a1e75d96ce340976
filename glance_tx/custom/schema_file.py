"""
The file ``schema-image.json``: which values custom properties may have.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from glance_tx.domain.errors import BadPropertySchema
from glance_tx.domain.operator_properties import SHIPPED_PROPERTIES, OperatorProperty
from glance_tx.domain.values import READ_ONLY, SETTABLE, is_reserved
from glance_tx.settings import Problem, SettingsError

__all__ = ["CustomProperties", "load_properties"]

_SYSTEM_FOLDER: Final = Path("/etc/glance")
_NAME: Final = "schema-image.json"


@frozen
class CustomProperties:
    """
    What a file says.

    :param properties: By name.
    :param required: What an image must have.
    """

    properties: Mapping[str, OperatorProperty] = field(default=SHIPPED_PROPERTIES)
    required: frozenset[str] = frozenset()


def load_properties(folders: Sequence[Path], system_folder: Path = _SYSTEM_FOLDER) -> CustomProperties:
    """
    Read the operator's file, if there is one (contract section 2.2). Blocks: call it before the reactor runs.

    :param folders: Where the configuration files lie.
    :return: What the first such file says; what stock's own does where there is none.
    :raises SettingsError: It cannot be read, or used.
    """
    for folder in (*folders, system_folder):
        path = folder / _NAME
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            continue
        except OSError as error:
            raise _unusable(path, f"cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise _unusable(path, "is not text in UTF-8") from error
        return _parse(path, text)
    return CustomProperties()


def _parse(path: Path, text: str) -> CustomProperties:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _unusable(path, f"is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise _unusable(path, "must be an object: names of properties with their schemas")
    required: object = []
    # A property may be called so, too; its schema holds no schemas.
    if isinstance(inner := document.get("properties"), dict) and all(isinstance(one, dict) for one in inner.values()):
        required = document.get("required", [])
        document = inner
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise _unusable(path, "'required' must be a list of names")
    problems = list(_problems(document, required))
    if problems:
        raise SettingsError(tuple(Problem(problem, file=str(path)) for problem in problems))
    return CustomProperties({name: OperatorProperty(schema) for name, schema in document.items()}, frozenset(required))


def _problems(document: Mapping[str, Any], required: Sequence[str]) -> Iterator[str]:
    for name, schema in document.items():
        if name in READ_ONLY | SETTABLE or is_reserved(name):
            yield f"property {name!r} is one that images have anyway, or a reserved name"
        elif not isinstance(schema, dict):
            yield f"property {name!r} must be an object: a JSON schema"
        else:
            try:
                OperatorProperty(schema)
            except BadPropertySchema as error:
                yield f"property {name!r}: {error}"
    for name in required:
        if name in READ_ONLY or is_reserved(name):
            yield f"'required' names {name!r}, which no client can set"


def _unusable(path: Path, reason: str) -> SettingsError:
    return SettingsError((Problem(reason, file=str(path)),))
