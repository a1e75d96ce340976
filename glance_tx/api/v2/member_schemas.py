"""
Schemas of an image's members (contract section 1.4).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from glance_tx.api.v2.schema_parts import UUID_PATTERN, collection, text

__all__ = ["MEMBER", "MEMBERS"]

MEMBER: Final[Mapping[str, Any]] = {
    "name": "member",
    "properties": {
        "member_id": text("The project that the image is shared with."),
        "image_id": {"type": "string", "pattern": UUID_PATTERN, "description": "The image."},
        "status": {
            "type": "string",
            "enum": ["pending", "accepted", "rejected"],
            "description": "What the project made of it.",
        },
        "created_at": text("When the image was shared."),
        "updated_at": text("When that last changed."),
        "schema": text("Path of this schema."),
    },
}
"""One project that an image is shared with."""

MEMBERS: Final[Mapping[str, Any]] = collection("members", {"type": "array", "items": MEMBER}, pages=False)
"""All of them, which never come in pages."""
