"""
Which images are to be prefetched, where a caller does not name them all himself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeVar

from attrs import field, frozen
from twisted.internet.defer import Deferred

from glance_cache.errors import PrefetchImpossible, UpstreamRefused
from glance_cache.interfaces import ICacheIndex, IOwnCredentials, IUpstream, UpstreamCredentials
from glance_cache.jobs import HIGHEST_PRIORITY
from glance_cache.routes import is_image_id
from glance_tx.streaming.settle import settle
from glance_tx.web.errors import BadRequest

__all__ = ["MOST_IMAGES", "ImageFilter", "Selection", "Wanted"]

T = TypeVar("T")

MOST_IMAGES: Final = 1000
"""Of one filter, or of the warmest ones."""

_MOST_IDS: Final = 200
_AT_ONCE: Final = 8
_DEFAULT_NEWEST: Final = 100

# They say how a list is made, and not which images there are.
_NO_PROPERTIES: Final = frozenset(
    {"limit", "marker", "sort", "sort_key", "sort_dir", "status", "member_status", "name", "tag"}
)


@frozen
class ImageFilter:
    """
    A selection of active images.

    :param newest: How many at most, the newest first.
    """

    name: str | None = None
    tags: tuple[str, ...] = ()
    properties: tuple[tuple[str, str], ...] = ()
    newest: int = _DEFAULT_NEWEST

    @property
    def query(self) -> Sequence[tuple[str, str]]:
        """
        The list of the Image API that has them.
        """
        named = [] if self.name is None else [("name", self.name)]
        order = [("status", "active"), ("sort_key", "created_at"), ("sort_dir", "desc")]
        return [*named, *(("tag", tag) for tag in self.tags), *self.properties, *order]


@frozen
class Wanted:
    """
    What a request wants to be prefetched: one of the three.

    :param warm: So many of those that were served most often by all nodes.
    """

    image_ids: tuple[str, ...] | None = None
    filter: ImageFilter | None = None
    warm: int | None = None
    priority: int = field(default=0)

    @classmethod
    def of(cls, document: Any) -> Wanted:
        """
        Read it off a JSON document.

        :raises BadRequest: The document is none of that kind.
        """
        if not isinstance(document, dict):
            raise BadRequest("the document is not an object")
        unknown = document.keys() - {"image_ids", "filter", "warm", "priority"}
        if unknown or len(document.keys() & {"image_ids", "filter", "warm"}) != 1:
            raise BadRequest("there must be one of image_ids, filter and warm, and nothing else but priority")
        priority = _number(document.get("priority", 0), "priority", -HIGHEST_PRIORITY, HIGHEST_PRIORITY)
        if "image_ids" in document:
            return cls(image_ids=_ids(document["image_ids"]), priority=priority)
        if "warm" in document:
            return cls(warm=_number(document["warm"], "warm", 1, MOST_IMAGES), priority=priority)
        return cls(filter=_filter(document["filter"]), priority=priority)


def _number(value: object, name: str, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise BadRequest(f"{name} must be an integer from {least} to {most}")
    return value


def _texts(value: object, name: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) and 0 < len(text) <= 255 for text in value):
        raise BadRequest(f"{name} must be a list of texts of up to 255 characters")
    return tuple(value)


def _ids(value: object) -> tuple[str, ...]:
    ids = tuple(dict.fromkeys(text.lower() for text in _texts(value, "image_ids")))
    if not 1 <= len(ids) <= _MOST_IDS or not all(map(is_image_id, ids)):
        raise BadRequest(f"image_ids must be 1 to {_MOST_IDS} ids of images")
    return ids


def _filter(value: object) -> ImageFilter:
    if not isinstance(value, dict) or value.keys() - {"name", "tags", "properties", "newest"}:
        raise BadRequest("filter must be an object with any of name, tags, properties and newest")
    name = _texts([value["name"]], "name")[0] if "name" in value else None
    tags = _texts(value.get("tags", []), "tags")
    properties = value.get("properties", {})
    if not isinstance(properties, dict) or properties.keys() & _NO_PROPERTIES:
        raise BadRequest(f"properties must be an object, and none of them one of {', '.join(sorted(_NO_PROPERTIES))}")
    _texts([*properties, *properties.values()], "names and values of properties")
    newest = _number(value.get("newest", _DEFAULT_NEWEST), "newest", 1, MOST_IMAGES)
    return ImageFilter(name, tags, tuple(properties.items()), newest)


class Selection:
    """
    Finds images.

    :param cached: Tells which images are here already.
    """

    def __init__(self, upstream: IUpstream, index: ICacheIndex, cached: Callable[[], Collection[str]]) -> None:
        self._upstream = upstream
        self._index = index
        self._cached = cached

    async def named(self, image_ids: Sequence[str], credentials: UpstreamCredentials) -> Sequence[Mapping[str, object]]:
        """
        Fetch the records of images as a caller sees them.

        :raises UpstreamRefused: He does not see one of them.
        """
        return await _each(image_ids, lambda image_id: self._upstream.show(image_id, credentials))

    async def matching(self, wanted: ImageFilter, own: IOwnCredentials) -> Sequence[str]:
        """
        List images as the node sees them.

        :raises PrefetchImpossible: The upstream does not take the node's credentials.
        :raises UpstreamRefused: It does not take the filter.
        """
        return await _as_node(own, lambda ours: self._upstream.find(wanted.query, ours, wanted.newest))

    async def warmest(self, count: int, own: IOwnCredentials) -> Sequence[str]:
        """
        Find the images with most hits over all nodes, less those that are here and those that are no more.

        :raises PrefetchImpossible: The upstream does not take the node's credentials.
        """
        hits = await self._index.hits()
        ranked = sorted(hits, key=lambda image_id: (-hits[image_id].hits, -hits[image_id].last_at, image_id))
        cached = self._cached()
        absent = [image_id for image_id in ranked[:count] if image_id not in cached]

        async def active(ours: UpstreamCredentials) -> Sequence[bool]:
            return await _each(absent, lambda image_id: self._is_active(image_id, ours))

        return [image_id for image_id, there in zip(absent, await _as_node(own, active), strict=True) if there]

    async def _is_active(self, image_id: str, credentials: UpstreamCredentials) -> bool:
        try:
            return (await self._upstream.show(image_id, credentials)).get("status") == "active"
        except UpstreamRefused as error:
            if error.status != 404:
                raise
            return False


async def _as_node(own: IOwnCredentials, work: Callable[[UpstreamCredentials], Awaitable[T]]) -> T:
    """
    Do something with the node's own credentials, with others where the first ones are not taken.
    """
    credentials = await own.get()
    try:
        return await work(credentials)
    except UpstreamRefused as error:
        if error.status not in {401, 403}:
            raise
        if error.status == 403 or not own.reject(credentials):
            raise PrefetchImpossible(f"{error} to the node's own credentials") from error
    return await work(await own.get())


async def _each(image_ids: Sequence[str], work: Callable[[str], Awaitable[T]]) -> Sequence[T]:
    """
    Do something for each image, a few at a time.
    """

    async def one(image_id: str) -> T:
        return await work(image_id)

    results: list[T] = []
    for start in range(0, len(image_ids), _AT_ONCE):
        part = [Deferred.fromCoroutine(one(image_id)) for image_id in image_ids[start : start + _AT_ONCE]]
        results += await settle(part)
    return results
