"""
Requests passed on to the upstream as they are, and its answers passed back, both as they come.
"""

from __future__ import annotations

from typing import Final

from attrs import evolve
from twisted.web.http_headers import Headers

from glance_cache.client import Exchange, UpstreamClient
from glance_cache.headers import end_to_end
from glance_cache.links import Links
from glance_tx.streaming.relay import ReaderBody
from glance_tx.streaming.units import MiB
from glance_tx.web.credentials import strip_identity_headers
from glance_tx.web.request import Request
from glance_tx.web.response import Response

__all__ = ["PassThrough"]

_DOCUMENT_BYTES: Final = 1 * MiB
_BODILESS: Final = frozenset({204, 304})
_WITH_VERSIONS: Final = frozenset({200, 300})

# Set anew on this node's own connection to the upstream, or answered by this node itself.
_NOT_PASSED_ON: Final = frozenset({b"host", b"expect", b"x-openstack-request-id"})
# This node answers with the id that it gave the request, which is the one that the upstream was told.
_NOT_PASSED_BACK: Final = frozenset({b"x-openstack-request-id"})


class PassThrough:
    """
    Everything that the cache does not answer itself.
    """

    def __init__(self, client: UpstreamClient, links: Links) -> None:
        self._client = client
        self._links = links

    async def relay(self, request: Request) -> Response:
        """
        Pass a request on, and its answer back.

        Both bodies move as fast as the slower side takes them. An answer that comes before the request's body is
        all sent goes back at once.

        :raises UpstreamUnavailable: No upstream answered.
        """
        answer = await self._forward(request)
        return self._response(answer, request, answer.header("Content-Length"))

    async def relay_versions(self, request: Request) -> Response:
        """
        Pass on a request for the version document, whose links are to lead back here.

        :raises UpstreamUnavailable: No upstream answered.
        """
        answer = await self._forward(request)
        if answer.status not in _WITH_VERSIONS or request.method == b"HEAD":
            return self._response(answer, request, answer.header("Content-Length"))
        document = await self._client.collect(answer, _DOCUMENT_BYTES)
        return Response(answer.status, self._headers(answer, request), self._links.versions(document, request))

    async def relay_data(self, request: Request, expected_length: int | None) -> Response:
        """
        Pass on a request for image data, whose length may be known even where the upstream does not say it.

        :param expected_length: Bytes of the answer, if it is the data; ``None`` to take the upstream's word.
        :raises UpstreamUnavailable: No upstream answered.
        """
        answer = await self._forward(request)
        if answer.status not in {200, 206}:
            return self._response(answer, request, answer.header("Content-Length"))
        known = answer.header("Content-Length") if expected_length is None else str(expected_length)
        response = self._response(answer, request, known)
        request.notes.cache_state = "bypass"
        return evolve(response, headers=(*response.headers, ("X-Cache", "bypass")))

    async def _forward(self, request: Request) -> Exchange:
        headers = Headers()
        for name, value in end_to_end(request.requestHeaders):
            if name.lower() not in _NOT_PASSED_ON:
                headers.addRawHeader(name, value)
        strip_identity_headers(headers)
        headers.setRawHeaders("X-OpenStack-Request-ID", [request.request_id])
        length = request.body.length
        body = None if length == 0 else ReaderBody(request.body, length)
        return await self._client.exchange(request.method.decode("ascii"), _target(request.uri), headers, body)

    def _response(self, answer: Exchange, request: Request, length: str | None) -> Response:
        headers = self._headers(answer, request)
        announced = int(length) if length and length.isdecimal() else None
        if request.method == b"HEAD" or answer.status in _BODILESS:
            answer.abandon()
            return Response(answer.status, headers, announced_length=announced)
        reader = self._client.reader(answer, announced)
        return Response(answer.status, headers, ReaderBody(reader, reader.length), on_end=lambda _: reader.cancel())

    def _headers(self, answer: Exchange, request: Request) -> tuple[tuple[str, str], ...]:
        lines = []
        for name, value in end_to_end(answer.response.headers):
            lowered = name.lower()
            if lowered in _NOT_PASSED_BACK:
                continue
            text = value.decode("latin-1")
            if lowered == b"location":
                text = self._links.lead_back(text, request)
            lines.append((name.decode("latin-1"), text))
        return tuple(lines)


def _target(uri: bytes) -> str:
    # Clients put raw UTF-8 into request lines; for the upstream it is percent-encoded (RFC 3986 section 2.5).
    return "".join(chr(byte) if 0x21 <= byte <= 0x7E else f"%{byte:02X}" for byte in uri)
