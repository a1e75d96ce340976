"""
A notifier that remembers.
"""

from __future__ import annotations

from zope.interface import implementer

from glance_tx.notify.interfaces import Event, INotifier

__all__ = ["Told"]


@implementer(INotifier)
class Told:
    """
    Keeps all events in memory.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event) -> None:
        """See `INotifier.notify`."""
        self.events.append(event)

    @property
    def types(self) -> list[str]:
        """What happened, in order."""
        return [event.event_type for event in self.events]
