"""
Schemas of tasks (contract section 1.4).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from glance_tx.api.v2.schema_parts import UUID_PATTERN, collection, text

__all__ = ["TASK", "TASKS"]

_ID: Final = {"type": "string", "pattern": UUID_PATTERN}

_SHORT: Final[Mapping[str, Any]] = {
    "id": {**_ID, "description": "Names the task."},
    "type": {"type": "string", "enum": ["import"], "description": "What is done."},
    "status": {
        "type": "string",
        "enum": ["pending", "processing", "success", "failure"],
        "description": "How far it is.",
    },
    "owner": text("The project that asked for it."),
    "expires_at": text("From when on it is forgotten.", null=True),
    "created_at": text("When it was asked for."),
    "updated_at": text("When it last went on."),
    "image_id": text("The image that it is about.", null=True),
    "request_id": text("The request that asked for it.", null=True),
    "user_id": text("Who asked for it.", null=True),
    "self": text("Path of the task."),
    "schema": text("Path of this schema."),
}

_LONG: Final[Mapping[str, Any]] = {
    "input": {"type": ["null", "object"], "description": "What it works with."},
    "result": {"type": ["null", "object"], "description": "What came of it."},
    "message": text("What there is to say about it.", null=True),
}

TASK: Final[Mapping[str, Any]] = {"name": "task", "properties": {**_SHORT, **_LONG}}
"""One task."""

TASKS: Final[Mapping[str, Any]] = collection(
    "tasks", {"type": "array", "items": {"name": "task", "properties": _SHORT}}, pages=False
)
"""A list of tasks, which leaves out what they work with and what came of it."""
