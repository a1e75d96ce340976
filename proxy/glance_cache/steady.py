"""
Image data from an upstream, however many connections it takes.
"""

from __future__ import annotations

from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from glance_cache.errors import UpstreamMismatch, UpstreamRefused, UpstreamUnavailable
from glance_cache.headers import retry_after_seconds
from glance_cache.interfaces import ImageFacts, IUpstream, IUpstreamData
from glance_cache.sponsors import Sponsors
from glance_tx.streaming.errors import BodyTooShort, StreamingError

__all__ = ["PASSING_REFUSALS", "SteadySource"]

_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 5.0

_LONGEST_ASKED_PAUSE_SECONDS: Final = 60.0
"""An upstream may ask to be left alone for a while; clients wait meanwhile."""

# A service that is overloaded, or being restarted, refuses everybody for a while.
PASSING_REFUSALS: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses of an upstream that may do as asked a moment later."""

_MOST_SUSPECTS: Final = 16
"""Connections that are remembered in case the data turns out to be wrong: the last ones, where there were many."""

_EARLY_ENDS: Final = 3
"""An end in good order where more should come may be a server that was stopped; as often as this it is a lie."""


@implementer(IUpstreamData)
class SteadySource:
    """
    The data of one image from an offset on. A connection that breaks, stalls or ends early is replaced by another
    one that goes on where it stopped, until no byte came for a while.

    :param sponsors: In whose name the upstream is asked; it gives up when none are left.
    :param patience_seconds: For how long without a byte it is tried again.
    """

    _log = Logger()

    def __init__(
        self,
        upstream: IUpstream,
        facts: ImageFacts,
        sponsors: Sponsors,
        clock: IReactorTime,
        patience_seconds: float,
    ) -> None:
        self.length: int | None = facts.size
        self._upstream = upstream
        self._facts = facts
        self._sponsors = sponsors
        self._clock = clock
        self._patience_seconds = patience_seconds
        self._offset = 0
        self._early_ends = 0
        self._source: IUpstreamData | None = None
        self._used: list[IUpstreamData] = []

    async def open(self, offset: int) -> None:
        """
        Connect for the first time, unless nothing is wanted.

        :param offset: First byte wanted.
        :raises UpstreamRefused: The upstream answered with anything but the data.
        :raises UpstreamUnavailable: Nobody can be asked.
        :raises UpstreamMismatch: What it offers is not as long as it should be.
        """
        self._offset = offset
        self.length = self._facts.size - offset
        if self.length:
            await self._connect()

    async def read(self, at_least: int) -> bytes:
        """
        See `IBodyReader.read`.

        :raises UpstreamRefused: The upstream would not go on.
        :raises UpstreamUnavailable: No byte came for too long.
        :raises UpstreamMismatch: There are more bytes, or fewer, than there should be.
        """
        quiet_since = self._clock.seconds()
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                return await self._read_on(at_least)
            except UpstreamRefused as error:
                if error.status not in PASSING_REFUSALS:
                    await self._sponsors.replace(error)
                    continue
                reason: Exception = error
                pause = max(pause, self._asked_pause(error))
            except (StreamingError, UpstreamUnavailable) as error:
                reason = error
            self.cancel()
            quiet = self._clock.seconds() - quiet_since
            if quiet >= self._patience_seconds:
                raise UpstreamUnavailable(f"no byte for {quiet:.0f} seconds: {reason}") from reason
            self._log.warn(
                "image {image_id} stopped at byte {offset} and is asked for again: {reason}",
                image_id=self._facts.image_id,
                offset=self._offset,
                reason=str(reason),
            )
            await self._pause(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def cancel(self) -> None:
        """
        See `IBodySource.cancel`.
        """
        source, self._source = self._source, None
        if source is not None:
            source.cancel()

    def distrust(self) -> None:
        """
        See `IUpstreamData.distrust`; it concerns everybody who sent a part.
        """
        for source in self._used:
            source.distrust()

    def _asked_pause(self, refusal: UpstreamRefused) -> float:
        asked = retry_after_seconds(refusal.headers, self._clock.seconds()) or 0.0
        return min(asked, _LONGEST_ASKED_PAUSE_SECONDS)

    async def _read_on(self, at_least: int) -> bytes:
        size = self._facts.size
        if self._source is None:
            if self._offset == size:
                return b""
            await self._connect()
        assert self._source is not None  # noqa: S101  # just connected
        piece = await self._source.read(at_least)
        if not piece and self._offset < size:
            self._end_early()
        if piece:
            self._early_ends = 0
        self._offset += len(piece)
        if self._offset > size:
            raise UpstreamMismatch(self._facts.image_id, f"the upstream sent more than the {size} bytes it announced")
        return piece

    def _end_early(self) -> None:
        size = self._facts.size
        self._early_ends += 1
        if self._early_ends == _EARLY_ENDS:
            reason = f"the upstream's data ends after {self._offset} of the {size} bytes it announced"
            raise UpstreamMismatch(self._facts.image_id, reason)
        raise BodyTooShort(size, self._offset)

    async def _connect(self) -> None:
        source = await self._upstream.open_data(self._facts.image_id, self._sponsors.current, self._offset)
        self._used = [*self._used[1 - _MOST_SUSPECTS :], source]
        expected = self._facts.size - self._offset
        if source.length not in {None, expected}:
            source.cancel()
            raise UpstreamMismatch(
                self._facts.image_id, f"the upstream offers {source.length} bytes where {expected} are left"
            )
        self._sponsors.accepted()
        self._source = source

    def _pause(self, seconds: float) -> Deferred[None]:
        return deferLater(self._clock, seconds, lambda: None)
