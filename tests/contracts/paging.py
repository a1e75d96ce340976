"""
The order of a list, and its pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import uuid4

from glance_tx.domain.errors import InvalidQuery
from glance_tx.domain.images import Image, ImageStatus, Location, Visibility
from glance_tx.domain.interfaces import ImageQuery, Viewer
from glance_tx.domain.members import MemberStatus
from tests.contracts.image_case import ADMIN, EPOCH, P1, ImageCase


class ImagePagesContract(ImageCase):
    """
    A list has one order, and pages of any length add up to it.
    """

    async def walk(self, sort: Sequence[tuple[str, str]], limit: int, viewer: Viewer = ADMIN) -> list[str]:
        ids: list[str] = []
        while True:
            marker = ids[-1] if ids else None
            page = await self.images.list(ImageQuery(viewer, sort=sort, limit=limit, marker=marker))
            self.assertLessEqual(len(page), limit)
            ids += [image.id for image in page]
            if not page:
                return ids

    async def test_the_newest_come_first_by_default(self) -> None:
        """
        Without a sort key the newest images come first, and of equally old ones the greater id.
        """
        for n, id_end in ((0, "a"), (1, "b"), (1, "c"), (2, "d")):
            created_at = EPOCH + timedelta(microseconds=n)
            await self.add(id=f"00000000-0000-4000-8000-00000000000{id_end}", name=id_end, created_at=created_at)
        listed = await self.images.list(ImageQuery(ADMIN))
        self.assertEqual([image.name for image in listed], ["d", "c", "b", "a"])

    async def test_every_order_is_paged_without_loss(self) -> None:
        """
        By any keys, with nulls and ties among the values, pages of any length hold each image once and in order.
        """
        kept = []
        for n in range(15):
            image = await self.add(
                name=(None, "a", "b", "B")[n % 4],
                size=(None, 1, 2**40)[n % 3],
                disk_format=(None, "raw")[n % 2],
                container_format=("bare", None, "ovf", "ova", "aki")[n % 5],
                created_at=EPOCH + timedelta(microseconds=n // 4),
                updated_at=EPOCH + timedelta(microseconds=n % 7),
                status=(ImageStatus.QUEUED, ImageStatus.ACTIVE)[n // 8],
            )
            kept.append(image)
        for sort in (
            (("created_at", "desc"),),
            (("created_at", "asc"),),
            (("name", "asc"),),
            (("name", "desc"),),
            (("size", "asc"), ("name", "desc")),
            (("size", "desc"), ("name", "asc"), ("disk_format", "asc")),
            (("container_format", "desc"), ("disk_format", "desc"), ("updated_at", "asc")),
            (("status", "asc"), ("id", "desc")),
            (("id", "asc"),),
            (("name", "asc"), ("name", "desc")),
            (),
        ):
            whole = [image.id for image in await self.images.list(ImageQuery(ADMIN, sort=sort, limit=100))]
            self.assertEqual(whole, [image.id for image in in_order(kept, sort)], sort)
            for limit in (1, 4):
                self.assertEqual(await self.walk(sort, limit), whole, (sort, limit))

    async def test_text_is_ordered_by_code_points(self) -> None:
        """
        Names are ordered in the same way on every database, whatever its language.
        """
        names = ["", " a", "-", "A", "B", "Z", "_", "a", "a ", "a b", "ab", "b", "ä", "я", "\ufb01", "🐧"]
        for name in reversed(names):
            await self.add(name=name)
        self.assertEqual(await self.names(), names)

    async def test_pages_go_on_where_they_were_although_images_come_and_go(self) -> None:
        """
        Images that are added or deleted between two pages shift no other image.
        """
        for name in "bdfh":
            await self.add(name=name)
        first = await self.images.list(ImageQuery(ADMIN, sort=(("name", "asc"),), limit=2))
        await self.images.delete(first[0].id, from_status=ImageStatus.QUEUED)
        for name in "aeg":
            await self.add(name=name)
        self.assertEqual(await self.names(marker=first[1].id), ["e", "f", "g", "h"])

    async def test_a_limit_is_kept(self) -> None:
        """
        No more images than asked for are listed; none if none.
        """
        for name in "abc":
            await self.add(name=name)
        self.assertEqual(await self.names(limit=2), ["a", "b"])
        self.assertEqual(await self.names(limit=0), [])

    async def test_a_marker_must_be_an_image_that_the_viewer_could_see(self) -> None:
        """
        A marker may be any image that the viewer could fetch, listed or not; any other is refused.
        """
        foreign = await self.add(name="b", owner="p2", visibility=Visibility.SHARED)
        community = await self.add(name="c", owner="p2", visibility=Visibility.COMMUNITY)
        ownerless = await self.add(name="d", owner=None, visibility=Visibility.PRIVATE)
        hidden = await self.add(name="e", os_hidden=True)
        shared = await self.add(name="f", owner="p2")
        await self.share(shared, "p1", MemberStatus.REJECTED)
        taken_back = await self.add(name="g", owner="p2", visibility=Visibility.PRIVATE)
        await self.share(taken_back, "p1", MemberStatus.ACCEPTED)
        await self.add(name="z")
        for image in (community, ownerless, hidden, shared):
            self.assertEqual(await self.names(P1, marker=image.id), ["z"])
        self.assertEqual(await self.names(ADMIN, marker=foreign.id), ["d", "f", "g", "z"])
        for marker in (foreign.id, taken_back.id, str(uuid4()), "no id at all", ""):
            with self.assertRaises(InvalidQuery):
                await self.names(P1, marker=marker)

    async def test_a_list_has_whole_images(self) -> None:
        """
        Listed images have their own properties, tags and locations.
        """
        kept = [
            await self.add(
                name=f"{n}",
                properties={f"{n}": "x", "p": f"{n}"},
                tags=frozenset({f"{n}", "t"}),
                locations=(Location("a", f"file:///{n}"),),
            )
            for n in range(3)
        ]
        self.assertEqual(await self.images.list(ImageQuery(ADMIN, sort=(("name", "asc"),))), kept)


def in_order(images: Sequence[Image], sort: Sequence[tuple[str, str]]) -> list[Image]:
    """
    Sort images as a list query should, by a way of its own.
    """
    upwards = bool(sort) and all(direction == "asc" for _, direction in sort)
    added = [(name, "asc" if upwards else "desc") for name in ("created_at", "id")]
    ordered = list(images)
    for name, direction in reversed([*sort, *added]):  # a stable sort, the least significant key first
        ordered.sort(
            key=lambda image: (getattr(image, name) is not None, getattr(image, name) or ""),
            reverse=direction == "desc",
        )
    return ordered
