"""
Image data for whoever was granted it: from the cache, from a fill, or not from here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from attrs import frozen
from twisted.logger import Logger

from glance_cache.entries import EntryStore
from glance_cache.errors import CacheFull, EntryBusy, FillFailed, FolderUnusable, UpstreamMismatch, UpstreamRefused
from glance_cache.fills import Fills
from glance_cache.interfaces import ImageFacts, UpstreamCredentials
from glance_tx.streaming.interfaces import IFileBody
from glance_tx.streaming.ranges import ByteRange
from glance_tx.streaming.units import MiB

__all__ = ["Cache", "CacheState", "Served"]

_AHEAD_BYTES: Final = 8 * MiB
"""How far before a running fill a range may begin and still wait for it."""

# Each try but the first follows a fill that another client's credentials ended; this client's own is the last.
_TRIES: Final = 3


class CacheState(StrEnum):
    """
    How an answer came about: the value of ``X-Cache``.
    """

    HIT = "hit"
    FILL = "fill"
    FOLLOW = "follow"
    BYPASS = "bypass"


@frozen
class Served:
    """
    A body that this node can serve.

    :param state: `CacheState.HIT`, `CacheState.FILL` or `CacheState.FOLLOW`.
    """

    state: CacheState
    body: IFileBody


class Cache:
    """
    Decides where data comes from. Whoever asks holds a grant for it.
    """

    _log = Logger()

    def __init__(self, entries: EntryStore, fills: Fills) -> None:
        self._entries = entries
        self._fills = fills

    async def open(self, facts: ImageFacts, credentials: UpstreamCredentials, part: ByteRange | None) -> Served | None:
        """
        Open an image's data.

        :param credentials: Used if this has to begin a fill.
        :param part: Which bytes; ``None`` for all.
        :return: ``None`` where the upstream has to serve this client itself.
        :raises UpstreamRefused: A fill was to begin, and the upstream refused it to these credentials.
        :raises UpstreamUnavailable: A fill was to begin, and no upstream answered.
        """
        if not facts.size:
            return None
        try:
            for _ in range(_TRIES):
                served = await self._hit(facts, part) or await self._follow(facts, part)
                if served is not None:
                    return served
                if part is not None or self._fills.running(facts) is not None:
                    # A Range alone is no reason to fetch an image.
                    return None
                fill = self._fills.start(facts, credentials)
                try:
                    await fill.begun()
                except EntryBusy:
                    continue
                return Served(CacheState.FILL, fill.open_body(None))
        except (CacheFull, FolderUnusable) as error:
            self._log.warn("image {image_id} is not cached: {error}", image_id=facts.image_id, error=str(error))
        except (FillFailed, UpstreamMismatch) as error:
            self._log.error("image {image_id} is not cached: {error}", image_id=facts.image_id, error=str(error))
        return None

    async def fill(self, facts: ImageFacts, credentials: UpstreamCredentials) -> None:
        """
        Bring an image into the cache, joining a fill that runs.

        :raises CacheError: It is not there.
        """
        body = await self._entries.open(facts)
        if body is not None:
            body.close()
            return
        fill = self._fills.running(facts) or self._fills.start(facts, credentials)
        await fill.ended()

    async def _hit(self, facts: ImageFacts, part: ByteRange | None) -> Served | None:
        offset, length = (0, None) if part is None else (part.offset, part.length)
        body = await self._entries.open(facts, offset, length)
        return None if body is None else Served(CacheState.HIT, body)

    async def _follow(self, facts: ImageFacts, part: ByteRange | None) -> Served | None:
        fill = self._fills.running(facts)
        if fill is None or not fill.serves(part, _AHEAD_BYTES):
            return None
        try:
            await fill.begun()
        except (EntryBusy, UpstreamRefused):
            # It was refused to somebody else's credentials, or is there already.
            return None
        return Served(CacheState.FOLLOW, fill.open_body(part))
