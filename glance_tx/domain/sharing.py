"""
Sharing images with other projects: their members come, speak for themselves, and go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from glance_tx.domain.access import Access, visible_image
from glance_tx.domain.errors import Forbidden, InvalidMember, MemberNotFound
from glance_tx.domain.events import Events
from glance_tx.domain.images import Image, Visibility
from glance_tx.domain.interfaces import IImageRepository, IMemberRepository
from glance_tx.domain.members import Member, MemberStatus
from glance_tx.domain.values import flaw_of_text
from glance_tx.identity.caller import Caller

__all__ = ["Sharing"]

_ID_LENGTH: Final = 255


class Sharing:
    """
    What callers may do to the members of images (contract section 4.2).

    An image's members are its owner's business, and administrators'; each member knows of itself alone. Only an image
    whose visibility is shared has members to speak of.

    :param quota: Most members of one image; below 0 for any number.
    """

    def __init__(
        self, images: IImageRepository, members: IMemberRepository, access: Access, events: Events, quota: int
    ) -> None:
        self._images = images
        self._members = members
        self._access = access
        self._events = events
        self._quota = quota

    async def list(self, caller: Caller, image_id: str) -> Sequence[Member]:
        """
        List those members of an image that the caller may know of.

        :raises ImageNotFound: There is no such image, or the caller may not know of it.
        :raises Forbidden: It is not shared, or policy is against it.
        """
        image = await self._shared_image(caller, image_id)
        self._access.require("get_members", caller, image)
        members = await self._members.list(image.id)
        return [member for member in members if self._may_know(caller, image, member.member_id)]

    async def show(self, caller: Caller, image_id: str, member_id: str) -> Member:
        """
        Fetch one member.

        :raises ImageNotFound: There is no such image, or the caller may not know of it.
        :raises MemberNotFound: It has no such member, or the caller may not know whether it has.
        :raises Forbidden: It is not shared, or policy is against it.
        """
        return (await self._find("get_member", caller, image_id, member_id))[1]

    async def add(self, caller: Caller, image_id: str, member_id: object) -> Member:
        """
        Share an image with one more project.

        :param member_id: The project, as it came in JSON. Nobody checks that there is one of that name.
        :return: The new member, pending.
        :raises InvalidMember: That is not the id of a project.
        :raises ImageNotFound: There is no such image, or the caller may not know of it.
        :raises Forbidden: It is not shared, or policy is against it.
        :raises MemberExists: It is shared with that project already.
        :raises QuotaExceeded: There would be too many members.
        """
        project_id = _project_id(member_id)
        image = await self._shared_image(caller, image_id)
        self._access.require("add_member", caller, image)
        member = await self._members.add(image.id, project_id, quota=self._quota)
        self._events.member("create", caller, member)
        return member

    async def change(self, caller: Caller, image_id: str, member_id: str, status: object) -> Member:
        """
        Say for a member what it thinks of an image.

        :param status: The member's new status, as it came in JSON.
        :return: The member as it is now.
        :raises InvalidMember: That is no status.
        :raises ImageNotFound: There is no such image, or the caller may not know of it.
        :raises MemberNotFound: It has no such member, or the caller may not know whether it has.
        :raises Forbidden: It is not shared, or policy is against it: the owner cannot speak for a member.
        """
        new_status = _status(status)
        image, _ = await self._find("modify_member", caller, image_id, member_id)
        member = await self._members.set_status(image.id, member_id, new_status)
        self._events.member("update", caller, member)
        return member

    async def remove(self, caller: Caller, image_id: str, member_id: str) -> None:
        """
        Share an image with one project less.

        :raises ImageNotFound: There is no such image, or the caller may not know of it.
        :raises MemberNotFound: It has no such member, or the caller may not know whether it has.
        :raises Forbidden: It is not shared, or policy is against it: a member cannot leave by itself.
        """
        image, _ = await self._find("delete_member", caller, image_id, member_id)
        self._events.member_removed(caller, await self._members.remove(image.id, member_id))

    async def _find(self, rule: str, caller: Caller, image_id: str, member_id: str) -> tuple[Image, Member]:
        image = await self._shared_image(caller, image_id)
        # What cannot be an id may be more than the database can be asked for.
        if not self._may_know(caller, image, member_id) or _flaw(member_id) is not None:
            raise MemberNotFound(image.id, member_id)
        member = await self._members.get(image.id, member_id)
        self._access.require_about_member(rule, caller, image, member_id)
        return image, member

    async def _shared_image(self, caller: Caller, image_id: str) -> Image:
        image = await visible_image(self._images, self._access, caller, image_id)
        if image.visibility is not Visibility.SHARED:
            raise Forbidden(f"image {image.id} is {image.visibility}; only shared images have members")
        return image

    def _may_know(self, caller: Caller, image: Image, member_id: str) -> bool:
        if caller.project_id is not None and caller.project_id in {image.owner, member_id}:
            return True
        return self._access.is_admin(caller)


def _project_id(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidMember("the member must be the id of a project, a string")
    flaw = _flaw(value)
    if flaw is not None:
        raise InvalidMember(f"the id of a member {flaw}")
    return value


def _flaw(member_id: str) -> str | None:
    if not member_id:
        return "must not be empty"
    if len(member_id) > _ID_LENGTH:
        return f"is longer than {_ID_LENGTH} characters"
    return flaw_of_text(member_id)


def _status(value: object) -> MemberStatus:
    if not isinstance(value, str) or value not in frozenset(MemberStatus):
        raise InvalidMember(f"the status of a member must be one of {', '.join(MemberStatus)}")
    return MemberStatus(value)
