"""
What the image service tells of images while it happens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import orjson
from attrs import frozen
from twisted.logger import Logger

from glance_cache.chores import Chores
from glance_cache.entries import EntryStore
from glance_cache.grants import Grants
from glance_cache.recheck import Recheck

__all__ = ["ImageChange", "ImageChanges", "read_change"]

_MEMBER: Final = "image.member."
_DELETED: Final = "image.delete"


@frozen
class ImageChange:
    """
    Something happened to an image, or to who may read it.

    :param image_id: In lower case.
    """

    image_id: str
    deleted: bool


def read_change(message: str | bytes) -> ImageChange | None:
    """
    Read a notification (docs/notifications).

    :return: ``None`` where it is about nothing that was changed: something failed.
    :raises ValueError: It is none.
    """
    match orjson.loads(message):
        case {"event_type": str(), "payload": str()}:
            return None
        case {"event_type": str(event_type), "payload": {"image_id": str(image_id)}} if event_type.startswith(_MEMBER):
            return ImageChange(image_id.lower(), deleted=False)
        case {"event_type": str(event_type), "payload": {"id": str(image_id)}}:
            return ImageChange(image_id.lower(), deleted=event_type == _DELETED)
        case _:
            raise ValueError("it names no image")


class ImageChanges:
    """
    Ends grants for what changes, and removes what is deleted. An `IListener`.

    Whoever has not listened for a while does not know what happened meanwhile. So the upstream is asked anew for every
    grant when listening begins, and what is cached is checked.

    :param recheck: ``None`` where this node has nothing to ask with.
    :param heard: Called for each message.
    :param leads: Tells whether it is on this process to check what is cached, and not on another one of the node.
    :ivar listening: Whether changes are heard of at the moment.
    """

    _log = Logger()

    def __init__(
        self,
        grants: Grants,
        entries: EntryStore,
        recheck: Recheck | None,
        heard: Callable[[], object],
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self.listening = False
        self._grants = grants
        self._entries = entries
        self._recheck = recheck
        self._heard = heard
        self._leads = leads
        self._chores = Chores()

    def subscribed(self) -> None:
        """
        See `IListener.subscribed`.
        """
        self.listening = True
        self._grants.doubt_all()
        if self._leads():
            self.recheck()

    def recheck(self) -> None:
        """
        Check what is cached, if changes are heard of at the moment; whoever did so before may not have come to an end.
        """
        if self.listening and self._recheck is not None:
            self._recheck.begin()

    def unsubscribed(self) -> None:
        """
        See `IListener.unsubscribed`. Grants live on, to their time: nobody is refused because Redis is away.
        """
        self.listening = False

    def received(self, message: str | bytes) -> None:
        """
        See `IListener.received`.
        """
        self._heard()
        try:
            change = read_change(message)
        except ValueError as error:
            # It may have been of anything.
            self._log.warn("a message on the channel of changes cannot be read: {error}", error=str(error))
            self._grants.revoke_all()
            return
        if change is not None:
            self._grants.revoke(change.image_id)
            if change.deleted:
                self._chores.start(self._entries.remove(change.image_id))

    async def stop(self) -> None:
        """
        Wait for what is under way.
        """
        if self._recheck is not None:
            await self._recheck.stop()
        await self._chores.done()
