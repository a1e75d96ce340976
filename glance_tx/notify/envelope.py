"""
Messages as oslo.messaging writes them, which is what consumers of OpenStack notifications read.
"""

from __future__ import annotations

import json
from datetime import UTC
from typing import Any

from glance_tx.notify.interfaces import Message

__all__ = ["notification", "oslo_envelope"]


def notification(message: Message) -> dict[str, Any]:
    """
    Make the notification: what happened, when, and to whom.
    """
    event = message.event
    return {
        "message_id": message.message_id,
        "publisher_id": message.publisher_id,
        "event_type": event.event_type,
        "priority": event.priority,
        "timestamp": message.timestamp.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
        "payload": event.payload,
    }


def oslo_envelope(message: Message) -> bytes:
    """
    Make the body of a broker's message: format 2.0 of oslo.messaging, a JSON text within JSON.

    What oslo.messaging calls the context travels under names of its own, as it does between OpenStack services.
    """
    event = message.event
    context = {"_context_user_id": event.user_id, "_context_project_id": event.project_id}
    inner = {**context, "_unique_id": message.message_id.replace("-", ""), **notification(message)}
    return json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(inner)}).encode()
