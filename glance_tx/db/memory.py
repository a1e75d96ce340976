"""
Images in memory: the same as in SQL, for tests and for trying things out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from functools import cmp_to_key
from typing import Any

from attrs import define, evolve, field
from zope.interface import implementer

from glance_tx.db.queries import SortKey, conditions, could_see, sort_keys
from glance_tx.domain.errors import (
    ImageExists,
    ImageGone,
    ImageNotFound,
    InvalidQuery,
    LeaseLost,
    QuotaExceeded,
    StatusConflict,
)
from glance_tx.domain.filters import Condition, OneOf
from glance_tx.domain.images import Image, ImageStatus, Location, Visibility
from glance_tx.domain.interfaces import IImageRepository, ImageQuery, Lease, LeaseOwner, StoredData
from glance_tx.domain.members import Member

__all__ = ["MemoryImages"]


@define
class _Record:
    image: Image
    fence: int = 0
    members: dict[str, Member] = field(factory=dict)


@implementer(IImageRepository)
class MemoryImages:
    """
    Images in dicts. No method waits, so that each is a transaction.

    :param now: Tells the time, for changes whose caller does not.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._records: dict[str, _Record] = {}
        self._leases: dict[tuple[str, int], Lease] = {}

    async def add(self, image: Image) -> None:
        """
        Keep a new image, its id in lower case.
        """
        image_id = image.id.lower()
        if image_id in self._records:
            raise ImageExists(image_id)
        self._records[image_id] = _Record(evolve(image, id=image_id, properties=dict(image.properties)))

    async def get(self, image_id: str, *, project_id: str | None = None) -> Image:
        """
        Fetch one image.
        """
        return _given_out(self._living(image_id), project_id)

    def members_of(self, image_id: str) -> dict[str, Member]:
        """
        Hand out the members of an image, by project, to be changed by whoever keeps members.

        :raises ImageNotFound: It never was, or is deleted.
        """
        return self._living(image_id).members

    async def list(self, query: ImageQuery) -> Sequence[Image]:
        """
        Fetch one page.
        """
        keys = sort_keys(query)

        def compare(one: Image, other: Image) -> int:
            return _compare(keys, one, other)

        matching = [_given_out(record, query.viewer.project_id) for record in self._matching(query)]
        images = sorted(matching, key=cmp_to_key(compare))
        if query.marker is not None:
            marker = self._marker(query, query.marker)
            images = [image for image in images if compare(marker, image) < 0]
        return images[: query.limit]

    async def save(self, image: Image, *, was: Image) -> Image:
        """
        Write the attributes, properties and tags of a changed image.
        """
        record = self._living(was.id, was.status, f"it was {was.status} when it was read")
        record.image = evolve(
            record.image,
            name=image.name,
            visibility=image.visibility,
            owner=image.owner,
            protected=image.protected,
            os_hidden=image.os_hidden,
            container_format=image.container_format,
            disk_format=image.disk_format,
            min_ram=image.min_ram,
            min_disk=image.min_disk,
            properties=dict(image.properties),
            tags=image.tags,
            updated_at=self._now(),
        )
        return _given_out(record)

    async def change_locations(self, image: Image, *, was: Image) -> tuple[Image, Sequence[Lease]]:
        """
        Write a changed image with its locations.
        """
        record = self._living(was.id, was.status, f"it was {was.status} when it was read")
        if record.image.locations != was.locations:
            raise StatusConflict(record.image.id, record.image.status, "its locations changed meanwhile")
        await self.save(image, was=was)
        kept = {location.url for location in image.locations}
        lost = [location for location in was.locations if location.url not in kept]
        leases = self._orphan(record, lost, record.image.updated_at)
        record.image = evolve(
            record.image,
            status=image.status,
            size=image.size,
            virtual_size=image.virtual_size,
            checksum=image.checksum,
            os_hash_algo=image.os_hash_algo,
            os_hash_value=image.os_hash_value,
            locations=tuple(image.locations),
        )
        return _given_out(record), leases

    async def set_status(self, image_id: str, status: ImageStatus, *, from_status: ImageStatus) -> None:
        """
        Move an image from one status to another.
        """
        record = self._living(image_id, from_status, f"it was {from_status} when it was read")
        record.image = evolve(record.image, status=status, updated_at=self._now())

    async def add_tag(self, image_id: str, tag: str, *, quota: int) -> None:
        """
        Give an image a tag.
        """
        record = self._living(image_id)
        tags = record.image.tags | {tag}
        if tags != record.image.tags and 0 <= quota < len(tags):
            raise QuotaExceeded("tags", len(tags), quota)
        record.image = evolve(record.image, tags=tags, updated_at=self._now())

    async def remove_tag(self, image_id: str, tag: str) -> None:
        """
        Take a tag off an image.
        """
        record = self._living(image_id)
        record.image = evolve(record.image, tags=record.image.tags - {tag}, updated_at=self._now())

    async def delete(self, image_id: str, *, from_status: ImageStatus) -> Sequence[Lease]:
        """
        Turn an image into a tombstone.
        """
        record = self._living(image_id, from_status, f"it was {from_status} when it was read")
        now = self._now()
        leases = self._orphan(record, record.image.locations, now)
        record.image = evolve(
            record.image, status=ImageStatus.DELETED, updated_at=now, properties={}, tags=frozenset(), locations=()
        )
        record.members.clear()
        return leases

    async def storage_used(self, owner: str, *, without: Collection[str] = frozenset()) -> int:
        """
        Add up the bytes of a project's images.
        """
        gone = {ImageStatus.KILLED, ImageStatus.DELETED, ImageStatus.PENDING_DELETE}
        images = [record.image for record in self._records.values()]
        return sum(
            (image.size or 0) * len(image.locations)
            for image in images
            if image.owner == owner and image.status not in gone and image.id not in without
        )

    async def begin_upload(
        self, image_id: str, owner: LeaseOwner, plan: Callable[[int], Location], now: datetime
    ) -> Lease:
        """
        Move an image from queued to saving.
        """
        record = self._living(image_id, ImageStatus.QUEUED, "it takes data only while it is queued")
        fence = record.fence + 1
        lease = Lease(record.image.id, fence, owner, plan(fence), now)
        record.fence = fence
        record.image = evolve(record.image, status=ImageStatus.SAVING, updated_at=now)
        self._leases[_key(lease)] = lease
        return lease

    async def heartbeat(self, lease: Lease, now: datetime) -> None:
        """
        Say that the owner lives.
        """
        if self._is_deleted(lease.image_id):
            raise ImageGone(lease.image_id)
        kept = self._live(lease)
        if kept is None:
            raise LeaseLost(lease.image_id, lease.fence)
        self._leases[_key(lease)] = evolve(kept, heartbeat_at=now)

    async def finish_upload(self, lease: Lease, data: StoredData, now: datetime) -> Image:
        """
        Move an image from saving to active.
        """
        if self._is_deleted(lease.image_id):
            self._end(lease)
            raise ImageGone(lease.image_id)
        record = self._saving_under(lease)
        if record is None or self._live(lease) is None:
            raise LeaseLost(lease.image_id, lease.fence)
        del self._leases[_key(lease)]
        record.image = evolve(
            record.image,
            status=ImageStatus.ACTIVE,
            size=data.size,
            virtual_size=data.virtual_size,
            checksum=data.checksum,
            os_hash_algo=data.os_hash_algo,
            os_hash_value=data.os_hash_value,
            locations=(lease.location,),
            updated_at=now,
        )
        return _given_out(record)

    async def end_lease(self, lease: Lease, now: datetime) -> None:
        """
        Mark a lease as ended.
        """
        record = self._saving_under(lease)
        if record is not None:
            record.image = evolve(record.image, status=ImageStatus.QUEUED, size=None, virtual_size=None, updated_at=now)
        self._end(lease)

    async def forget_lease(self, lease: Lease) -> None:
        """
        Drop an ended lease.
        """
        kept = self._leases.get(_key(lease))
        if kept is not None and kept.ended:
            del self._leases[_key(lease)]

    async def leases(self, *, ended: bool | None = None, silent_since: datetime | None = None) -> Sequence[Lease]:
        """
        List leases.
        """
        listed = [
            lease
            for lease in self._leases.values()
            if (ended is None or lease.ended is ended) and (silent_since is None or lease.heartbeat_at < silent_since)
        ]
        return sorted(listed, key=lambda lease: (lease.heartbeat_at, lease.image_id, lease.fence))

    def _orphan(self, record: _Record, locations: Sequence[Location], now: datetime) -> Sequence[Lease]:
        """
        Make ended leases for locations that an image loses.
        """
        leases = [
            Lease(record.image.id, fence, LeaseOwner("", ""), Location(location.store, location.url), now, ended=True)
            for fence, location in enumerate(locations, record.fence + 1)
        ]
        record.fence += len(leases)
        for lease in leases:
            self._leases[_key(lease)] = lease
        return leases

    def _living(self, image_id: str, status: ImageStatus | None = None, reason: str = "") -> _Record:
        record = self._records.get(image_id.lower())
        if record is None or record.image.status is ImageStatus.DELETED:
            raise ImageNotFound(image_id.lower())
        if status is not None and record.image.status is not status:
            raise StatusConflict(record.image.id, record.image.status, reason)
        return record

    def _is_deleted(self, image_id: str) -> bool:
        record = self._records.get(image_id)
        return record is not None and record.image.status is ImageStatus.DELETED

    def _saving_under(self, lease: Lease) -> _Record | None:
        record = self._records.get(lease.image_id)
        if record is None or record.image.status is not ImageStatus.SAVING or record.fence != lease.fence:
            return None
        return record

    def _live(self, lease: Lease) -> Lease | None:
        kept = self._leases.get(_key(lease))
        return kept if kept is not None and not kept.ended else None

    def _end(self, lease: Lease) -> None:
        kept = self._live(lease)
        if kept is not None:
            self._leases[_key(lease)] = evolve(kept, ended=True)

    def _marker(self, query: ImageQuery, marker: str) -> Image:
        record = self._records.get(marker.lower())
        if record is not None and record.image.status is not ImageStatus.DELETED:
            image = _given_out(record, query.viewer.project_id)
            if could_see(query.viewer, image):
                return image
        raise InvalidQuery(f"the marker {marker!r} is not an image")

    def _matching(self, query: ImageQuery) -> Iterator[_Record]:
        wanted = list(conditions(query))
        for record in self._records.values():
            image = record.image
            if (
                image.status is not ImageStatus.DELETED
                and image.os_hidden is query.os_hidden
                and _covers(query, record)
                and all(_meets(getattr(image, condition.name), condition) for condition in wanted)
                and all(
                    name in image.properties and image.properties[name] == value
                    for name, value in query.properties.items()
                )
                and query.tags <= image.tags
            ):
                yield record


