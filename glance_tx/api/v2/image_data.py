"""
Routes of image data.
"""

from __future__ import annotations

from typing import Final

from glance_tx.domain.images import Image
from glance_tx.domain.transfers import Transfers
from glance_tx.streaming.ranges import ByteRange, content_range, requested_range
from glance_tx.telemetry.transfers import UPLOAD
from glance_tx.web.app import App, BodyRule
from glance_tx.web.callers import Callers
from glance_tx.web.errors import BadRequest, UnsupportedMediaType
from glance_tx.web.media import media_type
from glance_tx.web.request import Request
from glance_tx.web.response import Response

__all__ = ["ImageDataRoutes"]

_OCTETS: Final = "application/octet-stream"
_DATA: Final = "/v2/images/<image_id>/file"


class ImageDataRoutes:
    """
    Upload and download image data (contract sections 3.2 and 3.3).
    """

    def __init__(self, transfers: Transfers, callers: Callers) -> None:
        self._transfers = transfers
        self._callers = callers

    def mount(self, app: App) -> None:
        """
        Add the routes to an application.
        """
        app.add("PUT", _DATA, self.upload, BodyRule.STREAM)
        app.add("GET", _DATA, self.download)
        app.add("HEAD", _DATA, self.facts)

    async def upload(self, request: Request, image_id: str) -> Response:
        """
        ``PUT /v2/images/{image_id}/file``.
        """
        caller = await self._callers.of(request)
        kind = media_type(request)
        if kind != _OCTETS:
            raise UnsupportedMediaType(kind, (_OCTETS,))
        size, store = _declared_size(request), request.header("X-Image-Meta-Store")
        request.begin_transfer(UPLOAD)
        await self._transfers.upload(caller, image_id, request.body, size, store)
        return Response(204)

    async def download(self, request: Request, image_id: str) -> Response:
        """
        ``GET /v2/images/{image_id}/file``.
        """
        caller = await self._callers.of(request)
        _refuse_preference(request)

        def choose(size: int) -> ByteRange | None:
            return requested_range(request.header("Range"), request.header("Content-Range"), size)

        download = await self._transfers.download(caller, image_id, choose)
        request.begin_transfer("download")
        headers = [("Content-Type", _OCTETS)]
        if download.image.checksum is not None:
            # Hex, and of the whole image even for a part of it: what clients of stock Glance read here.
            headers.append(("Content-MD5", download.image.checksum))

        def tell(_: bool) -> None:
            self._transfers.sent(caller, download, request.sentLength, request.client_host)

        if download.range is None:
            return Response(200, tuple(headers), download.body, on_end=tell)
        headers.append(("Content-Range", content_range(download.range, download.image.size or 0)))
        return Response(206, tuple(headers), download.body, on_end=tell)

    async def facts(self, request: Request, image_id: str) -> Response:
        """
        ``HEAD /v2/images/{image_id}/file``: what a download would bring, after all of its checks.
        """
        caller = await self._callers.of(request)
        _refuse_preference(request)
        image = await self._transfers.facts(caller, image_id)
        return Response(200, _fact_headers(image), announced_length=image.size)


def _refuse_preference(request: Request) -> None:
    # As stock does where there is one store, to which nothing can be preferred.
    if any(request.args.get(b"prefer", ())):
        raise BadRequest("this service has one store, so 'prefer' cannot choose among several")


def _declared_size(request: Request) -> int | None:
    """
    Tell how many bytes the client says the data have, by a header of its own or by the body's length.
    """
    declared = request.header("X-OpenStack-Image-Size")
    if declared is None:
        # 0 counts as unknown: clients send it for data that they do not know the size of.
        return request.body.length or None
    if not declared.isascii() or not declared.isdecimal() or len(declared) > 19:
        raise BadRequest(f"the header X-OpenStack-Image-Size must be an integer of 0 or more, not {declared!r}")
    return int(declared)


def _fact_headers(image: Image) -> tuple[tuple[str, str], ...]:
    headers = [("Content-Type", _OCTETS)]
    if image.checksum is not None:
        headers.append(("Content-MD5", image.checksum))
    if image.os_hash_algo is not None and image.os_hash_value is not None:
        headers += [
            ("ETag", f'"{image.os_hash_algo}:{image.os_hash_value}"'),
            ("X-OpenStack-Image-Hash-Algo", image.os_hash_algo),
            ("X-OpenStack-Image-Hash-Value", image.os_hash_value),
        ]
    return tuple(headers)
