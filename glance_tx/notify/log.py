"""
Notifications in the log.
"""

from __future__ import annotations

import json

from twisted.logger import Logger

from glance_tx.notify.envelope import notification
from glance_tx.notify.interfaces import Message

__all__ = ["LogSink"]


class LogSink:
    """
    Writes every message as a line of the log, with the notification in JSON.
    """

    _log = Logger()

    def put(self, message: Message) -> None:
        """
        Log a message.
        """
        self._log.info(
            "notification {event_type}: {notification}",
            event_type=message.event.event_type,
            notification=json.dumps(notification(message), ensure_ascii=False),
        )
