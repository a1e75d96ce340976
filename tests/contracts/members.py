"""
What every repository of members does.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from attrs import evolve
from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from glance_tx.domain.errors import ImageNotFound, MemberExists, MemberNotFound, QuotaExceeded
from glance_tx.domain.images import Image, ImageStatus, Visibility
from glance_tx.domain.interfaces import IMemberRepository
from glance_tx.domain.members import Member, MemberStatus
from tests.contracts.races import at_once

EPOCH = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class MemberRepositoryContract:
    """
    The contract of `IMemberRepository`, for a `twisted.trial.unittest.TestCase`.
    """

    images: Any
    members: Any

    async def make_repositories(self) -> tuple[Any, IMemberRepository]:
        """
        Make an empty repository of images, and that of their members, which tell the time by `now`.
        """
        raise NotImplementedError

    def setUp(self) -> Deferred[None]:
        self.time = EPOCH

        async def make() -> None:
            self.images, self.members = await self.make_repositories()
            self.image = await self.new_image()

        return Deferred.fromCoroutine(make())

    def now(self) -> datetime:
        return self.time

    async def new_image(self, **values: Any) -> Image:
        image = Image(**{"id": str(uuid4()), "created_at": EPOCH, "updated_at": EPOCH, "owner": "p1", **values})
        await self.images.add(image)
        return image

    async def add(self, member_id: str, quota: int = -1) -> Any:
        return await self.members.add(self.image.id, member_id, quota=quota)

    async def ids(self) -> list[str]:
        return [member.member_id for member in await self.members.list(self.image.id)]

    def test_it_provides_the_interface(self) -> None:
        """
        The repository has every method, with the right arguments.
        """
        verifyObject(IMemberRepository, self.members)

    # Adding, reading and changing.

    async def test_a_member_is_pending_at_first(self) -> None:
        """
        A project that is added is pending, of this moment, and is read as it was answered.
        """
        self.time += MINUTE
        added = await self.add("p2")
        self.assertEqual(added, Member(self.image.id, "p2", MemberStatus.PENDING, EPOCH + MINUTE, EPOCH + MINUTE))
        self.assertEqual(await self.members.get(self.image.id, "p2"), added)
        self.assertEqual(await self.members.list(self.image.id), [added])

    async def test_a_status_is_noted(self) -> None:
        """
        A member may take any status from any other, itself included; the time of the change is noted.
        """
        added = await self.add("p2")
        other = await self.add("p3")
        for status in (*MemberStatus, *reversed(MemberStatus)):
            self.time += MINUTE
            changed = await self.members.set_status(self.image.id, "p2", status)
            self.assertEqual(changed, evolve(added, status=status, updated_at=self.time))
            self.assertEqual(await self.members.get(self.image.id, "p2"), changed)
        self.assertEqual(await self.members.get(self.image.id, "p3"), other)

    async def test_members_are_listed_in_the_order_they_came(self) -> None:
        """
        The oldest member comes first; of those of one moment, the one that is less.
        """
        for member_id in ("b", "a"):
            await self.add(member_id)
        self.time += MINUTE
        for member_id in ("A", "0"):
            await self.add(member_id)
        self.time -= 2 * MINUTE
        await self.add("z")
        self.assertEqual(await self.ids(), ["z", "a", "b", "0", "A"])

    async def test_ids_of_projects_are_exact(self) -> None:
        """
        Case, accents and trailing spaces tell projects apart, and an id may be as long as a text of 255 characters.
        """
        names = ["p", "P", "p ", "ṕ", "", "x" * 255, "%", "_", "'"]
        for name in names:
            await self.add(name)
        self.assertEqual(set(await self.ids()), set(names))
        for name in names:
            self.assertEqual((await self.members.get(self.image.id, name)).member_id, name)
        await self.members.remove(self.image.id, "p")
        self.assertEqual(set(await self.ids()), set(names) - {"p"})

    async def test_ids_of_images_are_the_same_in_any_case(self) -> None:
        """
        An image's id may be spelled in capitals.
        """
        image_id = self.image.id.upper()
        member = await self.members.add(image_id, "p2", quota=-1)
        self.assertEqual(member.image_id, self.image.id)
        self.assertEqual(await self.members.list(image_id), [member])
        self.assertEqual(await self.members.get(image_id, "p2"), member)
        await self.members.set_status(image_id, "p2", MemberStatus.ACCEPTED)
        await self.members.remove(image_id, "p2")

    async def test_images_have_members_of_their_own(self) -> None:
        """
        What happens to one image's members happens to no other's.
        """
        other = await self.new_image()
        await self.members.add(other.id, "p2", quota=1)
        kept = await self.members.set_status(other.id, "p2", MemberStatus.REJECTED)
        await self.add("p2", quota=1)
        await self.members.set_status(self.image.id, "p2", MemberStatus.ACCEPTED)
        await self.members.remove(self.image.id, "p2")
        self.assertEqual(await self.members.list(other.id), [kept])

    async def test_any_image_may_have_members(self) -> None:
        """
        Members stay through every visibility and status of their image.
        """
        image = await self.new_image(visibility=Visibility.PRIVATE, status=ImageStatus.ACTIVE, owner=None)
        member = await self.members.add(image.id, "p2", quota=-1)
        await self.images.save(evolve(image, visibility=Visibility.PUBLIC), was=image)
        self.assertEqual(await self.members.list(image.id), [member])

    # Removing.

    async def test_a_removed_member_is_absent(self) -> None:
        """
        A removed member is told as it was, and when it went, once, and then found by nobody; the others stay.
        """
        await self.add("p2")
        kept = await self.add("p3")
        was = await self.members.set_status(self.image.id, "p2", MemberStatus.ACCEPTED)
        self.time += MINUTE
        self.assertEqual(await self.members.remove(self.image.id, "p2"), evolve(was, updated_at=self.time))
        for call in (
            self.members.get(self.image.id, "p2"),
            self.members.set_status(self.image.id, "p2", MemberStatus.ACCEPTED),
            self.members.remove(self.image.id, "p2"),
        ):
            with self.assertRaises(MemberNotFound):
                await call
        self.assertEqual(await self.members.list(self.image.id), [kept])

    async def test_a_member_that_comes_back_is_pending(self) -> None:
        """
        Who was removed and is added again starts anew, whatever it had said before.
        """
        await self.add("p2")
        await self.members.set_status(self.image.id, "p2", MemberStatus.REJECTED)
        for _ in range(2):
            await self.members.remove(self.image.id, "p2")
            self.time += MINUTE
            again = await self.add("p2")
            self.assertEqual(again, Member(self.image.id, "p2", MemberStatus.PENDING, self.time, self.time))
            self.assertEqual(await self.members.list(self.image.id), [again])

    # Refusals.

    async def test_an_unknown_or_deleted_image_has_no_members(self) -> None:
        """
        Of an image that never was, or is deleted, no method knows anything.
        """
        await self.add("p2")
        await self.images.delete(self.image.id, from_status=ImageStatus.QUEUED)
        for image_id in (str(uuid4()), self.image.id):
            for call in (
                self.members.add(image_id, "p2", quota=-1),
                self.members.add(image_id, "p3", quota=0),
                self.members.list(image_id),
                self.members.get(image_id, "p2"),
                self.members.set_status(image_id, "p2", MemberStatus.ACCEPTED),
                self.members.remove(image_id, "p2"),
            ):
                with self.assertRaises(ImageNotFound):
                    await call

    async def test_nobody_is_a_member_twice(self) -> None:
        """
        A member that is there already is refused, and stays as it is; so also where no more would be allowed.
        """
        await self.add("p2")
        member = await self.members.set_status(self.image.id, "p2", MemberStatus.ACCEPTED)
        self.time += MINUTE
        for quota in (-1, 1, 0):
            with self.assertRaises(MemberExists):
                await self.add("p2", quota)
        self.assertEqual(await self.members.list(self.image.id), [member])

    async def test_a_quota_is_kept(self) -> None:
        """
        There are never more members than the quota; removed ones do not count, until they are to come back.
        """
        with self.assertRaises(QuotaExceeded) as caught:
            await self.add("p2", quota=0)
        self.assertEqual((caught.exception.count, caught.exception.limit), (1, 0))
        for member_id in ("p2", "p3"):
            await self.add(member_id, quota=2)
        await self.members.remove(self.image.id, "p2")
        await self.add("p4", quota=2)
        for member_id in ("p2", "p5"):
            with self.assertRaises(QuotaExceeded) as caught:
                await self.add(member_id, quota=2)
            self.assertEqual((caught.exception.count, caught.exception.limit), (3, 2))
        self.assertEqual(await self.ids(), ["p3", "p4"])

    # Races.

    async def test_of_additions_at_once_one_wins(self) -> None:
        """
        However often a project is added at the same time, anew or again, one addition succeeds and the others are told.
        """
        for attempt in range(6):
            outcomes = await at_once(*(self.add("p2") for _ in range(4)))
            added = [outcome for outcome in outcomes if isinstance(outcome, Member)]
            refused = [outcome for outcome in outcomes if isinstance(outcome, MemberExists)]
            self.assertEqual((len(added), len(refused)), (1, 3), (attempt, outcomes))
            self.assertEqual(await self.members.list(self.image.id), added)
            await self.members.remove(self.image.id, "p2")

    async def test_a_quota_holds_for_additions_at_once(self) -> None:
        """
        However many projects are added at the same time, the quota is reached and not passed.
        """
        for attempt in range(5):
            self.image = await self.new_image()
            await self.add("first")
            outcomes = await at_once(*(self.add(f"p{n}", quota=3) for n in range(6)))
            added = [outcome for outcome in outcomes if isinstance(outcome, Member)]
            refused = [outcome for outcome in outcomes if isinstance(outcome, QuotaExceeded)]
            self.assertEqual((len(added), len(refused)), (2, 4), (attempt, outcomes))
            self.assertEqual(set(await self.ids()), {"first", *(member.member_id for member in added)})

    async def test_of_removals_at_once_one_wins(self) -> None:
        """
        One removal gets the member, the others find it gone; a change meanwhile goes before, or finds it gone.
        """
        for attempt in range(5):
            await self.add("p2")
            change = self.members.set_status(self.image.id, "p2", MemberStatus.ACCEPTED)
            removals = [self.members.remove(self.image.id, "p2") for _ in range(3)]
            changed, *outcomes = await at_once(change, *removals)
            removed = [outcome for outcome in outcomes if isinstance(outcome, Member)]
            refused = [outcome for outcome in outcomes if isinstance(outcome, MemberNotFound)]
            self.assertEqual((len(removed), len(refused)), (1, 2), (attempt, outcomes))
            if isinstance(changed, Member):
                self.assertEqual(removed, [changed])
            else:
                self.assertIsInstance(changed, MemberNotFound)
            self.assertEqual(await self.ids(), [])

    async def test_a_deleted_image_gains_no_members(self) -> None:
        """
        Additions and changes at the time of a deletion succeed before it, or find no image; a change may also find
        its member removed; nothing fails otherwise.
        """
        for attempt in range(5):
            self.image = await self.new_image()
            await self.add("p2")
            outcomes = await at_once(
                self.add("p3"),
                self.members.set_status(self.image.id, "p2", MemberStatus.ACCEPTED),
                self.images.delete(self.image.id, from_status=ImageStatus.QUEUED),
                self.add("p4"),
                self.members.remove(self.image.id, "p2"),
            )
            first, changed, deleted, second, removed = outcomes
            self.assertEqual(deleted, [], attempt)
            for outcome in (first, second, removed):
                self.assertIsInstance(outcome, Member | ImageNotFound, f"{attempt}: {outcomes}")
            gone = (MemberNotFound,) if isinstance(removed, Member) else ()
            self.assertIsInstance(changed, (Member, ImageNotFound, *gone), f"{attempt}: {outcomes}")
            with self.assertRaises(ImageNotFound):
                await self.ids()

    async def test_members_and_uploads_do_not_disturb_each_other(self) -> None:
        """
        Members come and go while the image itself changes, and neither is lost.
        """
        changed = evolve(self.image, properties={"a": "b"})
        outcomes = await at_once(
            *(self.add(f"p{n}") for n in range(3)),
            self.images.save(changed, was=self.image),
            *(self.add(f"q{n}") for n in range(3)),
        )
        self.assertEqual([outcome for outcome in outcomes if isinstance(outcome, Exception)], [])
        self.assertEqual(len(await self.ids()), 6)
        self.assertEqual((await self.images.get(self.image.id)).properties, {"a": "b"})
