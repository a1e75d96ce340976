"""
What happened, and who is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from attrs import field, frozen
from zope.interface import Attribute, Interface

__all__ = ["Event", "INotifier", "ITransport", "Message", "Priority"]

Priority = Literal["INFO", "WARN", "ERROR"]


@frozen
class Event:
    """
    Something that happened (contract section 7.6).

    :param event_type: Its name, such as ``image.create``.
    :param payload: Facts, ready for JSON; a text where something failed.
    :param user_id: Who caused it, where that is known.
    :param project_id: For which project.
    """

    event_type: str
    payload: Mapping[str, object] | str
    priority: Priority = "INFO"
    user_id: str | None = None
    project_id: str | None = None


@frozen
class Message:
    """
    An event under way: with a name of its own, a sender and a time.
    """

    message_id: str
    publisher_id: str
    timestamp: datetime
    event: Event = field(repr=False)


class INotifier(Interface):
    """
    Takes events in.
    """

    def notify(event: Event) -> None:
        """
        Tell of an event: later, to whom it concerns, as far as they can be reached.

        Never waits and never fails: nothing that happened is undone because somebody could not be told.
        """


class ITransport(Interface):
    """
    One way out.
    """

    name = Attribute("Which one, for the log and for metrics.")

    async def deliver(message: Message) -> None:
        """
        Send one message, and wait until the other side has it.

        :raises DeliveryFailed: It could not be sent, or nobody knows whether it was.
        """

    async def close() -> None:
        """
        Let go of connections.
        """
