"""
What the upstream said of images, repeated while it cannot be reached.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Coroutine
from typing import Any, Final

import orjson
from attrs import evolve, field, frozen
from twisted.internet.defer import Deferred

from glance_cache.answers import Answers, Collecting, KeptAnswer
from glance_cache.client import IN_TROUBLE
from glance_cache.errors import UpstreamUnavailable
from glance_cache.grants import Grants
from glance_cache.headers import STALE
from glance_cache.holders import Holders
from glance_cache.interfaces import UpstreamCredentials
from glance_cache.passthrough import IKeeper, Lines, PassThrough
from glance_cache.reach import Reach
from glance_cache.request_credentials import credentials_of
from glance_tx.streaming.interfaces import IBodySource
from glance_tx.streaming.units import MiB
from glance_tx.web.errors import BadRequest
from glance_tx.web.request import Request
from glance_tx.web.response import Response

__all__ = ["Repeating"]

_UUID: Final = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_RECORD: Final = re.compile(rf"/v2(?:\.[0-9]+)?/images/({_UUID})".encode())
_LIST: Final = re.compile(rb"/v2(?:\.[0-9]+)?/images")
_OTHER: Final = re.compile(rb"/v2(?:\.[0-9]+)?/schemas/[a-z/]+|/|/versions")

_WHICH: Final = ("Accept", "Accept-Encoding", "Accept-Language")
"""An answer may depend on these."""

_SPECIAL: Final = (
    *("Authorization", "Cookie", "Range", "Pragma"),
    *("If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range"),
)
"""What is asked with one of them is not for anybody else, or about something else."""

_OF_THE_DOCUMENT: Final = frozenset(
    {"content-type", "content-encoding", "content-language", "etag", "last-modified", "vary"}
)
_VARIES_BY: Final = frozenset(
    {"accept", "accept-encoding", "accept-language", "origin", "x-auth-token", "x-storage-token", "x-service-token"}
)
_FRESH: Final = re.compile(r"\b(?:no-store|no-cache|must-revalidate|proxy-revalidate)\b", re.IGNORECASE)
_MOST_BYTES: Final = 64 * MiB
"""Of a list, unpacked."""


@frozen
class _Question:
    """
    What was asked.

    :param image_id: The image that it is about, in lower case, where it is one.
    :param lists: Whether it is about many.
    """

    key: bytes
    holder: bytes
    credentials: UpstreamCredentials = field(repr=False)
    image_id: str | None
    lists: bool


class _Keeper:
    """
    Keeps the answer to one question.
    """

    def __init__(self, question: _Question, answers: Answers, holders: Holders) -> None:
        self._question = question
        self._answers = answers
        self._holders = holders
        self._asked_at = answers.seconds()

    def collect(self, status: int, headers: Lines, source: IBodySource) -> IBodySource:
        """
        See `IKeeper.collect`.
        """
        if status != 200 or not _may_be_kept(headers):
            return source
        return Collecting(source, self._answers, lambda body: self.keep(status, headers, body))

    def keep(self, status: int, headers: Lines, body: bytes) -> None:
        """
        See `IKeeper.keep`.
        """
        if not _may_be_kept(headers):
            return
        holder = self._holders.get(self._question.holder)
        about = tuple((name, value) for name, value in headers if name.lower() in _OF_THE_DOCUMENT)
        self._answers.keep(self._question.key, KeptAnswer(status, about, body, self._asked_at, holder))
        self._holders.learn(holder, self._question.credentials)


class Repeating:
    """
    Passes requests on, keeps the last answers, and repeats them to those who got them while nobody can be asked.

    :param answers: Where they are kept.
    :param counted: Called for each one that is repeated.
    """

    def __init__(
        self,
        passthrough: PassThrough,
        answers: Answers,
        holders: Holders,
        grants: Grants,
        reach: Reach,
        counted: Callable[[], object],
    ) -> None:
        self._passthrough = passthrough
        self._answers = answers
        self._holders = holders
        self._grants = grants
        self._reach = reach
        self._counted = counted

    async def relay(self, request: Request) -> Response:
        """
        See `PassThrough.relay`.
        """
        return await self._ask(request, lambda keeper: self._passthrough.relay(request, keeper))

    async def relay_versions(self, request: Request) -> Response:
        """
        See `PassThrough.relay_versions`.
        """
        return await self._ask(request, lambda keeper: self._passthrough.relay_versions(request, keeper))

    async def relay_data(self, request: Request, size: int | None) -> Response:
        """
        See `PassThrough.relay_data`. Image data is not repeated; it lies in the cache.
        """
        return await self._passthrough.relay_data(request, size)

    async def _ask(
        self, request: Request, relay: Callable[[IKeeper | None], Coroutine[Any, Any, Response]]
    ) -> Response:
        question = self._question(request)
        if question is None:
            response = await relay(None)
            self._heed(request, response.status)
            return response
        if self._reach.offline and (repeated := self._repeat(request, question)) is not None:
            return repeated
        waiting = Deferred.fromCoroutine(relay(_Keeper(question, self._answers, self._holders)))
        has_one = self._answers.find(question.key) is not None
        try:
            response = await (self._reach.unless_offline(waiting) if has_one else waiting)
        except UpstreamUnavailable:
            if has_one and (repeated := await self._repeat_if_lost(request, question)) is not None:
                return repeated
            raise
        if response.status not in IN_TROUBLE:
            self._take_note(question, response.status)
        elif has_one and (repeated := await self._repeat_in_place_of(response, request, question)) is not None:
            return repeated
        return response

    def _question(self, request: Request) -> _Question | None:
        """
        Tell what a request asks for, where that may be kept.
        """
        if request.method != b"GET" or request.body.length != 0:
            return None
        record = _RECORD.fullmatch(request.path)
        lists = _LIST.fullmatch(request.path) is not None
        if record is None and not lists and not _OTHER.fullmatch(request.path):
            return None
        if any(request.requestHeaders.hasHeader(name) for name in _SPECIAL):
            return None
        if _FRESH.search(request.header("Cache-Control") or ""):
            return None
        try:
            credentials = credentials_of(request)
        except BadRequest:
            return None
        which = [str(request.requestHeaders.getRawHeaders(name)) for name in _WHICH]
        key = self._holders.key(credentials, request.uri.decode("latin-1"), *which)
        image_id = None if record is None else record[1].decode().lower()
        return _Question(key, self._holders.key(credentials), credentials, image_id, lists)

    def _heed(self, request: Request, status: int) -> None:
        """
        Take note of a token that is refused, whatever it was shown for.
        """
        if status == 401:
            try:
                credentials = credentials_of(request)
            except BadRequest:
                return
            self._holders.refused(self._holders.key(credentials), status)

    def _take_note(self, question: _Question, status: int) -> None:
        """
        Take note of an answer: what it is in place of is not repeated any more, and a refusal counts for data, too.
        """
        if status <= 300 or status >= 500:  # 300 is how some versions of the version document are answered
            return
        self._answers.forget(question.key)
        self._grants.refused(question.credentials, status, question.image_id)

    async def _repeat_in_place_of(self, response: Response, request: Request, question: _Question) -> Response | None:
        try:
            repeated = await self._repeat_if_lost(request, question)
        except BaseException:
            _discard(response)
            raise
        if repeated is not None:
            _discard(response)
        return repeated

    async def _repeat_if_lost(self, request: Request, question: _Question) -> Response | None:
        return self._repeat(request, question) if await self._reach.is_lost() else None

    def _repeat(self, request: Request, question: _Question) -> Response | None:
        answer = self._answers.find(question.key)
        if answer is None:
            return None
        if question.image_id is not None and not self._answers.holds(answer, question.image_id):
            self._answers.forget(question.key)
            return None
        age = int(self._answers.seconds() - answer.asked_at)
        answer = self._still_true(answer) if question.lists else answer
        if answer is None:
            return None
        body = answer.body
        if not question.lists and question.image_id is None and not request.path.startswith(b"/v2"):
            body = self._passthrough.versions(body, request)
        self._counted()
        request.notes.cache_state = "offline"
        headers = (*answer.headers, ("Age", str(age)), STALE, ("X-Cache", "offline"))
        return Response(answer.status, headers, body)

    def _still_true(self, answer: KeptAnswer) -> KeptAnswer | None:
        """
        Leave out of a list what is known to have changed since; ``None`` where it cannot be read.
        """
        if not self._answers.changed_since(answer):
            return answer
        try:
            document = orjson.loads(_unpacked(answer))
            images = [image for image in document["images"] if self._answers.holds(answer, image["id"].lower())]
        except (ValueError, KeyError, TypeError, AttributeError, zlib.error):
            return None
        headers = tuple((name, value) for name, value in answer.headers if name.lower() in {"content-type", "vary"})
        return evolve(answer, headers=headers, body=orjson.dumps({**document, "images": images}))


def _discard(response: Response) -> None:
    if response.body is not None and not isinstance(response.body, bytes):
        response.body.stopProducing()
    if response.on_end is not None:
        response.on_end(False)  # noqa: FBT003  (what an end reports)


def _unpacked(answer: KeptAnswer) -> bytes:
    """
    :raises ValueError: It is packed in a way that is not known, or larger than any list.
    """
    encoding = next((value.lower() for name, value in answer.headers if name.lower() == "content-encoding"), "identity")
    if encoding == "identity":
        return answer.body
    if encoding != "gzip":
        raise ValueError(encoding)
    unpacking = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    body = unpacking.decompress(answer.body, _MOST_BYTES)
    if not unpacking.eof:
        raise ValueError("it is too long")
    return body


def _may_be_kept(headers: Lines) -> bool:
    for name, value in headers:
        lowered = name.lower()
        if lowered == "cache-control" and _FRESH.search(value):
            return False
        # Another cache before this one, which could not ask either.
        if lowered == "x-cache" and value == "offline":
            return False
        if lowered == "vary" and not {each.strip().lower() for each in value.split(",")} <= _VARIES_BY:
            return False
    return True
