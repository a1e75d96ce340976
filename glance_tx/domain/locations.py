"""
Where the data of images lie, as clients see it and set it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import evolve, frozen

from glance_tx.domain.access import Access
from glance_tx.domain.changes import Add, Operation, Remove, Replace
from glance_tx.domain.errors import Forbidden, FormatsNotSet, InvalidImage, PropertyConflict, QuotaExceeded
from glance_tx.domain.images import Image, ImageStatus, Location
from glance_tx.domain.quotas import StorageQuota
from glance_tx.domain.validation import Validation
from glance_tx.domain.values import flaw_of_text
from glance_tx.identity.caller import Caller
from glance_tx.stores.errors import LocationNotAllowed, LocationNotFound
from glance_tx.stores.interfaces import IStore

__all__ = ["LocationRules", "Locations", "SeenLocations"]

_ATTRIBUTE: Final = "locations"
_NEVER_FROM_CLIENTS: Final = frozenset({"file", "filesystem", "swift+config"})
_URL_LENGTH: Final = 255
_METADATA_BYTES: Final = 65_535  # what a TEXT column of MariaDB and MySQL holds
_OPEN: Final = frozenset({ImageStatus.QUEUED, ImageStatus.ACTIVE})


@frozen
class LocationRules:
    """
    What an operator decides about locations.

    :param show_direct_url: Clients see the first location.
    :param show_multiple: Clients see all of them, and may change them.
    :param quota: Most locations of one image; any number below 0.
    """

    show_direct_url: bool = False
    show_multiple: bool = False
    quota: int = 10


@frozen
class SeenLocations:
    """
    What a client is to see.

    :param direct_url: ``None`` where it is not to see it, or there is none.
    :param locations: ``None`` where it is not to see any.
    """

    direct_url: str | None = None
    locations: Sequence[Location] | None = None


class Locations:
    """
    Shows and changes locations (contract section 2.6).

    URLs may hold credentials: no error here repeats one.

    :param stores: Those that data may lie in, by name.
    :param hashing_algorithm: What ``os_hash_value`` of new data is made with.
    :param quota: How much a project may keep. An image counts once for each of its locations.
    """

    def __init__(
        self,
        access: Access,
        stores: Mapping[str, IStore],
        rules: LocationRules,
        hashing_algorithm: str,
        quota: StorageQuota,
    ) -> None:
        self._access = access
        self._stores = stores
        self._rules = rules
        self._quota = quota
        self._validation = Validation(hashing_algorithm)

    def seen(self, image: Image, caller: Caller) -> SeenLocations:
        """
        Say what a caller is to see of an image that it may know of.
        """
        wanted = self._rules.show_direct_url or self._rules.show_multiple
        if not wanted or not self._access.permits("get_image_location", caller, image):
            return SeenLocations()
        direct_url = image.locations[0].url if self._rules.show_direct_url and image.locations else None
        return SeenLocations(direct_url, image.locations if self._rules.show_multiple else None)

    def split(self, operations: Sequence[Operation]) -> tuple[Sequence[Operation], Sequence[Operation]]:
        """
        Tell operations on locations from others. While locations are not to be changed there are none.

        :return: Those on locations, and all others.
        """
        if not self._rules.show_multiple:
            return (), operations
        mine = [operation for operation in operations if operation.path[:1] == (_ATTRIBUTE,)]
        return mine, [operation for operation in operations if operation.path[:1] != (_ATTRIBUTE,)]

    async def changed(self, caller: Caller, image: Image, operations: Sequence[Operation]) -> Image:
        """
        Apply operations on locations in order.

        :param image: As it is after all other operations.
        :return: The image as it is to be; a queued one that got its first location is active.
        :raises ImageNotFound: The caller may not know of it.
        :raises Forbidden: Policy is against it, or the last location would go.
        :raises InvalidImage: A path or a value cannot be, or what lies there is no data of this image.
        :raises PropertyConflict: Not in this status, or the validation data do not fit.
        :raises FormatsNotSet: What the data are is not known yet.
        :raises QuotaExceeded: There would be too many.
        :raises StorageQuotaExceeded: The project would keep more data than it may.
        :raises StoreUnavailable: A store cannot be asked now.
        """
        before = len(image.locations)
        for operation in operations:
            match operation:
                case Add(path, value):
                    image = await self._added(caller, image, path, value)
                case Replace(path, value):
                    image = await self._replaced(caller, image, path, value)
                case Remove(path):
                    image = self._removed(caller, image, path)
        added = len(image.locations) - before
        if added > 0:
            with await self._quota.claim(image, (image.size or 0) * added):
                pass  # there is room; what an upload would take meanwhile is refused when it is whole
        return image

    async def _added(self, caller: Caller, image: Image, path: Sequence[str], value: object) -> Image:
        part = _part(path)
        self._access.require("set_image_location", caller, image)
        _require_status(image, _OPEN)
        position = _position(part, len(image.locations) + 1)
        item = _item(value)
        self._require_quota(len(image.locations) + 1)
        image = self._validation.apply(image, [item.validation])
        location, size = await self._found(image, item)
        locations = [*image.locations]
        locations.insert(position, location)
        return _with(image, locations, size)

    async def _replaced(self, caller: Caller, image: Image, path: Sequence[str], value: object) -> Image:
        if len(path) > 1:
            raise InvalidImage("single locations are added and removed, not replaced")
        self._access.require("set_image_location", caller, image)
        if not isinstance(value, list):
            raise InvalidImage("attribute 'locations' must be a list")
        if not value:
            raise Forbidden("the locations of an image cannot all be removed")
        _require_status(image, _OPEN)
        items = [_item(one) for one in value]
        self._require_quota(len(items))
        image = self._validation.apply(image, [item.validation for item in items])
        there = {location.url: location for location in image.locations}
        if there and sorted(there) != sorted(item.url for item in items):
            raise InvalidImage("locations that are there are removed one by one; a list must have the same URLs")
        if there:
            return evolve(image, locations=tuple(evolve(there[item.url], metadata=item.metadata) for item in items))
        for item in items:
            location, size = await self._found(image, item)
            image = _with(image, [*image.locations, location], size)
        return image

    def _removed(self, caller: Caller, image: Image, path: Sequence[str]) -> Image:
        part = _part(path)
        self._access.require("delete_image_location", caller, image)
        _require_status(image, frozenset({ImageStatus.ACTIVE}))
        if len(image.locations) == 1:
            raise Forbidden("the last location of an image cannot be removed")
        position = _position(part, len(image.locations))
        return evolve(image, locations=image.locations[:position] + image.locations[position + 1 :])

    def _require_quota(self, count: int) -> None:
        if 0 <= self._rules.quota < count:
            raise QuotaExceeded("locations", count, self._rules.quota)

    async def _found(self, image: Image, item: _Item) -> tuple[Location, int]:
        """
        Look up what lies at a location that an image does not have yet.
        """
        if any(location.url == item.url for location in image.locations):
            raise InvalidImage("the image has that location already")
        if not image.locations and not image.formats_set:
            raise FormatsNotSet(image.id)
        scheme = item.url.partition(":")[0].lower()
        if scheme in _NEVER_FROM_CLIENTS:
            raise InvalidImage(f"locations of the scheme {scheme!r} are not accepted")
        for store in self._stores.values():
            if scheme not in store.schemes:
                continue
            try:
                size = await store.size_bytes(item.url)
            except LocationNotAllowed:
                continue
            except LocationNotFound:
                size = 0
            if not size:
                raise InvalidImage("there are no data at that location")
            if image.size is not None and image.size != size:
                raise InvalidImage(f"there are {size} bytes at that location; the image has {image.size}")
            return Location(store.name, item.url, item.metadata), size
        raise InvalidImage("no store of this service has such a location")


@frozen
class _Item:
    """
    A location as a client gave it.
    """

    url: str
    metadata: Mapping[str, Any]
    validation: object


def _item(value: object) -> _Item:
    if not isinstance(value, dict):
        raise InvalidImage("a location must be an object")
    url, metadata = value.get("url"), value.get("metadata")
    if not isinstance(url, str) or len(url) > _URL_LENGTH or flaw_of_text(url) is not None or not _is_url(url):
        raise InvalidImage(f"a location must have a 'url' of at most {_URL_LENGTH} characters")
    if not isinstance(metadata, dict) or len(json.dumps(metadata)) > _METADATA_BYTES:
        raise InvalidImage(f"a location must have 'metadata': an object of at most {_METADATA_BYTES} bytes")
    return _Item(url, metadata, value.get("validation_data"))


def _is_url(text: str) -> bool:
    try:
        return bool(urlsplit(text).scheme)
    except ValueError:
        return False


def _part(path: Sequence[str]) -> str:
    if len(path) != 2:  # the attribute, and a place in it
        raise InvalidImage("a path into 'locations' must have one part after it: a position, or a dash")
    return path[1]


def _position(part: str, end: int) -> int:
    if part == "-":
        return end - 1
    if not part.isascii() or not part.isdigit() or len(part) > len(str(end)) or int(part) >= end:
        raise InvalidImage(f"there is no position {part[:20]!r} in the image's locations")
    return int(part)


def _require_status(image: Image, statuses: frozenset[ImageStatus]) -> None:
    if image.status not in statuses:
        raise PropertyConflict(f"locations of an image that is {image.status} do not change so")


def _with(image: Image, locations: Sequence[Location], size: int) -> Image:
    return evolve(image, locations=tuple(locations), status=ImageStatus.ACTIVE, size=size)
