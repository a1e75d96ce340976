"""
Keeping the data of an image back for a while.
"""

from __future__ import annotations

from attrs import evolve

from glance_tx.domain.access import Access, visible_image
from glance_tx.domain.conflicts import despite_conflicts
from glance_tx.domain.errors import Forbidden
from glance_tx.domain.events import Events
from glance_tx.domain.images import ImageStatus
from glance_tx.domain.interfaces import IImageRepository
from glance_tx.identity.caller import Caller

__all__ = ["Activation"]


class Activation:
    """
    Deactivates images and activates them again (contract section 2.8). Only administrators download a deactivated one.
    """

    def __init__(self, repository: IImageRepository, access: Access, events: Events) -> None:
        self._repository = repository
        self._access = access
        self._events = events

    async def deactivate(self, caller: Caller, image_id: str) -> None:
        """
        Keep the data of an active image back. Harmless when repeated.

        :raises ImageNotFound: There is none, or the caller may not know of it.
        :raises Forbidden: Policy is against it, or it is neither active nor deactivated.
        :raises StatusConflict: The image's status changed again and again meanwhile.
        """
        await self._move(caller, image_id, "deactivate", ImageStatus.ACTIVE, ImageStatus.DEACTIVATED)

    async def reactivate(self, caller: Caller, image_id: str) -> None:
        """
        Give the data of a deactivated image out again. Harmless when repeated.

        :raises ImageNotFound: There is none, or the caller may not know of it.
        :raises Forbidden: Policy is against it, or it is neither active nor deactivated.
        :raises StatusConflict: The image's status changed again and again meanwhile.
        """
        await self._move(caller, image_id, "reactivate", ImageStatus.DEACTIVATED, ImageStatus.ACTIVE)

    async def _move(self, caller: Caller, image_id: str, rule: str, source: ImageStatus, target: ImageStatus) -> None:
        async def attempt() -> None:
            image = await visible_image(self._repository, self._access, caller, image_id)
            self._access.require(rule, caller, image)
            if image.status is target:
                return
            if image.status is not source:
                raise Forbidden(f"image {image.id} is {image.status}: only one that is {source} can be made {target}")
            await self._repository.set_status(image.id, target, from_status=source)
            self._events.image("update", caller, evolve(image, status=target))

        await despite_conflicts(attempt)