def _key(lease: Lease) -> tuple[str, int]:
    return lease.image_id, lease.fence


def _given_out(record: _Record, project_id: str | None = None) -> Image:
    """
    Copy an image, for a project where it is for one.
    """
    image = record.image
    joined = image.visibility is Visibility.SHARED and image.owner != project_id and project_id in record.members
    return evolve(image, properties=dict(image.properties), member_id=project_id if joined else None)


def _covers(query: ImageQuery, record: _Record) -> bool:
    """
    Tell whether the viewer's list is about an image.
    """
    viewer, visibility = query.viewer, record.image.visibility
    own = viewer.project_id is not None and record.image.owner == viewer.project_id
    member = record.members.get(viewer.project_id) if viewer.project_id is not None else None
    shared = visibility == Visibility.SHARED and member is not None and query.member_status in {"all", member.status}
    match query.visibility:
        case None if viewer.is_admin:
            return own or visibility != Visibility.COMMUNITY
        case None:
            return own or shared or visibility == Visibility.PUBLIC
        case "all":
            return own or shared or viewer.is_admin or visibility in {Visibility.PUBLIC, Visibility.COMMUNITY}
        case Visibility.SHARED | Visibility.PRIVATE:
            return visibility == query.visibility and (own or shared or viewer.is_admin)
        case _:
            return visibility == query.visibility


def _meets(value: Any, condition: Condition) -> bool:
    if isinstance(condition, OneOf):
        return value in condition.values
    if value is None:
        return False
    since, until = condition.since, condition.until
    within = (since is None or value >= since) and (until is None or value < until)
    return within is not condition.outside


def _compare(keys: Sequence[SortKey], one: Image, other: Image) -> int:
    for key in keys:
        order = _order(getattr(one, key.name), getattr(other, key.name))
        if order:
            return order if key.ascending else -order
    return 0


def _order(one: Any, other: Any) -> int:
    """
    Compare two values, null being less than any.
    """
    if one is None or other is None:
        return (one is not None) - (other is not None)
    return int(one > other) - int(one < other)
