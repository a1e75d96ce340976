"""
Single chunks of an image, fetched again from an upstream.
"""

from __future__ import annotations

from typing import Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from glance_cache.errors import (
    ChunkUnavailable,
    UpstreamMismatch,
    UpstreamRefused,
    UpstreamUnavailable,
)
from glance_cache.interfaces import IChunkSource, IOwnCredentials, IUpstream, UpstreamCredentials
from glance_cache.steady import PASSING_REFUSALS
from glance_tx.identity.errors import IdentityUnavailable
from glance_tx.streaming.errors import BodyTooShort, StreamingError

__all__ = ["PATIENCE_SECONDS", "UpstreamChunks"]

PATIENCE_SECONDS: Final = 3600.0
"""How long to try, and to wait for a caller who may read the image. Meanwhile clients get it passed through."""

_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 60.0


@implementer(IChunkSource)
class UpstreamChunks:
    """
    Asks in the node's own name where it has one, and else in that of whoever asks for the image next.

    :param own: ``None`` where the node has no credentials.
    """

    _log = Logger()

    def __init__(self, upstream: IUpstream, clock: IReactorTime, own: IOwnCredentials | None = None) -> None:
        self._upstream = upstream
        self._clock = clock
        self._own = own
        self._waiting: dict[str, list[Deferred[UpstreamCredentials]]] = {}

    def offer(self, image_id: str, credentials: UpstreamCredentials) -> None:
        """
        See `IChunkSource.offer`.
        """
        waiting = self._waiting.pop(image_id, ())
        for each in waiting:
            each.callback(credentials)

    async def fetch(self, image_id: str, offset: int, length: int) -> bytes:
        """
        See `IChunkSource.fetch`.
        """
        ends_at = self._clock.seconds() + PATIENCE_SECONDS
        pause = _FIRST_PAUSE_SECONDS
        while True:
            left = ends_at - self._clock.seconds()
            try:
                return await self._try(image_id, offset, length, left)
            except (UpstreamRefused, UpstreamUnavailable, StreamingError, IdentityUnavailable) as error:
                refused = isinstance(error, UpstreamRefused) and error.status not in PASSING_REFUSALS
                if left <= 0 or (refused and self._own is not None):
                    # The node may read all images there are: what it may not is gone.
                    raise ChunkUnavailable(image_id, str(error)) from error
            except UpstreamMismatch as error:
                raise ChunkUnavailable(image_id, str(error)) from error
            if not refused:
                await deferLater(self._clock, min(pause, left), lambda: None)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _try(self, image_id: str, offset: int, length: int, seconds: float) -> bytes:
        if self._own is None:
            return await self._read(image_id, await self._caller(image_id, seconds), offset, length)
        credentials = await self._own.get()
        try:
            return await self._read(image_id, credentials, offset, length)
        except UpstreamRefused as error:
            if error.status != 401 or not self._own.reject(credentials):
                raise
        # The token had ended.
        return await self._read(image_id, await self._own.get(), offset, length)

    async def _caller(self, image_id: str, seconds: float) -> UpstreamCredentials:
        waiting: Deferred[UpstreamCredentials] = Deferred()
        self._waiting.setdefault(image_id, []).append(waiting)
        ending = self._clock.callLater(max(0.0, seconds), waiting.cancel)
        try:
            return await waiting
        except CancelledError as error:
            if ending.active():  # not by the deadline
                raise
            raise ChunkUnavailable(image_id, "nobody who may read it asked for it") from error
        finally:
            self._forget(image_id, waiting)
            if ending.active():
                ending.cancel()

    def _forget(self, image_id: str, waiting: Deferred[UpstreamCredentials]) -> None:
        others = [each for each in self._waiting.pop(image_id, ()) if each is not waiting]
        if others:
            self._waiting[image_id] = others

    async def _read(self, image_id: str, credentials: UpstreamCredentials, offset: int, length: int) -> bytes:
        source = await self._upstream.open_data(image_id, credentials, offset, length)
        parts: list[bytes] = []
        missing = length
        try:
            while missing > 0:
                piece = await source.read(1)
                if not piece:
                    raise BodyTooShort(length, length - missing)
                parts.append(piece)
                missing -= len(piece)
        finally:
            # An upstream that leaves out nothing sends more than is wanted.
            source.cancel()
        return b"".join(parts)[:length]
