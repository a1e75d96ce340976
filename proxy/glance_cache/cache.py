"""
Image data for whoever was granted it: from the cache, from a fill, or not from here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from attrs import frozen
from twisted.logger import Logger

from glance_cache.entries import EntryStore
from glance_cache.errors import (
    CacheError,
    CacheFull,
    EntryBusy,
    FillFailed,
    FolderUnusable,
    UpstreamMismatch,
    UpstreamRefused,
    UpstreamUnavailable,
)
from glance_cache.fills import Fill, Fills
from glance_cache.interfaces import IChunkSource, ImageFacts, UpstreamCredentials
from glance_cache.pace import Pace
from glance_tx.streaming.errors import StreamingError
from glance_tx.streaming.interfaces import IFileBody
from glance_tx.streaming.ranges import ByteRange
from glance_tx.streaming.units import MiB

__all__ = ["Cache", "CacheState", "Served"]

_AHEAD_BYTES: Final = 8 * MiB
"""How far before a running fill a range may begin and still wait for it."""

_TRIES: Final = 5
"""Each one but the first follows a fill that ended at once: refused to others, or no more needed."""


class CacheState(StrEnum):
    """
    How an answer came about: the value of ``X-Cache``.
    """

    HIT = "hit"
    FILL = "fill"
    FOLLOW = "follow"
    BYPASS = "bypass"
    OFFLINE = "offline"


@frozen
class Served:
    """
    A body that this node can serve.

    :param state: Any but `CacheState.BYPASS`.
    """

    state: CacheState
    body: IFileBody


class Cache:
    """
    Decides where data comes from. Whoever asks holds a grant for it.

    :param max_image_bytes: Images of more than this are not filled; ``None`` for no such limit.
    :param chunks: Told whose name damaged entries can be repaired in.
    """

    _log = Logger()

    def __init__(
        self,
        entries: EntryStore,
        fills: Fills,
        max_image_bytes: int | None = None,
        chunks: IChunkSource | None = None,
    ) -> None:
        self._entries = entries
        self._fills = fills
        self._max_image_bytes = max_image_bytes
        self._chunks = chunks

    async def open(self, facts: ImageFacts, credentials: UpstreamCredentials, part: ByteRange | None) -> Served | None:
        """
        Open an image's data.

        :param credentials: Used if this has to begin a fill, or a fill cannot go on with those that began it.
        :param part: Which bytes; ``None`` for all.
        :return: ``None`` where the upstream has to serve this client itself.
        :raises UpstreamRefused: A fill was to begin, and the upstream refused it to these credentials.
        :raises UpstreamUnavailable: A fill was to begin, and no upstream answered.
        """
        if not facts.size or self._is_damaged(facts, credentials):
            return None
        try:
            for _ in range(_TRIES):
                body = await self._complete(facts, part)
                if body is not None:
                    return Served(CacheState.HIT, body)
                fill = self._fills.running(facts)
                # A Range alone is no reason to fetch an image.
                if fill is None and (part is not None or self._too_large(facts) or self._fills.enough):
                    return None
                if fill is None:
                    served = await self._begin(facts, credentials)
                elif fill.serves(part, _AHEAD_BYTES):
                    served = await self._join(fill, credentials, part)
                else:
                    return None
                if served is not None:
                    return served
        except (CacheFull, FolderUnusable) as error:
            self._log.warn("image {image_id} is not cached: {error}", image_id=facts.image_id, error=str(error))
        except (FillFailed, StreamingError, UpstreamMismatch) as error:
            self._log.error("image {image_id} is not cached: {error}", image_id=facts.image_id, error=str(error))
        return None

    async def open_offline(self, facts: ImageFacts, part: ByteRange | None) -> Served:
        """
        Open an image's data while no upstream can be reached.

        :raises UpstreamUnavailable: It is not here whole.
        """
        body = None
        if facts.size:
            try:
                body = await self._complete(facts, part)
            except FolderUnusable as error:
                self._log.warn("image {image_id} cannot be read: {error}", image_id=facts.image_id, error=str(error))
        if body is None:
            raise UpstreamUnavailable(f"image {facts.image_id} is not here")
        return Served(CacheState.OFFLINE, body)

    def present_bytes(self, facts: ImageFacts) -> int:
        """
        Tell how much of an image's data is here.
        """
        fill = self._fills.running(facts)
        return self._entries.present_bytes(facts) if fill is None else fill.present_bytes

    async def fill(self, facts: ImageFacts, credentials: UpstreamCredentials, pace: Pace | None = None) -> None:
        """
        Bring an image into the cache, joining a fill that runs.

        :param pace: For a fill that this begins; ``None`` for as fast as can be.
        :raises CacheFull: It is larger than any image may be here, or there is no room.
        :raises CacheError: It is not there.
        """
        fill = self._fills.running(facts)
        if fill is not None:
            fill.sponsor(credentials)
            try:
                await fill.ended()
            except CacheError as error:
                # That was for others; what it means for this one is found out next.
                self._log.info("a fill of {image_id} was in vain: {error}", image_id=facts.image_id, error=str(error))
        body = await self._complete(facts, None)
        if body is not None:
            body.close()
            return
        fill = self._fills.running(facts)
        if fill is None:
            if self._too_large(facts):
                raise CacheFull(facts.size, self._max_image_bytes or 0)
            fill = self._fills.start(facts, credentials, pace)
        await fill.ended()

    def _is_damaged(self, facts: ImageFacts, credentials: UpstreamCredentials) -> bool:
        damaged = self._entries.is_damaged(facts)
        if damaged and self._chunks is not None:
            self._chunks.offer(facts.image_id, credentials)
        return damaged

    def _too_large(self, facts: ImageFacts) -> bool:
        return self._max_image_bytes is not None and facts.size > self._max_image_bytes

    async def _complete(self, facts: ImageFacts, part: ByteRange | None) -> IFileBody | None:
        offset, length = (0, None) if part is None else (part.offset, part.length)
        return await self._entries.open(facts, offset, length)

    async def _begin(self, facts: ImageFacts, credentials: UpstreamCredentials) -> Served | None:
        """
        Begin a fill, and be its first reader.

        :return: ``None`` where the image turns out to be there.
        """
        fill = self._fills.start(facts, credentials)
        try:
            await fill.begun()
        except EntryBusy:
            return None
        body = fill.open_body(None)
        state = CacheState.FILL if fill.is_own else CacheState.FOLLOW
        return None if body is None else Served(state, body)

    async def _join(self, fill: Fill, credentials: UpstreamCredentials, part: ByteRange | None) -> Served | None:
        """
        Read what somebody else's fill brings.

        :return: ``None`` where it brings nothing: it was refused to the other one, or ended meanwhile.
        """
        fill.sponsor(credentials)
        try:
            await fill.begun()
        except (EntryBusy, UpstreamRefused):
            return None
        body = fill.open_body(part)
        return None if body is None else Served(CacheState.FOLLOW, body)
