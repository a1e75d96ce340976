"""
Single tags of an image.
"""

from __future__ import annotations

from attrs import evolve

from glance_tx.domain.access import Access, visible_image
from glance_tx.domain.errors import TagNotFound
from glance_tx.domain.events import Events
from glance_tx.domain.images import Image
from glance_tx.domain.interfaces import IImageRepository
from glance_tx.domain.values import Values
from glance_tx.identity.caller import Caller

__all__ = ["Tags"]


class Tags:
    """
    Adds tags one by one, and takes them off (contract section 4.3).

    Each change is about its own tag alone, so that none is lost to another that is made at the same time.

    :param values: What tags may be, and how many.
    :param events: Told of what is done.
    """

    def __init__(self, repository: IImageRepository, access: Access, values: Values, events: Events) -> None:
        self._repository = repository
        self._access = access
        self._values = values
        self._events = events

    async def add(self, caller: Caller, image_id: str, tag: str) -> None:
        """
        See to it that an image has a tag.

        :raises ImageNotFound: There is no such image, or the caller may not know of it.
        :raises Forbidden: Policy is against it.
        :raises InvalidImage: It is too long, or has a character that cannot be kept.
        :raises QuotaExceeded: The image has as many as it may.
        """
        image = await self._changeable(caller, image_id)
        self._values.tag(tag)
        if tag not in image.tags:
            await self._repository.add_tag(image.id, tag, quota=self._values.tag_quota)
            self._events.image("update", caller, evolve(image, tags=image.tags | {tag}))

    async def remove(self, caller: Caller, image_id: str, tag: str) -> None:
        """
        Take a tag off an image.

        :raises ImageNotFound: There is no such image, or the caller may not know of it.
        :raises Forbidden: Policy is against it.
        :raises TagNotFound: The image has no such tag.
        """
        image = await self._changeable(caller, image_id)
        if tag not in image.tags:
            raise TagNotFound(image.id, tag)
        await self._repository.remove_tag(image.id, tag)
        self._events.image("update", caller, evolve(image, tags=image.tags - {tag}))

    async def _changeable(self, caller: Caller, image_id: str) -> Image:
        image = await visible_image(self._repository, self._access, caller, image_id)
        self._access.require("modify_image", caller, image)
        return image
