"""
Images as records: create, show, list, change and delete them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from uuid import uuid4

from attrs import evolve, field, frozen

from glance_tx.domain.access import Access, visible_image
from glance_tx.domain.changes import Changes, Operation
from glance_tx.domain.conflicts import despite_conflicts
from glance_tx.domain.errors import Forbidden
from glance_tx.domain.events import Events
from glance_tx.domain.images import Image, Visibility
from glance_tx.domain.interfaces import IImageRepository, ImageQuery, Lease
from glance_tx.domain.leases import Reclaimer
from glance_tx.domain.listing import check_query
from glance_tx.domain.locations import Locations, SeenLocations
from glance_tx.domain.protections import Protections
from glance_tx.domain.values import ImageRules, Values
from glance_tx.identity.caller import Caller

__all__ = ["Catalog", "CatalogSettings", "Page"]


@frozen
class CatalogSettings:
    """
    What an operator decides about the catalog.

    :param rules: What images may be like.
    :param page_limit_max: Longest page of a list; more is silently cut to it.
    :param protections: Who may do what to which custom property.
    """

    rules: ImageRules = field(factory=ImageRules)
    page_limit_max: int = 1000
    protections: Protections = field(factory=Protections)


@frozen
class Page:
    """
    One page of a list.

    :param images: Those that the caller may know of.
    :param next_marker: Where the next page begins; ``None`` where there is none. It is that of the last image read,
        shown or not: a page that policy emptied does not end the list.
    """

    images: Sequence[Image]
    next_marker: str | None


class Catalog:
    """
    What callers may do to the records of images.

    :param reclaimer: Removes the data of deleted images.
    :param events: Told of what is done.
    :param now: Tells the time, in UTC.
    :param new_id: Draws ids for images created without one.
    :param locations: Shows and changes where data lie; without it nobody sees or changes that.
    """

    def __init__(
        self,
        repository: IImageRepository,
        access: Access,
        reclaimer: Reclaimer,
        events: Events,
        now: Callable[[], datetime],
        settings: CatalogSettings,
        *,
        new_id: Callable[[], str] = lambda: str(uuid4()),
        locations: Locations | None = None,
    ) -> None:
        self._repository = repository
        self._access = access
        self._reclaimer = reclaimer
        self._events = events
        self._now = now
        self._page_limit_max = settings.page_limit_max
        self._protections = settings.protections
        self._new_id = new_id
        self._locations = locations
        self._changes = Changes(Values(settings.rules))

    async def create(self, caller: Caller, values: Mapping[str, object]) -> Image:
        """
        Create an image, queued and without data (contract section 2.4).

        :param values: Attributes and properties, names and values as they came in JSON.
        :raises InvalidImage: A value cannot be.
        :raises Forbidden: A name is not the caller's to set, or policy is against it.
        :raises QuotaExceeded: Too many properties or tags.
        :raises ImageExists: The id is or was in use.
        """
        now = self._now()
        blank = Image(id=self._new_id(), created_at=now, updated_at=now, owner=caller.project_id)
        guard = self._protections.guard(caller)
        image = self._changes.new_image(values, blank, guard)
        self._access.require_new(caller, image)
        await self._repository.add(image)
        self._events.image("create", caller, image)
        return guard.shown(image)

    async def show(self, caller: Caller, image_id: str) -> Image:
        """
        Fetch an image.

        :raises ImageNotFound: There is none, or the caller may not know of it.
        """
        return self._protections.guard(caller).shown(await self._visible(caller, image_id))

    def seen_locations(self, caller: Caller, image: Image) -> SeenLocations:
        """
        Say what a caller is to see of where the data of an image lie, which it may know of.
        """
        return SeenLocations() if self._locations is None else self._locations.seen(image, caller)

    async def list(self, caller: Caller, query: ImageQuery) -> Page:
        """
        Fetch one page of the images that a caller may know of (contract section 2.7).

        :param query: What to list; its viewer is filled in here, its limit cut to the longest page.
        :raises Forbidden: Policy is against listing.
        :raises InvalidQuery: A filter, sort key, limit or marker cannot be.
        """
        self._access.require_global("get_images", caller)
        check_query(query)
        limit = min(query.limit, self._page_limit_max)
        guard = self._protections.guard(caller)
        # Nobody finds out by asking what a property holds that is kept from them.
        if limit == 0 or not all(map(guard.sees, query.properties)):
            return Page((), None)
        rows = await self._repository.list(evolve(query, viewer=self._access.viewer(caller), limit=limit))
        images = [guard.shown(image) for image in rows if self._access.visible(image, caller)]
        return Page(images, rows[-1].id if len(rows) == limit else None)

    async def change(
        self, caller: Caller, image_id: str, operations: Sequence[Operation], *, strict_add: bool = False
    ) -> Image:
        """
        Apply operations in order, all or nothing (contract section 2.5).

        :param strict_add: Adding may not overwrite, as in the older of the two media types.
        :return: The image as it is now.
        :raises ImageNotFound: There is none, or the caller may not know of it.
        :raises Forbidden: An attribute is not the caller's to set, or not in this status.
        :raises InvalidImage: A path or a value cannot be.
        :raises PropertyConflict: A property is absent, or present, that should not be.
        :raises QuotaExceeded: Too many properties or tags would be there.
        :raises StatusConflict: The image's status changed again and again meanwhile.
        """
        return await despite_conflicts(lambda: self._change_once(caller, image_id, operations, strict_add))

    async def delete(self, caller: Caller, image_id: str) -> None:
        """
        Delete an image in whatever status, and then its data (contract section 2.9).

        Once the record is gone the image is deleted. Data that cannot be removed now stay on record as an ended
        lease, for recovery to remove.

        :raises ImageNotFound: There is none, or the caller may not know of it.
        :raises Forbidden: It is protected, or policy is against it.
        :raises StatusConflict: The image's status changed again and again meanwhile.
        """
        image, leases = await despite_conflicts(lambda: self._delete_once(caller, image_id))
        self._events.deleted(caller, image, self._now())
        for lease in leases:
            await self._reclaimer.try_reclaim(lease)

    async def _change_once(
        self, caller: Caller, image_id: str, operations: Sequence[Operation], strict_add: bool
    ) -> Image:
        image = await self._visible(caller, image_id)
        self._access.require("modify_image", caller, image)
        guard = self._protections.guard(caller)

        def permit(name: str, value: object) -> None:
            if name == "owner" and not self._access.is_admin(caller):
                raise Forbidden("only an administrator may set another owner")
            if isinstance(value, Visibility):
                self._access.require_visibility(value, caller, image)

        moves, others = ((), operations) if self._locations is None else self._locations.split(operations)
        changed = self._changes.apply(image, others, permit, guard, strict_add=strict_add)
        if moves and self._locations is not None:
            changed = await self._locations.changed(caller, changed, moves)
        if changed == image:
            return guard.shown(image)
        kept = await (self._relocate(changed, image) if moves else self._repository.save(changed, was=image))
        self._events.image("update", caller, kept)
        if kept.has_data and not image.has_data:  # by its first location
            self._events.image("activate", caller, kept)
        return guard.shown(kept)

    async def _relocate(self, changed: Image, image: Image) -> Image:
        kept, leases = await self._repository.change_locations(changed, was=image)
        for lease in leases:
            await self._reclaimer.try_reclaim(lease)
        return kept

    async def _delete_once(self, caller: Caller, image_id: str) -> tuple[Image, Sequence[Lease]]:
        image = await self._visible(caller, image_id)
        self._access.require("delete_image", caller, image)
        if image.protected:
            raise Forbidden(f"image {image.id} is protected")
        return image, await self._repository.delete(image.id, from_status=image.status)

    async def _visible(self, caller: Caller, image_id: str) -> Image:
        return await visible_image(self._repository, self._access, caller, image_id)
