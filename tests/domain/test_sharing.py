"""
Sharing of images, where it cannot be seen through the routes.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import TestCase

from glance_tx.db.memory_members import MemoryMembers
from glance_tx.domain.errors import Forbidden, InvalidMember, MemberExists, MemberNotFound
from glance_tx.domain.members import MemberStatus
from glance_tx.domain.sharing import Sharing
from tests.domain.world import ADMIN, NOBODY, OWNER, STRANGER, Trouble, Troubled, World


class SharingTests(TestCase):
    """
    `Sharing`, over members in memory.
    """

    def setUp(self) -> None:
        self.world = World()
        self.trouble = Trouble()
        self.repository: Any = MemoryMembers(self.world.repository, self.world.now)
        members: Any = Troubled(self.repository, self.trouble)
        self.sharing = Sharing(self.world.repository, members, self.world.access, self.world.events, 10)

    async def test_ids_that_cannot_be(self) -> None:
        """
        The database is not asked for what cannot be a project, and need not be able to hold it.
        """
        image = await self.world.create()
        for member_id in ("", "\0", "\ud800", "x" * 256):
            for call in (
                self.sharing.show(ADMIN, image.id, member_id),
                self.sharing.change(ADMIN, image.id, member_id, "accepted"),
                self.sharing.remove(OWNER, image.id, member_id),
            ):
                with self.assertRaises(MemberNotFound):
                    await call
            with self.assertRaises(InvalidMember):
                await self.sharing.add(OWNER, image.id, member_id)
        self.assertEqual(self.trouble.passed, [])

    async def test_a_caller_without_a_project(self) -> None:
        """
        Who has no project does not own what nobody owns: its members are not theirs to know.
        """
        image = await self.world.create(ADMIN, owner=None)
        await self.repository.add(image.id, "p2", quota=-1)
        with self.assertRaises(MemberNotFound):
            await self.sharing.show(NOBODY, image.id, "p2")
        with self.assertRaises(Forbidden):
            await self.sharing.list(NOBODY, image.id)

    async def test_events(self) -> None:
        """
        What is done to members is told once it is done, with who did it; what is refused is not.
        """
        image = await self.world.create()
        await self.sharing.add(OWNER, image.id, "p2")
        with self.assertRaises(MemberExists):
            await self.sharing.add(OWNER, image.id, "p2")
        self.world.clock.advance(1)
        await self.sharing.change(STRANGER, image.id, "p2", "rejected")
        self.world.clock.advance(1)
        with self.assertRaises(Forbidden):
            await self.sharing.remove(STRANGER, image.id, "p2")
        await self.sharing.remove(ADMIN, image.id, "p2")
        with self.assertRaises(MemberNotFound):
            await self.sharing.remove(ADMIN, image.id, "p2")
        told = [event for event in self.world.told.events if event.event_type.startswith("image.member.")]
        created = {
            "image_id": image.id,
            "member_id": "p2",
            "status": "pending",
            "created_at": "2024-05-06T07:08:09Z",
            "updated_at": "2024-05-06T07:08:09Z",
            "deleted": False,
            "deleted_at": None,
        }
        updated = {**created, "status": "rejected", "updated_at": "2024-05-06T07:08:10Z"}
        end = "2024-05-06T07:08:11Z"
        deleted = {**updated, "updated_at": end, "deleted": True, "deleted_at": end}
        self.assertEqual(
            [(event.event_type, event.project_id, dict(event.payload)) for event in told],
            [
                ("image.member.create", "p1", created),
                ("image.member.update", "p2", updated),
                ("image.member.delete", "p0", deleted),
            ],
        )

    async def test_a_member_that_is_removed_meanwhile(self) -> None:
        """
        A change that comes after a removal finds no member, and brings none back.
        """
        image = await self.world.create()
        await self.repository.add(image.id, "p2", quota=-1)
        self.trouble.act("before set_status", lambda: self.repository.remove(image.id, "p2"))
        with self.assertRaises(MemberNotFound):
            await self.sharing.change(STRANGER, image.id, "p2", MemberStatus.ACCEPTED.value)
        self.assertEqual(await self.repository.list(image.id), [])
