"""
The image service before which the cache stands: who may download what, and the data itself.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

import orjson
from twisted.internet.interfaces import IReactorTime
from twisted.web.http_headers import Headers
from zope.interface import implementer

from glance_cache.client import Exchange, UpstreamClient
from glance_cache.errors import UpstreamMismatch, UpstreamRefused
from glance_cache.headers import end_to_end
from glance_cache.interfaces import ImageFacts, IUpstream, IUpstreamData, UpstreamCredentials
from glance_cache.names import is_image_id
from glance_cache.redirects import MOST_REDIRECTS, REDIRECTS, redirect_target, same_origin
from glance_tx.streaming.units import KiB, MiB

REFUSAL_BYTES: Final = 64 * KiB
RECORD_BYTES: Final = 4 * MiB
"""The most of an image record, or of a refusal, that is taken into memory."""

_PAGE_IMAGES: Final = 200
"""So many records are well below those bytes, as a rule."""

PROBE_AGAIN_SECONDS: Final = 600.0
"""An upstream that did not know HEAD of image data is asked again after this long: it may have been replaced."""

_CREDENTIALS: Final = ("X-Auth-Token", "X-Storage-Token", "X-Service-Token")

_HEX: Final = re.compile(r"[0-9a-f]{1,128}")
_DIGITS: Final = re.compile(r"[0-9]{1,18}")
_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)")


def data_path(image_id: str) -> str:
    """
    Give the path of an image's data.
    """
    return f"/v2/images/{image_id}/file"


def credential_headers(credentials: UpstreamCredentials) -> Headers:
    """
    Put credentials back into the headers that they came in.
    """
    headers = Headers()
    values = (credentials.auth_token, credentials.storage_token, credentials.service_token)
    for name, value in zip(_CREDENTIALS, values, strict=True):
        if value is not None:
            headers.setRawHeaders(name, [value])
    return headers


def image_facts(
    image_id: str, size: int, checksum: str | None, os_hash_algo: str | None, os_hash_value: str | None
) -> ImageFacts:
    """
    Make facts of what an upstream says. A digest that cannot be used to check data is left out.
    """
    checksum = checksum if checksum and _HEX.fullmatch(checksum) and len(checksum) == 32 else None
    if not _usable(os_hash_algo, os_hash_value):
        os_hash_algo = os_hash_value = None
    return ImageFacts(image_id.lower(), size, checksum, os_hash_algo, os_hash_value)


def _usable(algorithm: str | None, value: str | None) -> bool:
    if not algorithm or not value or not _HEX.fullmatch(value) or algorithm not in hashlib.algorithms_available:
        return False
    # The digests of variable length (shake_128, shake_256) say 0 here and cannot be told from the name alone.
    return len(value) == 2 * hashlib.new(algorithm, usedforsecurity=False).digest_size


def _image_ids(page: Mapping[str, object]) -> Iterator[str]:
    images = page.get("images")
    for image in images if isinstance(images, list) else ():
        image_id = image.get("id") if isinstance(image, dict) else None
        if isinstance(image_id, str) and is_image_id(image_id.lower()):
            yield image_id.lower()


def _whole_bytes(answer: Exchange) -> int | None:
    """
    Tell how long what an answer is a part of is in whole.
    """
    if answer.status != 206:
        return answer.length
    matched = _CONTENT_RANGE.fullmatch(answer.header("Content-Range") or "")
    return int(matched[2]) if matched is not None and matched[2] != "*" else None


@implementer(IUpstreamData)
class SkippingBody:
    """
    The rest of a body whose first bytes the server would not leave out.
    """

    def __init__(self, reader: IUpstreamData, skip_bytes: int, length: int | None) -> None:
        self.length = length
        self._reader = reader
        self._left = skip_bytes

    async def read(self, at_least: int) -> bytes:
        """
        See `IBodyReader.read`.
        """
        while self._left:
            piece = await self._reader.read(1)
            if not piece:
                return b""
            rest = piece[self._left :]
            self._left = max(0, self._left - len(piece))
            if rest:
                return rest
        return await self._reader.read(at_least)

    def cancel(self) -> None:
        """
        See `IBodySource.cancel`.
        """
        self._reader.cancel()

    def distrust(self) -> None:
        """
        See `IUpstreamData.distrust`.
        """
        self._reader.distrust()


@implementer(IUpstream)
class GlanceUpstream:
    """
    An upstream that speaks the Image API v2: this project's own service, or a stock OpenStack Glance.
    """

    def __init__(self, client: UpstreamClient, clock: IReactorTime) -> None:
        self._client = client
        self._clock = clock
        self._no_head_until: dict[str, float] = {}

    async def authorize(self, image_id: str, credentials: UpstreamCredentials) -> ImageFacts | None:
        """
        See `IUpstream.authorize`.
        """
        headers = credential_headers(credentials)
        if self._clock.seconds() >= self._no_head_until.get(self._client.preferred, 0.0):
            answer = await self._client.exchange("HEAD", data_path(image_id), headers)
            if answer.status in REDIRECTS:
                # Only data is fetched from elsewhere; the probe asks for some.
                answer.abandon()
                return await self._probe_stock(image_id, credentials)
            if answer.status != 405:
                return await self._facts_of_head(image_id, answer)
            self._no_head_until[answer.base] = self._clock.seconds() + PROBE_AGAIN_SECONDS
            answer.abandon()
        return await self._probe_stock(image_id, credentials)

    async def open_data(
        self, image_id: str, credentials: UpstreamCredentials, offset: int = 0, length: int | None = None
    ) -> IUpstreamData:
        """
        See `IUpstream.open_data`.
        """
        end = "" if length is None else offset + length - 1
        byte_range = f"bytes={offset}-{end}" if offset or length is not None else None
        answer = await self._get_data(image_id, credentials, byte_range)
        if byte_range is not None and answer.status in {400, 416}:
            # Its store cannot seek; the bytes before are read and thrown away.
            answer.abandon()
            answer = await self._get_data(image_id, credentials, None)
        if answer.status == 206:
            matched = _CONTENT_RANGE.fullmatch(answer.header("Content-Range") or "")
            if matched is None or int(matched[1]) != offset:
                answer.abandon()
                raise UpstreamMismatch(image_id, f"the upstream sent another range than the one from {offset}")
            # In pieces of unknown number it might be the rest of another image.
            unsaid = answer.length is None and matched[2] != "*"
            whole = int(matched[2]) - offset if unsaid else None
            return self._client.reader(answer, whole if length is None else None, watched=True)
        if answer.status != 200:
            raise await self._refusal(answer)
        reader = self._client.reader(answer, watched=True)
        if not offset:
            return reader
        return SkippingBody(reader, offset, None if reader.length is None else reader.length - offset)

    async def show(self, image_id: str, credentials: UpstreamCredentials) -> Mapping[str, object]:
        """
        See `IUpstream.show`.
        """
        return await self._get_json(f"/v2/images/{image_id}", credentials, image_id)

    async def find(
        self, query: Sequence[tuple[str, str]], credentials: UpstreamCredentials, most: int
    ) -> Sequence[str]:
        """
        See `IUpstream.find`.
        """
        found: dict[str, None] = {}
        target: object = f"/v2/images?{urlencode([*query, ('limit', str(min(most, _PAGE_IMAGES)))])}"
        # A list that leads nowhere ends all the same: each page must bring something new.
        while isinstance(target, str) and target.startswith("/v2/images?") and len(found) < most:
            page = await self._get_json(target, credentials, "a list of images")
            known = len(found)
            found.update(dict.fromkeys(_image_ids(page)))
            target = page.get("next") if len(found) > known else None
        return list(found)[:most]

    async def _get_json(self, target: str, credentials: UpstreamCredentials, what: str) -> Mapping[str, object]:
        headers = credential_headers(credentials)
        headers.setRawHeaders("Accept", ["application/json"])
        answer = await self._client.exchange("GET", target, headers)
        if answer.status != 200:
            raise await self._refusal(answer)
        try:
            document = orjson.loads(await self._client.collect(answer, RECORD_BYTES))
        except orjson.JSONDecodeError as error:
            raise UpstreamMismatch(what, "the upstream's record is not JSON") from error
        if not isinstance(document, dict):
            raise UpstreamMismatch(what, "the upstream's record is not an object")
        return document

    async def _facts_of_head(self, image_id: str, answer: Exchange) -> ImageFacts | None:
        if answer.status == 204:
            answer.abandon()
            return None
        if answer.status != 200:
            raise await self._refusal(answer)
        answer.abandon()
        length = answer.header("Content-Length") or ""
        if not _DIGITS.fullmatch(length):
            return None
        return image_facts(
            image_id,
            int(length),
            answer.header("Content-MD5"),
            answer.header("X-Openstack-Image-Hash-Algo"),
            answer.header("X-Openstack-Image-Hash-Value"),
        )

    async def _probe_stock(self, image_id: str, credentials: UpstreamCredentials) -> ImageFacts | None:
        """
        Ask a service that does not know HEAD of image data. Seeing an image does not prove the right to download
        it, so one byte of its data is asked for too.
        """
        record = await self.show(image_id, credentials)
        answer = await self._get_data(image_id, credentials, "bytes=0-0")
        if answer.status in {400, 416}:
            # A store that cannot seek, or an image of no bytes.
            answer.abandon()
            answer = await self._get_data(image_id, credentials, None)
            allowed = {200}
        else:
            allowed = {200, 206}
        if answer.status not in allowed | {204}:
            raise await self._refusal(answer)
        size = record.get("size")
        if answer.redirected and _whole_bytes(answer) != size:
            # It leads to something else than the image: a page where one has to log in, perhaps.
            raise await self._refusal(answer)
        answer.abandon()
        if answer.status == 204 or not isinstance(size, int):
            return None
        texts = {name: record.get(name) for name in ("checksum", "os_hash_algo", "os_hash_value")}
        return image_facts(
            image_id, size, **{name: text if isinstance(text, str) else None for name, text in texts.items()}
        )

    async def _get_data(self, image_id: str, credentials: UpstreamCredentials, byte_range: str | None) -> Exchange:
        headers = credential_headers(credentials)
        headers.setRawHeaders("Accept-Encoding", ["identity"])
        if byte_range is not None:
            headers.setRawHeaders("Range", [byte_range])
        answer = await self._client.exchange("GET", data_path(image_id), headers)
        url = answer.base + data_path(image_id)
        for _ in range(MOST_REDIRECTS):
            target = redirect_target(answer, url)
            if target is None:
                break
            if not same_origin(url, target):
                # And not shown again should that one send us back.
                for name in _CREDENTIALS:
                    headers.removeHeader(name)
            answer.abandon()
            answer = await self._client.follow(answer.base, target, headers)
            url = target
        return answer

    async def _refusal(self, answer: Exchange) -> UpstreamRefused:
        body = await self._client.collect(answer, REFUSAL_BYTES)
        return UpstreamRefused(answer.status, tuple(end_to_end(answer.response.headers)), body)
