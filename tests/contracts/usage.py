"""
What every repository of images tells of the space that they take.
"""

from __future__ import annotations

from typing import Any

from glance_tx.domain.images import ImageStatus, Location


class StorageUsedContract:
    """
    The contract of `IImageRepository.storage_used`, for a class that can `add` images.
    """

    images: Any
    add: Any

    async def test_what_a_project_keeps_is_added_up(self) -> None:
        """
        The sizes of a project's images count, once for each location; those of others, and of nobody, do not.
        """
        one, two = (Location("main", f"file:///{name}") for name in "ab")
        self.assertEqual(await self.images.storage_used("p1"), 0)
        await self.add(status=ImageStatus.ACTIVE, size=2**40, locations=(one,))
        await self.add(status=ImageStatus.DEACTIVATED, size=100, locations=(one, two))
        await self.add(status=ImageStatus.ACTIVE, size=0, locations=(one,))
        await self.add(status=ImageStatus.QUEUED)
        await self.add(status=ImageStatus.ACTIVE, size=7, locations=(one,), owner="P1")
        await self.add(status=ImageStatus.ACTIVE, size=7, locations=(one,), owner=None)
        self.assertEqual(await self.images.storage_used("p1"), 2**40 + 200)
        self.assertEqual(await self.images.storage_used("P1"), 7)
        self.assertEqual(await self.images.storage_used("p2"), 0)

    async def test_what_has_no_data_any_more_does_not_count(self) -> None:
        """
        Images that are killed, deleted or waiting to be deleted take nothing.
        """
        where = (Location("main", "file:///a"),)
        for status in (ImageStatus.KILLED, ImageStatus.PENDING_DELETE):
            await self.add(status=status, size=5, locations=where)
        deleted = await self.add(status=ImageStatus.ACTIVE, size=5, locations=where)
        self.assertEqual(await self.images.storage_used("p1"), 5)
        await self.images.delete(deleted.id, from_status=ImageStatus.ACTIVE)
        self.assertEqual(await self.images.storage_used("p1"), 0)

    async def test_images_can_be_left_out(self) -> None:
        """
        What is left out does not count, whether it is there or not.
        """
        where = (Location("main", "file:///a"),)
        images = [await self.add(status=ImageStatus.ACTIVE, size=size, locations=where) for size in (1, 10, 100)]
        without = frozenset({images[1].id, "nothing"})
        self.assertEqual(await self.images.storage_used("p1", without=without), 101)
