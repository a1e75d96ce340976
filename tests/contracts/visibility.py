"""
Who sees which images.
"""

from __future__ import annotations

from typing import Any

from attrs import evolve

from glance_tx.domain.errors import InvalidQuery
from glance_tx.domain.filters import equal
from glance_tx.domain.images import Visibility
from glance_tx.domain.interfaces import ImageQuery, Viewer
from glance_tx.domain.members import MemberStatus
from tests.contracts.image_case import P1, ImageCase


class ImageVisibilityContract(ImageCase):
    """
    Lists hold what the viewer may see, and images say with whom they are shared.
    """

    # Membership.

    async def test_an_image_tells_whether_it_is_shared_with_who_asks(self) -> None:
        """
        An image that is fetched for a project says so where that project is a member, in whatever status.
        """
        image = await self.add()
        for status in MemberStatus:
            await self.share(image, f"{status}", status)
            read = await self.images.get(image.id.upper(), project_id=f"{status}")
            self.assertEqual(read, evolve(image, member_id=f"{status}"))
        for nobody in (None, "p1", "p2", "PENDING", "pending "):
            self.assertEqual(await self.images.get(image.id, project_id=nobody), image)
        await self.members.remove(image.id, "pending")
        self.assertEqual(await self.images.get(image.id, project_id="pending"), image)

    async def test_membership_is_told_where_it_matters(self) -> None:
        """
        Membership means nothing to the owner, and nothing while the image is not shared; it is there once it is again.
        """
        image = await self.add()
        await self.share(image, "p1")
        await self.share(image, "p2")
        self.assertEqual(await self.images.get(image.id, project_id="p1"), image)
        private = await self.images.save(evolve(image, visibility=Visibility.PRIVATE), was=image)
        self.assertEqual(await self.images.get(image.id, project_id="p2"), private)
        await self.images.save(image, was=private)
        self.assertEqual((await self.images.get(image.id, project_id="p2")).member_id, "p2")

    async def test_listed_images_tell_membership(self) -> None:
        """
        Each image of a list says whether it is shared with the viewer's project.
        """
        for name, member in [("a", "p1"), ("b", "p3"), ("c", "p1")]:
            await self.share(await self.add(name=name, owner="p2"), member, MemberStatus.ACCEPTED)
        await self.share(await self.add(name="own"), "p1", MemberStatus.ACCEPTED)
        query = ImageQuery(Viewer("p1", is_admin=True), sort=(("name", "asc"),))
        told = [(image.name, image.member_id) for image in await self.images.list(query)]
        self.assertEqual(told, [("a", "p1"), ("b", None), ("c", "p1"), ("own", None)])
        told = [(image.name, image.member_id) for image in await self.images.list(evolve(query, viewer=P1))]
        self.assertEqual(told, [("a", "p1"), ("c", "p1"), ("own", None)])

    async def test_what_is_told_of_membership_is_not_kept(self) -> None:
        """
        Membership is not the image's to say: an image that is added or saved with it gives nobody anything.
        """
        image = await self.add(member_id="p2")
        self.assertIsNone((await self.images.get(image.id, project_id="p2")).member_id)
        await self.images.save(evolve(image, name="new"), was=image)
        self.assertIsNone((await self.images.get(image.id)).member_id)
        self.assertEqual(await self.members.list(image.id), [])

    # Lists.

    async def add_one_of_each(self) -> None:
        for owner in ("p1", "p2", None):
            for visibility in Visibility:
                await self.add(name=f"{owner}-{visibility}", owner=owner, visibility=visibility)

    async def check_covered(self, viewer: Viewer, visibility: Any, *names: str) -> None:
        listed = await self.names(viewer, visibility=visibility)
        self.assertEqual(listed, sorted(names), (viewer, visibility))

    async def test_a_member_of_a_project_sees_its_images_and_public_ones(self) -> None:
        """
        By default a project's own images of any visibility are listed, and all that are public.
        """
        await self.add_one_of_each()
        own = ("p1-public", "p1-private", "p1-shared", "p1-community")
        public = ("p2-public", "None-public")
        community = ("p2-community", "None-community")
        await self.check_covered(P1, None, *own, *public)
        await self.check_covered(P1, "all", *own, *public, *community)
        await self.check_covered(P1, Visibility.PUBLIC, "p1-public", *public)
        await self.check_covered(P1, Visibility.COMMUNITY, "p1-community", *community)
        await self.check_covered(P1, Visibility.SHARED, "p1-shared")
        await self.check_covered(P1, Visibility.PRIVATE, "p1-private")

    async def test_an_administrator_sees_all_but_the_community_of_others(self) -> None:
        """
        An administrator's default list leaves out only other projects' community images.
        """
        await self.add_one_of_each()
        every = {f"{owner}-{visibility}" for owner in ("p1", "p2", None) for visibility in Visibility}
        viewer = Viewer("p1", is_admin=True)
        await self.check_covered(viewer, None, *(every - {"p2-community", "None-community"}))
        await self.check_covered(viewer, "all", *every)
        for visibility in Visibility:
            await self.check_covered(viewer, visibility, *(f"{owner}-{visibility}" for owner in ("p1", "p2", None)))

    async def test_who_has_no_project_sees_what_is_everybodys(self) -> None:
        """
        A caller without a project owns nothing: images without an owner are not theirs.
        """
        await self.add_one_of_each()
        nobody = Viewer(None, is_admin=False)
        public = ("p1-public", "p2-public", "None-public")
        await self.check_covered(nobody, None, *public)
        await self.check_covered(nobody, Visibility.PRIVATE)
        await self.check_covered(nobody, "all", *public, "p1-community", "p2-community", "None-community")

    async def share_one_of_each(self) -> None:
        """
        Share images of project ``p2`` with ``p1``: one in each status, and one of each other visibility, accepted.
        """
        for status in MemberStatus:
            await self.share(await self.add(name=f"{status}", owner="p2"), "p1", status)
        for visibility in set(Visibility) - {Visibility.SHARED}:
            image = await self.add(name=f"{visibility}", owner="p2", visibility=visibility)
            await self.share(image, "p1", MemberStatus.ACCEPTED)
        removed = await self.add(name="removed", owner="p2")
        await self.share(removed, "p1", MemberStatus.ACCEPTED)
        await self.members.remove(removed.id, "p1")
        await self.share(await self.add(name="others", owner="p2"), "p3", MemberStatus.ACCEPTED)

    async def test_a_member_sees_what_is_shared_with_it_in_the_status_it_asks_for(self) -> None:
        """
        Images that others share are in a member's lists where its status is the one asked for; accepted by default.
        """
        await self.share_one_of_each()
        for status, expected in [
            (MemberStatus.PENDING, ["pending"]),
            (MemberStatus.ACCEPTED, ["accepted"]),
            (MemberStatus.REJECTED, ["rejected"]),
            ("all", ["accepted", "pending", "rejected"]),
        ]:
            for visibility, more in [
                (None, ["public"]),
                ("all", ["public", "community"]),
                (Visibility.SHARED, []),
            ]:
                listed = await self.names(P1, member_status=status, visibility=visibility)
                self.assertEqual(listed, sorted([*expected, *more]), (status, visibility))
            for visibility, only in [
                (Visibility.PUBLIC, ["public"]),
                (Visibility.COMMUNITY, ["community"]),
                (Visibility.PRIVATE, []),
            ]:
                listed = await self.names(P1, member_status=status, visibility=visibility)
                self.assertEqual(listed, only, (status, visibility))
        self.assertEqual(await self.names(P1), ["accepted", "public"])
        self.assertEqual(await self.names(Viewer(None, is_admin=False), member_status="all"), ["public"])

    async def test_an_administrator_sees_shared_images_whatever_members_say(self) -> None:
        """
        The member status narrows what is shared with the viewer, and not what the viewer sees anyway.
        """
        await self.share_one_of_each()
        every = ["accepted", "others", "pending", "private", "public", "rejected", "removed"]
        self.assertEqual(await self.names(Viewer("p1", is_admin=True), member_status=MemberStatus.PENDING), every)
        own = await self.add(name="own")
        await self.share(own, "p1", MemberStatus.REJECTED)
        self.assertEqual(await self.names(P1, visibility=Visibility.SHARED), ["accepted", "own"])

    async def test_what_is_shared_is_filtered_and_paged_like_the_rest(self) -> None:
        """
        Shared, own and public images make one list, each image in it once, whole and in order.
        """
        for n in range(6):
            image = await self.add(
                name=f"{n}",
                owner=("p1", "p2", "p2")[n % 3],
                visibility=Visibility.PUBLIC if n % 3 == 1 else Visibility.SHARED,
                tags=frozenset({"t"} if n else {}),
            )
            await self.share(image, "p1", MemberStatus.ACCEPTED)
            await self.share(image, "p3", MemberStatus.ACCEPTED)
        self.assertEqual(await self.names(P1), ["0", "1", "2", "3", "4", "5"])
        self.assertEqual(
            await self.names(P1, tags=frozenset({"t"}), filters=[equal("owner", "p2")]), ["1", "2", "4", "5"]
        )
        pages, marker = [], None
        while page := await self.images.list(ImageQuery(P1, sort=(("name", "desc"),), limit=2, marker=marker)):
            pages.append([image.name for image in page])
            marker = page[-1].id
        self.assertEqual(pages, [["5", "4"], ["3", "2"], ["1", "0"]])

    async def test_hidden_images_are_listed_apart(self) -> None:
        """
        The default list leaves out hidden images; asking for them leaves out the others.
        """
        await self.add(name="hidden", os_hidden=True)
        await self.add(name="shown")
        self.assertEqual(await self.names(P1), ["shown"])
        self.assertEqual(await self.names(P1, os_hidden=True), ["hidden"])

    # What cannot be listed.

    async def test_what_is_no_attribute_is_refused(self) -> None:
        """
        A filter or a sort key that no image has is an invalid query.
        """
        for query in (
            {"filters": [equal("nonsense", 1)]},
            {"sort": (("nonsense", "asc"),)},
            {"sort": (("tags", "asc"),)},
        ):
            with self.assertRaises(InvalidQuery):
                await self.names(**query)
