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
    The server. ``requests`` lists what it was asked: method, path, and Range; ``queries`` what lists were asked for.

    :ivar most_listed: So many images are on a page at most.

    :ivar seekable: Whether its store can serve a Range.
    :ivar chunked: Whether it sends data without saying how long it is, as stock does for a store of some kinds.
    :ivar trouble: With what status it refuses everybody now.
    :ivar documents: What it has at other paths: status and body.
    :ivar marks: Header lines of its answers with data, each with the caller's token in the place of ``{}``.
    :ivar leads_to: Where it sends those who may download, instead of the data.
    :ivar knows_head: Whether it answers HEAD of image data, as this project's own service does.
    """

    images: dict[str, StockImage] = field(factory=dict)
    tokens: set[str] = field(factory=lambda: {"owner", "reader", "stranger"})
    seekable: bool = True
    chunked: bool = False
    trouble: int | None = None
    documents: dict[str, tuple[int, bytes]] = field(factory=dict)
    knows_head: bool = False
    marks: dict[str, str] = field(factory=dict)
    leads_to: str | None = None
    requests: list[tuple[str, str, str | None]] = field(factory=list)
    queries: list[str] = field(factory=list)
    most_listed: int = 1000
    app: Klein = field(factory=Klein)

    def __attrs_post_init__(self) -> None:
        self.app.route("/v2/images", methods=["GET"])(self.list)
        self.app.route("/v2/images/<image_id>", methods=["GET"])(self.show)
        self.app.route("/v2/images/<image_id>/file", methods=["GET", "HEAD"])(self.file)
        self.app.route("/v2/images/<image_id>", methods=["PATCH"])(self.change)
        self.app.route("/v2/images/<image_id>", methods=["DELETE"])(self.delete)
        self.app.route("/v2/images/<image_id>/actions/<action>", methods=["POST"])(self.change)
        self.app.route("/<path:rest>", methods=["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"])(self.other)

    @property
    def transfers(self) -> int:
        """
        How often it was asked for image data, and not only whether it would send any.
        """
        return sum(
            method == "GET" and path.endswith("/file") and asked != "bytes=0-0" for method, path, asked in self.requests
        )

    def list(self, request: IRequest) -> bytes:
        """
        List by name and limit, in the order of the images, and go on after a marker.
        """
        self._note(request)
        self.queries.append(request.uri.decode().partition("?")[2])
        token = request.getHeader("X-Auth-Token") or ""
        if token not in self.tokens:
            request.setResponseCode(401)
            return _say(request, b"refused")
        limit = min(int(request.args.get(b"limit", [b"25"])[0]), self.most_listed)
        marker = request.args.get(b"marker", [b""])[0].decode()
        ids = [image.id for image in self.images.values() if token in image.viewers | image.downloaders]
        ids = ids[ids.index(marker) + 1 if marker else 0 :]
        document: dict[str, object] = {"images": [self.images[image_id].record() for image_id in ids[:limit]]}
        if len(ids) > limit:
            document["next"] = f"/v2/images?limit={limit}&marker={ids[limit - 1]}"
        request.setHeader("Content-Type", "application/json")
        return _say(request, json.dumps(document).encode())

    def show(self, request: IRequest, image_id: str) -> bytes:
        self._note(request)
        image = self._admit(request, image_id)
        if image is None:
            return _say(request, b"refused")
        request.setHeader("Content-Type", "application/json")
        return _say(request, json.dumps(image.record()).encode())

    def file(self, request: IRequest, image_id: str) -> bytes:
        byte_range = self._note(request)
        if request.method == b"HEAD" and not self.knows_head:
            request.setResponseCode(405)
            request.setHeader("Allow", "GET, PUT")
            return b""
        image = self._admit(request, image_id)
        if image is None:
            return _say(request, b"refused")
        if (request.getHeader("X-Auth-Token") or "") not in image.downloaders:
            request.setResponseCode(403)
            return _say(request, b"refused")
        if image.data is None:
            request.setResponseCode(204)
            return b""
        if self.leads_to is not None:
            request.setResponseCode(302)
            request.setHeader("Location", self.leads_to)
            return b""
        return self._send(request, image, byte_range)

    def change(self, request: IRequest, image_id: str, action: str = "") -> bytes:
        self._note(request)
        return _say(request, b"refused" if self._admit(request, image_id) is None else b"changed")

    def delete(self, request: IRequest, image_id: str) -> bytes:
        self._note(request)
        if self._admit(request, image_id) is None:
            return _say(request, b"refused")
        del self.images[image_id]
        request.setResponseCode(204)
        return b""

    def other(self, request: IRequest, rest: str) -> bytes:
        self._note(request)
        status, body = self.documents.get(rest, (404, b"nothing"))
        request.setResponseCode(status)
        return _say(request, body)

    def _send(self, request: IRequest, image: StockImage, byte_range: str | None) -> bytes:
        data = image.data or b""
        request.setHeader("Content-Type", "application/octet-stream")
        for name, value in self.marks.items():
            request.setHeader(name, value.format(request.getHeader("X-Auth-Token")))
        if image.hashed:
            request.setHeader("Content-MD5", hashlib.md5(data).hexdigest())
        if self.knows_head:
            request.setHeader("X-Openstack-Image-Hash-Algo", "sha512")
            request.setHeader("X-Openstack-Image-Hash-Value", hashlib.sha512(data).hexdigest())
        if byte_range is not None:
            if not self.seekable:
                request.setResponseCode(400)
                return _say(request, b"cannot seek")
            first, _, last = byte_range.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or len(data)), len(data) - 1)
            if start >= len(data):
                request.setResponseCode(416)
                return _say(request, b"beyond the end")
            request.setResponseCode(206)
            request.setHeader("Content-Range", f"bytes {start}-{end}/{len(data)}")
            data = data[start : end + 1]
        if self.chunked and request.method == b"GET":
            request.write(data[:1])
            return data[1:]
        request.setHeader("Content-Length", str(len(data)))
        return b"" if request.method == b"HEAD" else data

    def _note(self, request: IRequest) -> str | None:
        byte_range = request.getHeader("Range")
        self.requests.append((request.method.decode(), request.path.decode(), byte_range))
        return byte_range

    def _admit(self, request: IRequest, image_id: str) -> StockImage | None:
        if self.trouble is not None:
            request.setResponseCode(self.trouble)
            return None
        token = request.getHeader("X-Auth-Token") or ""
        if token not in self.tokens:
            request.setResponseCode(401)
            return None
        image = self.images.get(image_id)
        if image is None or token not in image.viewers | image.downloaders:
            request.setResponseCode(404)
            return None
        return image


def _say(request: IRequest, body: bytes) -> bytes:
    request.setHeader("Content-Length", str(len(body)))
    return body
