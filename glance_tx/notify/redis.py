"""
Notifications on channels of a Redis, for the caching nodes of the same installation.
"""

from __future__ import annotations

import json
from typing import Final

from zope.interface import implementer

from glance_tx.notify.envelope import notification
from glance_tx.notify.errors import DeliveryFailed
from glance_tx.notify.interfaces import ITransport, Message
from glance_tx.redis.client import RedisClient
from glance_tx.redis.errors import RedisUnavailable

__all__ = ["CHANGES", "SENDS", "RedisTransport", "channel_of"]

CHANGES: Final = "events"
"""The channel, after the prefix, of what changes who may read what."""

SENDS: Final = "sends"
"""The channel, after the prefix, of downloads. They are many, and change nothing."""


def channel_of(prefix: str, event_type: str) -> str:
    """
    Name the channel that an event goes to.
    """
    return f"{prefix}:{SENDS if event_type == 'image.send' else CHANGES}"


@implementer(ITransport)
class RedisTransport:
    """
    Publishes messages, each a JSON object as `envelope.notification` makes it.

    Redis keeps nothing of them: who does not listen at that moment never hears.

    :param prefix: Begins the names of the channels, with a colon after it.
    """

    name = "Redis"

    def __init__(self, client: RedisClient, prefix: str) -> None:
        self._client = client
        self._prefix = prefix

    async def deliver(self, message: Message) -> None:
        """
        See `ITransport.deliver`. Done when Redis has passed it on.
        """
        channel = channel_of(self._prefix, message.event.event_type)
        text = json.dumps(notification(message), ensure_ascii=False)
        try:
            await self._client.within_deadline(self._client.command("PUBLISH", channel, text))
        except RedisUnavailable as error:
            raise DeliveryFailed(error.reason) from error

    async def close(self) -> None:
        """
        See `ITransport.close`.
        """
        await self._client.stop()
