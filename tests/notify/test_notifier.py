"""
Events become messages, for those who want them.
"""

from __future__ import annotations

import json

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from glance_tx.notify.interfaces import INotifier, Message
from glance_tx.notify.log import LogSink
from glance_tx.notify.notifier import Notifier, Recipient
from tests.notify.messages import MOMENT, event


class Kept:
    def __init__(self) -> None:
        self.messages: list[Message] = []

    def put(self, message: Message) -> None:
        self.messages.append(message)


class NotifierTests(SynchronousTestCase):
    """
    `Notifier`.
    """

    def test_message(self) -> None:
        """
        Every recipient gets the same message: the event, the sender, the time and a name drawn for it.
        """
        one, other = Kept(), Kept()
        notifier = Notifier("image.here", lambda: MOMENT, [Recipient(one), Recipient(other)], new_id=lambda: "id-1")
        verifyObject(INotifier, notifier)
        notifier.notify(event(name="n"))
        self.assertEqual(one.messages, [Message("id-1", "image.here", MOMENT, event(name="n"))])
        self.assertEqual(other.messages, one.messages)

    def test_disabled(self) -> None:
        """
        A recipient is spared what it does not want: single events, or groups of them by the words before a dot.
        """
        for disabled, wanted in (
            (["image.create"], ["image.createx", "image.member.create", "task.create"]),
            (["image"], ["task.create"]),
            (["image.member", "task"], ["image.create", "image.createx"]),
            ([], ["image.create", "image.createx", "image.member.create", "task.create"]),
        ):
            kept = Kept()
            notifier = Notifier("p", lambda: MOMENT, [Recipient(kept, disabled)])
            for event_type in ("image.create", "image.createx", "image.member.create", "task.create"):
                notifier.notify(event(event_type))
            self.assertEqual(sorted(m.event.event_type for m in kept.messages), wanted, disabled)

    def test_ids_differ(self) -> None:
        """
        No two messages have the same id.
        """
        kept = Kept()
        notifier = Notifier("p", lambda: MOMENT, [Recipient(kept)])
        notifier.notify(event())
        notifier.notify(event())
        self.assertNotEqual(kept.messages[0].message_id, kept.messages[1].message_id)

    def test_log(self) -> None:
        """
        The log gets a line with the notification in JSON.
        """
        notifier = Notifier("image.here", lambda: MOMENT, [Recipient(LogSink())], new_id=lambda: "id-1")
        with capturedLogs() as events:
            notifier.notify(event(name="ü"))
        [line] = events
        self.assertEqual(
            json.loads(line["notification"]),
            {
                "message_id": "id-1",
                "publisher_id": "image.here",
                "event_type": "image.create",
                "priority": "INFO",
                "timestamp": "2026-03-04 05:06:07.000089",
                "payload": {"name": "ü"},
            },
        )
