"""
JSON schemas, for clients that read them (contract sections 1.4 and 2.2): those of images, and routes to all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from glance_tx.api.v2.member_schemas import MEMBER, MEMBERS
from glance_tx.api.v2.metadef_schemas import METADEF_SCHEMAS
from glance_tx.api.v2.schema_parts import UUID_PATTERN, collection, read_only, text
from glance_tx.api.v2.task_schemas import TASK, TASKS
from glance_tx.domain.images import ImageStatus
from glance_tx.domain.values import ImageRules
from glance_tx.web.app import App, Handler
from glance_tx.web.callers import Callers
from glance_tx.web.request import Request
from glance_tx.web.response import Response, json_response

__all__ = ["SchemaRoutes", "image_schema", "images_schema"]

_GREATEST: Final = 2**31 - 1


def _choice(description: str, values: Sequence[str]) -> dict[str, Any]:
    # null comes first: clients read the enumeration in order.
    return {"type": ["null", "string"], "enum": [None, *values], "description": description}


def _minimum(description: str) -> dict[str, Any]:
    return {"type": "integer", "minimum": 0, "maximum": _GREATEST, "description": description}


def _base_properties(rules: ImageRules) -> dict[str, Any]:
    return {
        "id": {"type": "string", "pattern": UUID_PATTERN, "description": "Names the image, for ever."},
        "name": text("What people call the image.", 255, null=True),
        "status": read_only(
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
        "checksum": read_only(text("MD5 of the data, in hex.", 32, null=True)),
        "os_hash_algo": read_only(text("How os_hash_value was computed.", 64, null=True)),
        "os_hash_value": read_only(text("Digest of the data by os_hash_algo, in hex.", 128, null=True)),
        "owner": text("The project that owns the image.", 255, null=True),
        "size": read_only({"type": ["null", "integer"], "description": "Bytes of data."}),
        "virtual_size": read_only({"type": ["null", "integer"], "description": "Bytes of the disk within."}),
        "container_format": _choice("What envelopes the disk.", rules.container_formats),
        "disk_format": _choice("How the disk is laid out.", rules.disk_formats),
        "created_at": read_only(text("When the image was created.")),
        "updated_at": read_only(text("When the image last changed.")),
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 255}, "description": "Words for the image."},
        "direct_url": read_only(text("Where the data lies, if this service shows it.")),
        "min_ram": _minimum("MiB of memory that a server made of the image needs."),
        "min_disk": _minimum("GiB of disk that a server made of the image needs."),
        "self": read_only(text("Path of the image.")),
        "file": read_only(text("Path of the image's data.")),
        "stores": read_only(text("Stores that hold the data.")),
        "schema": read_only(text("Path of this schema.")),
        "locations": {"type": "array", "items": _location(), "description": "Where the data lies, and what of it."},
    }


def _location() -> dict[str, Any]:
    facts = {
        "checksum": text("MD5 of the data, in hex.", 32),
        "os_hash_algo": text("How os_hash_value was computed.", 64),
        "os_hash_value": text("Digest of the data by os_hash_algo, in hex.", 128),
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


def image_schema(rules: ImageRules) -> dict[str, Any]:
    """
    Make the schema of one image.
    """
    operator = {name: {**rule.schema, "is_base": False} for name, rule in rules.operator_properties.items()}
    required = {"required": sorted(rules.required)} if rules.required else {}
    return required | {
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
    return collection("images", {"type": "array", "items": image_schema(rules)})


class SchemaRoutes:
    """
    The schemas, for anybody with a token.
    """

    def __init__(self, callers: Callers, rules: ImageRules) -> None:
        self._callers = callers
        self._schemas: Mapping[str, Mapping[str, Any]] = {
            "image": image_schema(rules),
            "images": images_schema(rules),
            "member": MEMBER,
            "members": MEMBERS,
            "task": TASK,
            "tasks": TASKS,
            **{f"metadefs/{name}": schema for name, schema in METADEF_SCHEMAS.items()},
        }

    def mount(self, app: App) -> None:
        """
        Add the routes to an application.
        """
        for name, schema in self._schemas.items():
            app.add("GET", f"/v2/schemas/{name}", self._route(schema))

    def _route(self, schema: Mapping[str, Any]) -> Handler:
        # A schema does not change: it is written once, and its bytes go out every time.
        response = json_response(schema)

        async def show(request: Request) -> Response:
            await self._callers.of(request)
            return response

        return show
