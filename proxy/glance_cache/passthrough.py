"""
Requests passed on to the upstream as they are, and its answers passed back, both as they come.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

from attrs import evolve
from twisted.web.http_headers import Headers

from glance_cache.client import Exchange, UpstreamClient
from glance_cache.errors import UpstreamBrokeOff
from glance_cache.headers import end_to_end
from glance_cache.links import Links
from glance_tx.streaming.interfaces import IBodySource
from glance_tx.streaming.ranges import parse_content_range
from glance_tx.streaming.relay import ReaderBody
from glance_tx.streaming.units import MiB
from glance_tx.web.credentials import CREDENTIAL_HEADERS, strip_identity_headers
from glance_tx.web.request import Request
from glance_tx.web.response import Response

__all__ = ["IKeeper", "IRelay", "PassThrough"]

Lines = tuple[tuple[str, str], ...]
"""Header lines, in order."""

_DOCUMENT_BYTES: Final = 1 * MiB
_BODILESS: Final = frozenset({204, 304})
_DATA: Final = frozenset({200, 206})

# What an image service serves under a version that it knows. Everything else may be answered by a version document.
_API_PATH: Final = re.compile(rb"/v2(?:\.[0-9]+)?/")

# Set anew on this node's own connection to the upstream, or answered by this node itself.
_NOT_PASSED_ON: Final = frozenset({b"host", b"expect", b"x-openstack-request-id", b"forwarded"})
# Spelled with underscores they could be taken for a second one, of which this node knows nothing.
_CREDENTIALS: Final = frozenset(name.lower().encode("ascii") for name in CREDENTIAL_HEADERS)
# What proxies say of a client. An upstream that trusts this node must not be told it by just anybody; and links in its
# answers are led back here, whatever it believes.
_PROXY_HEADERS: Final = b"x-forwarded-"
# Of a document that is not passed on as it came.
_OF_THE_DOCUMENT: Final = frozenset({"content-md5", "digest", "etag", "last-modified"})


class IKeeper(Protocol):
    """
    Keeps an answer that is passed on.
    """

    def collect(self, status: int, headers: Lines, source: IBodySource) -> IBodySource:
        """
        Take a look at an answer.

        :return: What passes its body on.
        """

    def keep(self, status: int, headers: Lines, body: bytes) -> None:
        """
        Keep one whose body is not passed on as it came.
        """


class IRelay(Protocol):
    """
    Passes requests on, as `PassThrough` does.
    """

    async def relay(self, request: Request) -> Response:
        """
        See `PassThrough.relay`.
        """

    async def relay_versions(self, request: Request) -> Response:
        """
        See `PassThrough.relay_versions`.
        """

    async def relay_data(self, request: Request, size: int | None) -> Response:
        """
        See `PassThrough.relay_data`.
        """


class PassThrough:
    """
    Everything that the cache does not answer itself.
    """

    def __init__(self, client: UpstreamClient, links: Links) -> None:
        self._client = client
        self._links = links

    async def relay(self, request: Request, keeper: IKeeper | None = None) -> Response:
        """
        Pass a request on, and its answer back.

        Both bodies move as fast as the slower side takes them. An answer that comes before the request's body is
        all sent goes back at once.

        :param keeper: May keep the answer.
        :raises UpstreamUnavailable: No upstream answered.
        :raises BadRequest: The request says that it is for a host that is none.
        """
        answer = await self._forward(request)
        if answer.status == 300:  # what an image service says to a version that it does not know
            return await self._versions(answer, request)
        return self._response(answer, request, keeper=keeper)

    async def relay_versions(self, request: Request, keeper: IKeeper | None = None) -> Response:
        """
        Pass on a request for the version document, whose links are to lead back here.

        :param keeper: May keep the document as it came.
        :raises UpstreamUnavailable: No upstream answered.
        :raises BadRequest: The request says that it is for a host that is none.
        """
        answer = await self._forward(request)
        if answer.status not in {200, 300}:
            return self._response(answer, request)
        return await self._versions(answer, request, keeper)

    def versions(self, document: bytes, request: Request) -> bytes:
        """
        Make of a version document, as it came, the one for a client.
        """
        return self._links.versions(document, request)

    async def relay_data(self, request: Request, size: int | None) -> Response:
        """
        Pass on a request for image data, whose length may be known even where the upstream does not say it.

        :param size: Bytes of the whole image; ``None`` where nobody knows.
        :raises UpstreamUnavailable: No upstream answered.
        :raises BadRequest: The request says that it is for a host that is none.
        """
        answer = await self._forward(request)
        if answer.status not in _DATA:
            return self._response(answer, request)
        response = self._response(answer, request, _data_length(answer, size))
        request.notes.cache_state = "bypass"
        request.begin_transfer("bypass")
        # The upstream may be a cache, too; here it counts how this one answered.
        headers = [(name, value) for name, value in response.headers if name.lower() != "x-cache"]
        return evolve(response, headers=(*headers, ("X-Cache", "bypass")))

    async def _forward(self, request: Request) -> Exchange:
        self._links.check(request)
        headers = Headers()
        for name, value in end_to_end(request.requestHeaders):
            # A WSGI server cannot tell underscores from dashes.
            dashed = name.lower().replace(b"_", b"-")
            if dashed != name.lower() and dashed in _CREDENTIALS:
                continue
            if name.lower() not in _NOT_PASSED_ON and not dashed.startswith(_PROXY_HEADERS):
                headers.addRawHeader(name, value)
        strip_identity_headers(headers)
        headers.setRawHeaders("X-OpenStack-Request-ID", [request.request_id])
        if not _API_PATH.match(request.path):
            headers.setRawHeaders("Accept-Encoding", ["identity"])  # its links are to be read
        body = None if request.body.length == 0 else request.body
        method, target = request.method.decode("ascii"), request.uri.decode("ascii")
        return await self._client.exchange(method, target, headers, body)

    async def _versions(self, answer: Exchange, request: Request, keeper: IKeeper | None = None) -> Response:
        if request.method == b"HEAD":
            return self._response(answer, request)
        headers = tuple(
            (name, value) for name, value in self._headers(answer, request) if name.lower() not in _OF_THE_DOCUMENT
        )
        document = await self._client.collect(answer, _DOCUMENT_BYTES + 1)
        if len(document) > _DOCUMENT_BYTES:
            raise UpstreamBrokeOff("its version document is no document")
        if keeper is not None:
            keeper.keep(answer.status, headers, document)
        return Response(answer.status, headers, self._links.versions(document, request))

    def _response(
        self, answer: Exchange, request: Request, length: int | None = None, keeper: IKeeper | None = None
    ) -> Response:
        headers = self._headers(answer, request)
        if request.method == b"HEAD" or answer.status in _BODILESS:
            answer.abandon()
            announced = answer.header("Content-Length") or ""
            return Response(answer.status, headers, announced_length=int(announced) if announced.isdecimal() else None)
        reader: IBodySource = self._client.reader(answer, length)
        if keeper is not None:
            reader = keeper.collect(answer.status, headers, reader)
        return Response(answer.status, headers, ReaderBody(reader, reader.length), on_end=lambda _: reader.cancel())

    def _headers(self, answer: Exchange, request: Request) -> Lines:
        # What an image service made it names by an address of its own; a redirect may lead anywhere.
        lead_back = self._links.lead_api_back if answer.status < 300 else self._links.lead_back
        lines = []
        for name, value in end_to_end(answer.response.headers):
            text = value.decode("latin-1")
            lines.append((name.decode("latin-1"), lead_back(text, request) if name.lower() == b"location" else text))
        return tuple(lines)


def _data_length(answer: Exchange, size: int | None) -> int | None:
    """
    Tell what an answer's body must come to.

    :return: ``None`` where the upstream has said so, or nobody can tell.
    """
    if answer.length is not None or answer.header("Content-Encoding") is not None:
        return None
    if answer.status == 200:
        return size
    part = parse_content_range(answer.header("Content-Range") or "")
    return None if part is None else part.range.length
