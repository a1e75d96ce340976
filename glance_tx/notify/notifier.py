"""
Every event, to everybody who wants it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Protocol
from uuid import uuid4

from attrs import frozen
from zope.interface import implementer

from glance_tx.notify.interfaces import Event, INotifier, Message

__all__ = ["ISink", "Notifier", "Recipient"]


class ISink(Protocol):
    """
    Where messages are left.
    """

    def put(self, message: Message) -> None:
        """
        Take a message, without waiting.
        """


@frozen
class Recipient:
    """
    A sink, and what it does not want.

    :param disabled: Event types, or the beginnings of some up to a dot: ``image`` is all of ``image.create``,
        ``image.member.create`` and so on.
    """

    sink: ISink
    disabled: Collection[str] = ()

    def wants(self, event_type: str) -> bool:
        """
        Tell whether an event is for this recipient.
        """
        return not any(event_type == name or event_type.startswith(f"{name}.") for name in self.disabled)


@implementer(INotifier)
class Notifier:
    """
    Makes messages of events and leaves them with all recipients.

    :param publisher_id: Who tells, as ``<service>.<host>``.
    :param now: Tells the time, in UTC.
    """

    def __init__(
        self,
        publisher_id: str,
        now: Callable[[], datetime],
        recipients: Sequence[Recipient],
        *,
        new_id: Callable[[], str] = lambda: str(uuid4()),
    ) -> None:
        self._publisher_id = publisher_id
        self._now = now
        self._recipients = recipients
        self._new_id = new_id

    def notify(self, event: Event) -> None:
        """
        See `INotifier.notify`.
        """
        wanting = [recipient.sink for recipient in self._recipients if recipient.wants(event.event_type)]
        if wanting:
            message = Message(self._new_id(), self._publisher_id, self._now(), event)
            for sink in wanting:
                sink.put(message)
