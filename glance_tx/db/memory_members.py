"""
Members of images in memory: the same as in SQL, for tests and for trying things out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from attrs import evolve
from zope.interface import implementer

from glance_tx.db.memory import MemoryImages
from glance_tx.domain.errors import MemberExists, MemberNotFound, QuotaExceeded
from glance_tx.domain.interfaces import IMemberRepository
from glance_tx.domain.members import Member, MemberStatus

__all__ = ["MemoryMembers"]


@implementer(IMemberRepository)
class MemoryMembers:
    """
    Members in dicts. No method waits, so that each is a transaction.

    :param images: The images that they are members of.
    :param now: Tells the time.
    """

    def __init__(self, images: MemoryImages, now: Callable[[], datetime]) -> None:
        self._images = images
        self._now = now

    async def add(self, image_id: str, member_id: str, *, quota: int) -> Member:
        """
        Share an image with one more project.
        """
        members = self._images.members_of(image_id)
        if member_id in members:
            raise MemberExists(image_id.lower(), member_id)
        if 0 <= quota < len(members) + 1:
            raise QuotaExceeded("members", len(members) + 1, quota)
        now = self._now()
        members[member_id] = Member(image_id.lower(), member_id, MemberStatus.PENDING, now, now)
        return members[member_id]

    async def list(self, image_id: str) -> Sequence[Member]:
        """
        List the members of an image.
        """
        members = self._images.members_of(image_id).values()
        return sorted(members, key=lambda member: (member.created_at, member.member_id))

    async def get(self, image_id: str, member_id: str) -> Member:
        """
        Fetch one member.
        """
        return self._find(self._images.members_of(image_id), image_id, member_id)

    async def set_status(self, image_id: str, member_id: str, status: MemberStatus) -> Member:
        """
        Note what a member says.
        """
        members = self._images.members_of(image_id)
        changed = evolve(self._find(members, image_id, member_id), status=status, updated_at=self._now())
        members[member_id] = changed
        return changed

    async def remove(self, image_id: str, member_id: str) -> Member:
        """
        Share an image with one project less.
        """
        members = self._images.members_of(image_id)
        member = self._find(members, image_id, member_id)
        del members[member_id]
        return evolve(member, updated_at=self._now())

    @staticmethod
    def _find(members: dict[str, Member], image_id: str, member_id: str) -> Member:
        member = members.get(member_id)
        if member is None:
            raise MemberNotFound(image_id.lower(), member_id)
        return member
