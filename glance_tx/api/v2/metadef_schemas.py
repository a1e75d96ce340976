"""
Schemas of metadata definitions (contract sections 1.4 and 4.5).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from glance_tx.api.v2.schema_parts import collection, read_only, text

__all__ = ["METADEF_SCHEMAS"]

_NAME_LENGTH: Final = 80
_DESCRIPTION_LENGTH: Final = 500
_OWNER_LENGTH: Final = 255

_COUNT: Final = {"$ref": "#/definitions/positiveIntegerDefault0"}
_LIMIT: Final = {"$ref": "#/definitions/positiveInteger"}
_NAMES: Final = {"$ref": "#/definitions/stringArray"}
_DATES: Final[Mapping[str, Any]] = {
    "created_at": read_only({**text("When it was defined."), "format": "date-time"}),
    "updated_at": read_only({**text("When that last changed."), "format": "date-time"}),
}
_TYPE: Final = {
    "type": "string",
    "enum": ["array", "boolean", "integer", "number", "object", "string", None],
    "description": "What its values are.",
}

_PROPERTY_FIELDS: Final[Mapping[str, Any]] = {
    "title": text("What people call it."),
    "description": text("What it means."),
    "type": _TYPE,
    "operators": {"type": "array", "items": {"type": "string"}, "description": "How values may be compared."},
    "required": _NAMES,
    "minimum": {"type": "number"},
    "maximum": {"type": "number"},
    "maxLength": _LIMIT,
    "minLength": _COUNT,
    "pattern": {"type": "string", "format": "regex", "description": "What its values look like."},
    "enum": {"type": "array", "description": "Which values there are."},
    "readonly": {"type": "boolean"},
    "confidential": {"type": "boolean", "description": "Whether its values are to be shown."},
    "default": {"description": "What it is where nobody says."},
    "items": {
        "type": "object",
        "properties": {"type": _TYPE, "enum": {"type": "array"}},
        "description": "What an array is made of.",
    },
    "maxItems": _LIMIT,
    "minItems": _COUNT,
    "uniqueItems": {"type": "boolean", "default": False},
    "additionalItems": {"type": "boolean"},
}

_DEFINITIONS: Final[Mapping[str, Any]] = {
    "positiveInteger": {"type": "integer", "minimum": 0},
    "positiveIntegerDefault0": {"allOf": [{"$ref": "#/definitions/positiveInteger"}, {"default": 0}]},
    "stringArray": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
    "property": {
        "type": "object",
        "additionalProperties": {
            "type": "object",
            "properties": _PROPERTY_FIELDS,
            "required": ["title", "type"],
        },
    },
}

_PROPERTIES: Final = {"$ref": "#/definitions/property"}
_OBJECT_FIELDS: Final[Mapping[str, Any]] = {
    "name": text("Names the object within its namespace.", _NAME_LENGTH),
    "description": text("What it means."),
    "required": _NAMES,
    "properties": _PROPERTIES,
}
_ASSOCIATION_FIELDS: Final[Mapping[str, Any]] = {
    "name": text("The type of resource, such as OS::Glance::Image.", _NAME_LENGTH),
    "prefix": text("What stands before the names of properties on such resources.", _NAME_LENGTH),
    "properties_target": text("What of such a resource the properties are for.", _NAME_LENGTH),
}
_LINKS_TO: Final[Mapping[str, Any]] = {"self": read_only(text("Its path.")), "schema": text("Path of this schema.")}

_NAMESPACE: Final[Mapping[str, Any]] = {
    "namespace": text("Names the namespace, among those of all projects.", _NAME_LENGTH),
    "display_name": text("What people call it.", _NAME_LENGTH),
    "description": text("What its definitions are about.", _DESCRIPTION_LENGTH),
    "visibility": {"type": "string", "enum": ["public", "private"], "description": "Who may see it."},
    "protected": {"type": "boolean", "description": "Whether it is kept from being deleted."},
    "owner": text("The project that owns it.", _OWNER_LENGTH),
    **_DATES,
    "self": read_only(text("Its path.")),
    "schema": read_only(text("Path of this schema.")),
    "resource_type_associations": {
        "type": "array",
        "items": {"type": "object", "properties": _ASSOCIATION_FIELDS, "required": ["name"]},
        "description": "Resources that the definitions are for.",
    },
    "properties": _PROPERTIES,
    "objects": {
        "type": "array",
        "items": {"type": "object", "properties": _OBJECT_FIELDS, "required": ["name"]},
        "description": "Properties that belong together.",
    },
    "tags": {
        "type": "array",
        "items": {"type": "object", "properties": {"name": text("The word.", _NAME_LENGTH)}, "required": ["name"]},
        "description": "Words for resources.",
    },
}


def _one(name: str, fields: Mapping[str, Any], required: list[str], *, definitions: bool) -> Mapping[str, Any]:
    schema = {"name": name, "properties": fields, "additionalProperties": False, "required": required}
    return schema | {"definitions": _DEFINITIONS} if definitions else schema


def _all(name: str, one: Mapping[str, Any], *, by_name: bool = False) -> Mapping[str, Any]:
    # References lead to the definitions of the whole document, so they move there.
    item = {key: value for key, value in one.items() if key != "definitions"}
    items = {"type": "object", "additionalProperties": item} if by_name else {"type": "array", "items": item}
    schema = collection(name, items)
    return schema | {"definitions": _DEFINITIONS} if "definitions" in one else schema


_ONE: Final[Mapping[str, Mapping[str, Any]]] = {
    "namespace": _one("namespace", _NAMESPACE, ["namespace"], definitions=True),
    "object": _one("object", {**_OBJECT_FIELDS, **_DATES, **_LINKS_TO}, ["name"], definitions=True),
    "property": _one(
        "property",
        {"name": text("Names the property within its namespace.", _NAME_LENGTH), **_PROPERTY_FIELDS},
        ["name", "title", "type"],
        definitions=True,
    ),
    "tag": _one("tag", {"name": text("The word.", _NAME_LENGTH), **_DATES}, ["name"], definitions=False),
    "resource_type": _one("resource_type_association", {**_ASSOCIATION_FIELDS, **_DATES}, ["name"], definitions=False),
}

METADEF_SCHEMAS: Final[Mapping[str, Mapping[str, Any]]] = {
    **_ONE,
    "namespaces": _all("namespaces", _ONE["namespace"]),
    "objects": _all("objects", _ONE["object"]),
    "properties": _all("properties", _ONE["property"], by_name=True),
    "tags": _all("tags", _ONE["tag"]),
    "resource_types": _all("resource_type_associations", _ONE["resource_type"]),
}
"""By the last part of the paths that they are served at."""
