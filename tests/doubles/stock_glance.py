"""
A stock OpenStack Glance, in memory: the routes that a cache asks, answered as the real one was seen to answer.
"""

from __future__ import annotations

import hashlib
import json

from attrs import define, field
from klein import Klein
from twisted.web.iweb import IRequest


@define
class StockImage:
    """
    One image of the double.

    :ivar downloaders: Tokens that may download it.
    :ivar viewers: Tokens that may see it (and get 403 for its data, if they may not download).
    """

    id: str
    data: bytes | None
    downloaders: set[str] = field(factory=lambda: {"owner"})
    viewers: set[str] = field(factory=lambda: {"owner", "reader"})
    hashed: bool = True

    def record(self) -> dict[str, object]:
        """
        The JSON document of the image.
        """
        data = self.data
        return {
            "id": self.id,
            "status": "queued" if data is None else "active",
            "size": None if data is None else len(data),
            "checksum": hashlib.md5(data).hexdigest() if data is not None and self.hashed else None,
            "os_hash_algo": "sha512" if data is not None and self.hashed else None,
            "os_hash_value": hashlib.sha512(data).hexdigest() if data is not None and self.hashed else None,
        }


@define
class StockGlance:
    """
    The server. ``requests`` lists what it was asked: method, path, and Range.

    :ivar seekable: Whether its store can serve a Range.
    :ivar knows_head: Whether it answers HEAD of image data, as this project's own service does.
    """

    images: dict[str, StockImage] = field(factory=dict)
    tokens: set[str] = field(factory=lambda: {"owner", "reader", "stranger"})
    seekable: bool = True
    knows_head: bool = False
    requests: list[tuple[str, str, str | None]] = field(factory=list)
    app: Klein = field(factory=Klein)

    def __attrs_post_init__(self) -> None:
        self.app.route("/v2/images/<image_id>", methods=["GET"])(self.show)
        self.app.route("/v2/images/<image_id>/file", methods=["GET", "HEAD"])(self.file)

    def show(self, request: IRequest, image_id: str) -> bytes:
        self._note(request)
        image = self._admit(request, image_id)
        if image is None:
            return b"refused"
        request.setHeader("Content-Type", "application/json")
        return json.dumps(image.record()).encode()

    def file(self, request: IRequest, image_id: str) -> bytes:
        byte_range = self._note(request)
        if request.method == b"HEAD" and not self.knows_head:
            request.setResponseCode(405)
            request.setHeader("Allow", "GET, PUT")
            return b""
        image = self._admit(request, image_id)
        if image is None:
            return b"refused"
        if (request.getHeader("X-Auth-Token") or "") not in image.downloaders:
            request.setResponseCode(403)
            return b"refused"
        if image.data is None:
            request.setResponseCode(204)
            return b""
        return self._send(request, image, byte_range)

    def _send(self, request: IRequest, image: StockImage, byte_range: str | None) -> bytes:
        data = image.data or b""
        request.setHeader("Content-Type", "application/octet-stream")
        if image.hashed:
            request.setHeader("Content-MD5", hashlib.md5(data).hexdigest())
        if self.knows_head:
            request.setHeader("X-Openstack-Image-Hash-Algo", "sha512")
            request.setHeader("X-Openstack-Image-Hash-Value", hashlib.sha512(data).hexdigest())
        if byte_range is not None:
            if not self.seekable:
                request.setResponseCode(400)
                return b"cannot seek"
            first, _, last = byte_range.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or len(data)), len(data) - 1)
            if start >= len(data):
                request.setResponseCode(416)
                return b"beyond the end"
            request.setResponseCode(206)
            request.setHeader("Content-Range", f"bytes {start}-{end}/{len(data)}")
            data = data[start : end + 1]
        request.setHeader("Content-Length", str(len(data)))
        return b"" if request.method == b"HEAD" else data

    def _note(self, request: IRequest) -> str | None:
        byte_range = request.getHeader("Range")
        self.requests.append((request.method.decode(), request.path.decode(), byte_range))
        return byte_range

    def _admit(self, request: IRequest, image_id: str) -> StockImage | None:
        token = request.getHeader("X-Auth-Token") or ""
        if token not in self.tokens:
            request.setResponseCode(401)
            return None
        image = self.images.get(image_id)
        if image is None or token not in image.viewers | image.downloaders:
            request.setResponseCode(404)
            return None
        return image
