"""
Clients of this process read what another process of the node fills.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from glance_cache.errors import FillFailed
from glance_cache.fillwatch import WatchedState
from glance_cache.interfaces import ImageFacts
from glance_cache.watched import Watched
from glance_tx.streaming.growth import GrowingFile

__all__ = ["LOOK_SECONDS", "follow", "require_no_less"]

LOOK_SECONDS: Final = 0.02
"""Between two looks at the fill of another process."""


async def follow(
    watched: Watched,
    growth: GrowingFile,
    begun: Callable[[None], object],
    clock: IReactorTime,
    patience_seconds: float,
) -> WatchedState:
    """
    Let clients have what another process fills, until it ends.

    :param growth: Of the data, for the clients.
    :param begun: Called as soon as there is any.
    :param patience_seconds: For how long it may stand still.
    :return: How it ended.
    :raises FillFailed: It ended without the image, and clients have some of it; or it stands still.
    :raises FolderUnusable: The disk cannot be read.
    """
    grown_at = clock.seconds()
    while True:
        sight = await watched.look()
        if sight.limit is not None:
            require_no_less(watched.facts, growth, sight.limit)
            if sight.limit > growth.limit:
                grown_at = clock.seconds()
            growth.grow(sight.limit)
        if sight.state is WatchedState.GONE and growth.limit:
            raise FillFailed(watched.facts.image_id, "the process of this node that fetched it gave it up")
        if growth.limit:
            begun(None)
        if sight.state is not WatchedState.FILLING:
            return sight.state
        if clock.seconds() - grown_at > patience_seconds:
            raise FillFailed(watched.facts.image_id, "the process of this node that fetches it stands still")
        await deferLater(clock, LOOK_SECONDS)


def require_no_less(facts: ImageFacts, growth: GrowingFile, there_bytes: int) -> None:
    """
    Insist that what clients were sent is what the hash of the whole is made of; see Note [Marks of fills].

    :raises FillFailed: It is not any more.
    """
    if there_bytes < growth.limit:
        raise FillFailed(facts.image_id, "some of what was sent of it is lost on the disk")
