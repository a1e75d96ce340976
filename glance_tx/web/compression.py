"""
Answers in JSON, compressed for clients that like them so.
"""

from __future__ import annotations

import zlib
from typing import ClassVar, Final

from attrs import evolve, frozen
from oslo_config import cfg
from twisted.internet.defer import TimeoutError as DeadlinePassed
from twisted.internet.interfaces import IReactorTime

from glance_tx.settings import Section, option
from glance_tx.streaming.errors import LaneStopped
from glance_tx.streaming.lanes import Lanes
from glance_tx.streaming.units import KiB
from glance_tx.web.accept import accepts_gzip
from glance_tx.web.request import Request
from glance_tx.web.response import Response

__all__ = ["CompressionSettings", "JsonCompression"]

# Shorter ones go out in one packet anyway.
_WORTHWHILE_BYTES: Final = 1400
# Level 1 takes 5 ms for 1 MiB of images and leaves a quarter of it; level 6 takes three times as long for a tenth less.
_LEVEL: Final = 1
# 0.2 ms of the reactor's time. What is longer is compressed in a thread.
_INLINE_BYTES: Final = 32 * KiB
_GZIP_WINDOW: Final = 31
_VARY: Final = ("Vary", "Accept-Encoding")


@frozen(kw_only=True)
class CompressionSettings(Section):
    """
    What becomes of long answers in JSON.
    """

    GROUP: ClassVar[str] = "DEFAULT"

    compress_json: bool = option(
        cfg.BoolOpt(
            "compress_json",
            default=False,
            help="Compress JSON with gzip for clients that accept it; image data never are. A page of 1000 images "
            "becomes four times smaller for 5 ms of a processor, so it helps clients that are far away. Off by "
            "default, as in stock Glance: most clients are near, accept gzip without asking for it, and have the page "
            "sooner as it is.",
        )
    )


class JsonCompression:
    """
    Compresses bodies of JSON with gzip. Image data never are: they would need new hashes.

    :param lanes: Threads for long bodies.
    :param patience_seconds: What takes longer, as all threads are busy, goes out as it is.
    """

    def __init__(self, clock: IReactorTime, lanes: Lanes, patience_seconds: float = 2.0) -> None:
        self._clock = clock
        self._lanes = lanes
        self._patience_seconds = patience_seconds

    @classmethod
    def of(cls, settings: CompressionSettings, clock: IReactorTime, lanes: Lanes) -> JsonCompression | None:
        """
        Make one where it is wanted.
        """
        return cls(clock, lanes) if settings.compress_json else None

    async def encode(self, request: Request, response: Response) -> Response:
        """
        Compress an answer if that is of use and the client accepts it.
        """
        body = response.body
        if not isinstance(body, bytes) or len(body) < _WORTHWHILE_BYTES or not _is_json(response):
            return response
        if request.method == b"HEAD" or not accepts_gzip(request.header("Accept-Encoding")):
            return evolve(response, headers=(*response.headers, _VARY))
        try:
            packed = await self._pack(body)
        except (DeadlinePassed, LaneStopped):
            return evolve(response, headers=(*response.headers, _VARY))
        return evolve(response, headers=(*response.headers, ("Content-Encoding", "gzip"), _VARY), body=packed)

    async def _pack(self, body: bytes) -> bytes:
        if len(body) <= _INLINE_BYTES:
            return _gzip(body)
        return await self._lanes.run(_gzip, body).addTimeout(self._patience_seconds, self._clock)


def _is_json(response: Response) -> bool:
    headers = {name.lower(): value for name, value in response.headers}
    return headers.get("content-type") == "application/json" and "content-encoding" not in headers


def _gzip(body: bytes) -> bytes:
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
    return packer.compress(body) + packer.flush()
