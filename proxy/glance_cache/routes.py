"""
What clients ask of an image service, and get from the cache where it can.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Protocol

from twisted.logger import Logger

from glance_cache.cache import Cache, CacheState, Served
from glance_cache.entries import EntryStore
from glance_cache.errors import FolderUnusable, ImageUnsteady, UpstreamRefused
from glance_cache.grants import Grants
from glance_cache.headers import STALE
from glance_cache.interfaces import ImageFacts
from glance_cache.passthrough import IRelay
from glance_cache.projects import Projects
from glance_cache.request_credentials import credentials_of
from glance_tx.notify.interfaces import INotifier
from glance_tx.notify.sends import Sent, send_event
from glance_tx.streaming.ranges import ByteRange, content_range, requested_range
from glance_tx.telemetry.transfers import UPLOAD
from glance_tx.web.accept import accepted_version
from glance_tx.web.app import App, BodyRule
from glance_tx.web.errors import BadRequest
from glance_tx.web.request import Request
from glance_tx.web.response import Response
from glance_tx.web.routing import decode_path

__all__ = ["ClientRoutes", "IHitCounter", "is_image_id", "without_minor_version"]

_OCTETS: Final = "application/octet-stream"
_DATA: Final = frozenset({200, 206})
_HITS: Final = frozenset({CacheState.HIT, CacheState.OFFLINE})
_TRIES: Final = 3
"""How often a grant is asked for, where each one was revoked before the first byte went out."""

_SAFE: Final = frozenset({b"GET", b"HEAD", b"OPTIONS"})

_IMAGE_PATH: Final = re.compile("/v2/images/([^/]+)(?:/.*)?")
_IMAGE_ID: Final = re.compile("[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# The prefixes that any image service takes for its version 2; what others mean is for the upstream to say.
_MINOR_VERSION: Final = re.compile(r"^/v2\.(?:1?[0-8]|9)(?=/)")
# Paths that have a version, or are of none.
_VERSION: Final = re.compile(r"/(?:v[0-9]+(?:\.[0-9]+)?|versions|healthcheck)?(?:/|$)|[^/]|$")


def is_image_id(text: str) -> bool:
    """
    Tell whether a text has the form of an image id.
    """
    return _IMAGE_ID.fullmatch(text) is not None


def without_minor_version(path: str, accept: str | None = None) -> str:
    """
    Make all spellings of the API's prefix one.

    :param accept: The Accept header. For a path without a version it may name one, by a media type.
    """
    accepted = None if _VERSION.match(path) else accepted_version(accept)
    return _MINOR_VERSION.sub("/v2", path if accepted is None else f"/{accepted}{path}", count=1)


class IHitCounter(Protocol):
    """
    Counts hits.
    """

    def record(self, image_id: str, bytes_sent: int, project: str | None = None) -> None:
        """
        Count one hit; returns at once.

        :param project: The caller's; ``None`` where hits are not counted by project.
        """


class ClientRoutes:
    """
    Image data from the cache; everything else from the upstream.

    :param count: Told of each data answer, by its `CacheState`.
    :param projects: For hits by project; ``None`` where they are not counted so.
    :param notifier: Told of downloads that the upstream cannot tell of, as it does not see them.
    """

    _log = Logger()

    def __init__(
        self,
        cache: Cache,
        entries: EntryStore,
        grants: Grants,
        hits: IHitCounter,
        passthrough: IRelay,
        count: Callable[[str], object],
        notifier: INotifier,
        projects: Projects | None = None,
    ) -> None:
        self._cache = cache
        self._entries = entries
        self._grants = grants
        self._hits = hits
        self._passthrough = passthrough
        self._count = count
        self._notifier = notifier
        self._projects = projects

    def mount(self, app: App) -> None:
        """
        Add the routes to an application.
        """
        app.add("GET", "/v2/images/<image_id>/file", self.download, BodyRule.STREAM)
        app.add("DELETE", "/v2/images/<image_id>", self.delete, BodyRule.STREAM)
        app.add("GET", "/", self._passthrough.relay_versions, BodyRule.STREAM)
        app.add("GET", "/versions", self._passthrough.relay_versions, BodyRule.STREAM)
        app.fallback(self.other)

    async def download(self, request: Request, image_id: str) -> Response:
        """
        ``GET /v2/images/{image_id}/file``.
        """
        if not is_image_id(image_id):
            return await self._bypass(request, None)
        credentials = credentials_of(request)
        try:
            for _ in range(_TRIES):
                grant = await self._grants.grant(image_id.lower(), credentials)
                facts = grant.facts
                if facts is None or not facts.size:
                    break
                part = requested_range(request.header("Range"), request.header("Content-Range"), facts.size)
                served: Served | None
                if grant.offline:
                    served = await self._cache.open_offline(facts, part)
                else:
                    served = await self._cache.open(facts, credentials, part)
                if served is None:
                    return await self._bypass(request, facts.size)
                if not grant.revoked:
                    return self._answer(request, facts, part, served)
                # It took a while, and meanwhile the image changed, or who may read it.
                served.body.close()
        except (ImageUnsteady, UpstreamRefused):
            pass
        # Asked by the request itself, the upstream refuses in its own words.
        return await self._bypass(request, None)

    async def delete(self, request: Request, image_id: str) -> Response:
        """
        ``DELETE /v2/images/{image_id}``: a deleted image leaves the cache, and so does one that turns out to be gone.
        """
        response = await self.other(request)
        if is_image_id(image_id) and (response.status < 300 or response.status == 404):
            try:
                await self._entries.remove(image_id.lower())
            except FolderUnusable as error:
                # Without a grant nobody gets what is left of it.
                self._log.warn(
                    "deleted image {image_id} is still in the cache: {error}", image_id=image_id, error=error
                )
            except BaseException:
                if response.on_end is not None:
                    response.on_end(False)  # noqa: FBT003  (what an end reports)
                raise
        return response

    async def other(self, request: Request) -> Response:
        """
        Everything else. What has changed an image, or who may read it, ends the grants for it; what may have, has the
        upstream asked anew.
        """
        image_id = _changed_image(request)
        if image_id is not None and request.method == b"PUT" and request.path.endswith(b"/file"):
            request.begin_transfer(UPLOAD)
        if image_id is None:
            return await self._passthrough.relay(request)
        try:
            response = await self._passthrough.relay(request)
        except BaseException:
            self._grants.perhaps_changed(image_id)
            raise
        if response.status < 400:
            self._grants.changed(image_id)
        else:
            self._grants.perhaps_changed(image_id)
        return response

    async def _bypass(self, request: Request, size: int | None) -> Response:
        response = await self._passthrough.relay_data(request, size)
        if response.status in _DATA:
            self._count(CacheState.BYPASS)
        return response

    def _answer(self, request: Request, facts: ImageFacts, part: ByteRange | None, served: Served) -> Response:
        self._count(served.state)
        request.notes.cache_state = served.state
        request.begin_transfer(served.state)
        headers = [("Content-Type", _OCTETS), ("X-Cache", served.state)]
        if facts.checksum is not None:
            # Hex, and of the whole image even for a part of it, as clients know it.
            headers.append(("Content-MD5", facts.checksum))
        if part is not None:
            headers.append(("Content-Range", content_range(part, facts.size)))
        length = facts.size if part is None else part.length
        if served.state is CacheState.OFFLINE:
            headers.append(STALE)
        counted = part is None and served.state in _HITS
        # From now on, beside the body: whoever asks has a grant, so that tokens made up cost no question here.
        project: Callable[[], str | None] = _no_project
        if counted and self._projects is not None:
            project = self._projects.look_up(request)

        def ended(complete: bool) -> None:
            if complete and counted:
                self._hits.record(facts.image_id, facts.size, project())
            if served.state is not CacheState.FILL:  # which the upstream has told of itself
                self._tell_sent(request, facts, length)

        return Response(200 if part is None else 206, tuple(headers), served.body, on_end=ended)

    def _tell_sent(self, request: Request, facts: ImageFacts, length: int) -> None:
        # Whom a token belongs to is not known here, nor who owns the image.
        sent = Sent(facts.image_id, None, request.sentLength, length, request.client_host)
        self._notifier.notify(send_event(sent, None, None))


def _no_project() -> None:
    return None


def _changed_image(request: Request) -> str | None:
    """
    Tell which image a request may be about to change.
    """
    if request.method in _SAFE:
        return None
    try:
        path = without_minor_version(decode_path(request.path))
    except BadRequest:
        return None
    matched = _IMAGE_PATH.fullmatch(path)
    return None if matched is None else matched[1].lower()
