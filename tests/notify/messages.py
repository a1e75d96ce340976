"""
Events and messages for tests.
"""

from __future__ import annotations

from datetime import UTC, datetime

from glance_tx.notify.interfaces import Event, Message, Priority

__all__ = ["MOMENT", "event", "message"]

MOMENT = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=UTC)


def event(event_type: str = "image.create", priority: Priority = "INFO", **payload: object) -> Event:
    return Event(event_type, payload, priority, "user-1", "project-1")


def message(
    event_type: str = "image.create", number: int = 1, priority: Priority = "INFO", **payload: object
) -> Message:
    name = f"00000000-0000-4000-8000-{number:012d}"
    return Message(name, "image.localhost", MOMENT, event(event_type, priority, **payload))
