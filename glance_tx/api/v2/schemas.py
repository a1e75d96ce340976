"""
JSON schemas of images, for clients that read them (contract sections 1.4 and 2.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from glance_tx.domain.images import ImageStatus
from glance_tx.domain.values import ImageRules, OperatorProperty
from glance_tx.web.app import App
from glance_tx.web.callers import Callers
from glance_tx.web.request import Request
from glance_tx.web.response import Response, json_response

__all__ = ["SchemaRoutes", "image_schema", "images_schema"]

_UUID_PATTERN: Final = "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$"
_GREATEST: Final = 2**31 - 1


def _text(description: str, longest: int | None = None, *, null: bool = False) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": ["null", "string"] if null else "string", "description": description}
    return schema if longest is None else schema | {"maxLength": longest}


def _read_only(schema: dict[str, Any]) -> dict[str, Any]:
    return schema | {"readOnly": True}


def _choice(description: str, values: Sequence[str]) -> dict[str, Any]:
    # null comes first: clients read the enumeration in order.
    return {"type": ["null", "string"], "enum": [None, *values], "description": description}


def _minimum(description: str) -> dict[str, Any]:
    return {"type": "integer", "minimum": 0, "maximum": _GREATEST, "description": description}


def _base_properties(rules: ImageRules) -> dict[str, Any]:
    return {
        "id": {"type": "string", "pattern": _UUID_PATTERN, "description": "Names the image, for ever."},
        "name": _text("What people call the image.", 255, null=True),
        "status": _read_only(
            {
                "type": "string",
                "enum": [str(status) for status in ImageStatus],
                "description": "Where the image stands.",
            }
        ),
        "visibility": {
            "type": "string",
            "enum": ["community", "public", "private", "shared"],
            "description": "Who may see the image.",
        },
        "protected": {"type": "boolean", "description": "Whether the image is kept from being deleted."},
        "os_hidden": {"type": "boolean", "description": "Whether the default list leaves the image out."},
        "checksum": _read_only(_text("MD5 of the data, in hex.", 32, null=True)),
        "os_hash_algo": _read_only(_text("How os_hash_value was computed.", 64, null=True)),
        "os_hash_value": _read_only(_text("Digest of the data by os_hash_algo, in hex.", 128, null=True)),
        "owner": _text("The project that owns the image.", 255, null=True),
        "size": _read_only({"type": ["null", "integer"], "description": "Bytes of data."}),
        "virtual_size": _read_only({"type": ["null", "integer"], "description": "Bytes of the disk within."}),
        "container_format": _choice("What envelopes the disk.", rules.container_formats),
        "disk_format": _choice("How the disk is laid out.", rules.disk_formats),
        "created_at": _read_only(_text("When the image was created.")),
        "updated_at": _read_only(_text("When the image last changed.")),
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 255}, "description": "Words for the image."},
        "direct_url": _read_only(_text("Where the data lies, if this service shows it.")),
        "min_ram": _minimum("MiB of memory that a server made of the image needs."),
        "min_disk": _minimum("GiB of disk that a server made of the image needs."),
        "self": _read_only(_text("Path of the image.")),
        "file": _read_only(_text("Path of the image's data.")),
        "stores": _read_only(_text("Stores that hold the data.")),
        "schema": _read_only(_text("Path of this schema.")),
        "locations": {"type": "array", "items": _location(), "description": "Where the data lies, and what of it."},
    }


def _location() -> dict[str, Any]:
    facts = {
        "checksum": _text("MD5 of the data, in hex.", 32),
        "os_hash_algo": _text("How os_hash_value was computed.", 64),
        "os_hash_value": _text("Digest of the data by os_hash_algo, in hex.", 128),
    }
    return {
        "type": "object",
        "properties": {
            "url": {"type": "string", "maxLength": 255},
            "metadata": {"type": "object"},
            "validation_data": {
                "type": "object",
                "writeOnly": True,
                "additionalProperties": False,
                "properties": facts,
                "required": ["os_hash_algo", "os_hash_value"],
                "description": "What the data there must be.",
            },
        },
        "required": ["url", "metadata"],
    }


def _operator_property(rule: OperatorProperty) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": ["null", "string"] if rule.nullable else "string", "is_base": False}
    if rule.description:
        schema["description"] = rule.description
    if rule.pattern is not None:
        schema["pattern"] = f"^{rule.pattern}$"
    if rule.allowed is not None:
        schema["enum"] = list(rule.allowed)
    return schema


def image_schema(rules: ImageRules) -> dict[str, Any]:
    """
    Make the schema of one image.
    """
    operator = {name: _operator_property(rule) for name, rule in rules.operator_properties.items()}
    return {
        "name": "image",
        "properties": _base_properties(rules) | operator,
        "additionalProperties": {"type": "string"},
        "links": [
            {"rel": "self", "href": "{self}"},
            {"rel": "enclosure", "href": "{file}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    }


def images_schema(rules: ImageRules) -> dict[str, Any]:
    """
    Make the schema of a list of images.
    """
    return {
        "name": "images",
        "properties": {
            "images": {"type": "array", "items": image_schema(rules)},
            "first": {"type": "string"},
            "next": {"type": "string"},
            "schema": {"type": "string"},
        },
        "links": [
            {"rel": "first", "href": "{first}"},
            {"rel": "next", "href": "{next}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    }


class SchemaRoutes:
    """
    The schemas, for anybody with a token.
    """

    def __init__(self, callers: Callers, rules: ImageRules) -> None:
        self._callers = callers
        self._image = image_schema(rules)
        self._images = images_schema(rules)

    def mount(self, app: App) -> None:
        """
        Add the routes to an application.
        """
        app.add("GET", "/v2/schemas/image", self.image)
        app.add("GET", "/v2/schemas/images", self.images)

    async def image(self, request: Request) -> Response:
        """
        ``GET /v2/schemas/image``.
        """
        await self._callers.of(request)
        return json_response(self._image)

    async def images(self, request: Request) -> Response:
        """
        ``GET /v2/schemas/images``.
        """
        await self._callers.of(request)
        return json_response(self._images)
