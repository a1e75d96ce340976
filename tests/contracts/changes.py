"""
What becomes of an image apart from being saved: its status, tags and locations, and its end.
"""

from __future__ import annotations

from uuid import uuid4

from attrs import evolve

from glance_tx.domain.errors import ImageExists, ImageNotFound, InvalidQuery, QuotaExceeded, StatusConflict
from glance_tx.domain.images import ImageStatus, Location
from tests.contracts.image_case import AT_HOME, EPOCH, MINUTE, STORED, ImageCase
from tests.contracts.races import at_once


class ImageChangesContract(ImageCase):
    """
    Statuses, tags, locations and deletion.
    """

    # Statuses and tags.

    async def test_a_status_is_moved_alone(self) -> None:
        """
        Moving an image's status changes nothing else but the time of its last change, by whatever letters it is named.
        """
        image = await self.add(
            status=ImageStatus.ACTIVE, size=3, properties={"a": "b"}, tags=frozenset({"t"}), locations=(AT_HOME,)
        )
        self.time += MINUTE
        await self.images.set_status(image.id.upper(), ImageStatus.DEACTIVATED, from_status=ImageStatus.ACTIVE)
        expected = evolve(image, status=ImageStatus.DEACTIVATED, updated_at=self.time)
        self.assertEqual(await self.images.get(image.id), expected)

    async def test_moving_a_status_needs_it_to_hold(self) -> None:
        """
        A status is moved only from what it was taken for; of moves at once one wins.
        """
        image = await self.add(status=ImageStatus.QUEUED)
        with self.assertRaises(StatusConflict) as caught:
            await self.images.set_status(image.id, ImageStatus.DEACTIVATED, from_status=ImageStatus.ACTIVE)
        self.assertEqual(caught.exception.status, "queued")
        self.assertEqual(await self.images.get(image.id), image)
        with self.assertRaises(ImageNotFound):
            await self.images.set_status(str(uuid4()), ImageStatus.ACTIVE, from_status=ImageStatus.DEACTIVATED)
        await self.images.delete(image.id, from_status=ImageStatus.QUEUED)
        with self.assertRaises(ImageNotFound):
            await self.images.set_status(image.id, ImageStatus.ACTIVE, from_status=ImageStatus.QUEUED)
        other = await self.add(status=ImageStatus.ACTIVE)
        outcomes = await at_once(
            *(
                self.images.set_status(other.id, ImageStatus.DEACTIVATED, from_status=ImageStatus.ACTIVE)
                for _ in range(3)
            )
        )
        self.assertEqual(sorted(type(outcome).__name__ for outcome in outcomes), ["NoneType"] + ["StatusConflict"] * 2)

    async def test_tags_are_added_and_removed_one_by_one(self) -> None:
        """
        A tag is added where it is not, and removed where it is; doing so again is harmless. Case counts, spaces too.
        """
        image = await self.add(tags=frozenset({"a"}), properties={"p": "v"})
        for tag in ("b", "A", "a ", "a"):
            self.time += MINUTE
            await self.images.add_tag(image.id.upper(), tag, quota=4)
        tagged = evolve(image, tags=frozenset({"a", "b", "A", "a "}), updated_at=self.time)
        self.assertEqual(await self.images.get(image.id), tagged)
        for tag in ("A", "absent", "A"):
            self.time += MINUTE
            await self.images.remove_tag(image.id.upper(), tag)
        untagged = evolve(tagged, tags=frozenset({"a", "b", "a "}), updated_at=self.time)
        self.assertEqual(await self.images.get(image.id), untagged)

    async def test_tags_added_at_once_are_all_there(self) -> None:
        """
        No tag is lost to another that is added at the same time, and the same one added twice is there once.
        """
        image = await self.add()
        tags = ["a", "b", "a", "c", "a", "d"]
        added = await at_once(*(self.images.add_tag(image.id, tag, quota=-1) for tag in tags))
        self.assertEqual(added, [None] * 6)
        self.assertEqual((await self.images.get(image.id)).tags, frozenset("abcd"))

    async def test_tags_added_at_once_keep_the_quota(self) -> None:
        """
        Of tags that are added at the same time as many come to be there as may, and the others change nothing; one
        that is there may be added again, though there be more than the quota.
        """
        image = await self.add(tags=frozenset({"kept"}))
        outcomes = await at_once(*(self.images.add_tag(image.id, tag, quota=4) for tag in "abcdef"))
        self.assertEqual(sorted(map(repr, outcomes)), ["None"] * 3 + [repr(QuotaExceeded("tags", 5, 4))] * 3)
        tags = (await self.images.get(image.id)).tags
        self.assertEqual((len(tags), "kept" in tags), (4, True))
        self.time += MINUTE
        with self.assertRaises(QuotaExceeded):
            await self.images.add_tag(image.id, "more", quota=4)
        self.assertLess((await self.images.get(image.id)).updated_at, self.time)
        await self.images.add_tag(image.id, "kept", quota=1)
        self.assertEqual((await self.images.get(image.id)).tags, tags)

    async def test_what_is_no_image_takes_no_tag(self) -> None:
        """
        A deleted image, or one that never was, can neither be tagged nor lose a tag.
        """
        image = await self.add()
        await self.images.delete(image.id, from_status=ImageStatus.QUEUED)
        for image_id in (image.id, str(uuid4())):
            with self.assertRaises(ImageNotFound):
                await self.images.add_tag(image_id, "t", quota=-1)
            with self.assertRaises(ImageNotFound):
                await self.images.remove_tag(image_id, "t")

    # Locations.

    async def test_locations_change_with_everything_else(self) -> None:
        """
        Locations, status and the facts of the data are written with attributes, properties and tags; metadata come back
        as they were given.
        """
        image = await self.add(properties={"a": "b"}, tags=frozenset({"t"}))
        self.time += MINUTE
        metadata = {"text": "\U0001f600\0\u00e9", "list": [1, 2.5, True], "object": {"b": {}, "a": []}}
        wanted = evolve(
            image,
            name="new",
            properties={"c": "d"},
            tags=frozenset(),
            status=ImageStatus.ACTIVE,
            size=5,
            checksum="c" * 32,
            os_hash_algo="sha512",
            os_hash_value="d" * 128,
            locations=(Location("main", "s3://key:secret@host/1", metadata), AT_HOME),
        )
        changed, leases = await self.images.change_locations(wanted, was=image)
        self.assertEqual((changed, list(leases)), (evolve(wanted, updated_at=self.time), []))
        self.assertEqual(await self.images.get(image.id), changed)
        self.assertEqual(changed.locations[0].metadata, metadata)

    async def test_lost_locations_become_ended_leases(self) -> None:
        """
        What an image loses is to be cleared, under fences of its own; what it keeps may change place and metadata.
        """
        kept, moved, lost = (Location("main", f"file:///{name}") for name in "abc")
        image = await self.add(status=ImageStatus.ACTIVE, locations=(lost, kept, evolve(moved, metadata={"a": 1})))
        wanted = evolve(image, locations=(moved, evolve(kept, metadata={"b": 2})))
        changed, [lease] = await self.images.change_locations(wanted, was=image)
        self.assertEqual(changed.locations, wanted.locations)
        self.assertEqual((lease.location, lease.ended, lease.image_id), (lost, True, image.id))
        self.assertEqual(list(await self.images.leases(ended=True)), [lease])
        _, [second] = await self.images.change_locations(evolve(changed, locations=(moved,)), was=changed)
        self.assertGreater(second.fence, lease.fence)
        remaining = await self.images.delete(image.id, from_status=ImageStatus.ACTIVE)
        self.assertEqual([one.location for one in remaining], [moved])
        self.assertGreater(remaining[0].fence, second.fence)

    async def test_changing_locations_needs_them_to_hold(self) -> None:
        """
        Neither the status nor the locations may have changed since they were read; then nothing is written.
        """
        image = await self.add(status=ImageStatus.ACTIVE, locations=(AT_HOME,))
        other = Location("main", "file:///2")
        grown = evolve(image, name="new", locations=(AT_HOME, other))
        for was in (evolve(image, status=ImageStatus.QUEUED), evolve(image, locations=()), evolve(grown, name=None)):
            with self.assertRaises(StatusConflict):
                await self.images.change_locations(grown, was=was)
        self.assertEqual(await self.images.get(image.id), image)
        outcomes = await at_once(*(self.images.change_locations(grown, was=image) for _ in range(3)))
        self.assertEqual(sum(isinstance(outcome, StatusConflict) for outcome in outcomes), 2)
        self.assertEqual((await self.images.get(image.id)).locations, (AT_HOME, other))
        await self.images.delete(image.id, from_status=ImageStatus.ACTIVE)
        with self.assertRaises(ImageNotFound):
            await self.images.change_locations(grown, was=image)

    # Deleting.

    async def test_a_deleted_image_is_absent_and_its_id_taken(self) -> None:
        """
        A deleted image is found by nobody, in no way, and no image can have its id again.
        """
        image = await self.add(name="gone", tags=frozenset({"t"}), properties={"a": "b"})
        await self.images.delete(image.id, from_status=ImageStatus.QUEUED)
        for call in (
            self.images.get(image.id),
            self.images.save(image, was=image),
            self.images.delete(image.id, from_status=ImageStatus.QUEUED),
            self.images.delete(image.id, from_status=ImageStatus.DELETED),
            self.begin(image),
        ):
            with self.assertRaises(ImageNotFound):
                await call
        self.assertEqual(await self.names(), [])
        with self.assertRaises(InvalidQuery):
            await self.names(marker=image.id)
        with self.assertRaises(ImageExists):
            await self.images.add(image)

    async def test_deleting_needs_the_status_to_hold(self) -> None:
        """
        An image that is not in the expected status is not deleted.
        """
        image = await self.add(locations=(Location("a", "file:///1"),))
        with self.assertRaises(StatusConflict):
            await self.images.delete(image.id, from_status=ImageStatus.ACTIVE)
        self.assertEqual(await self.images.get(image.id), image)
        self.assertEqual(await self.images.leases(), [])

    async def test_locations_of_a_deleted_image_become_ended_leases(self) -> None:
        """
        Each location is handed back as an ended lease with a fence of its own, and is listed until it is forgotten.
        """
        image = await self.add()
        upload = await self.begin(image)
        await self.images.finish_upload(upload, STORED, EPOCH)
        self.time += MINUTE
        leases = await self.images.delete(image.id, from_status=ImageStatus.ACTIVE)
        self.assertEqual([lease.location for lease in leases], [upload.location])
        self.assertTrue(all(lease.ended and lease.image_id == image.id for lease in leases))
        self.assertGreater(leases[0].fence, upload.fence)
        self.assertEqual(leases[0].heartbeat_at, EPOCH + MINUTE)
        self.assertEqual(await self.images.leases(ended=True), leases)
        await self.images.forget_lease(leases[0])
        self.assertEqual(await self.images.leases(), [])

    async def test_several_locations_become_several_leases(self) -> None:
        """
        The leases of several locations can be told apart, and forgotten one by one.
        """
        locations = (Location("a", "file:///1"), Location("b", "file:///1"), Location("a", "file:///0"))
        image = await self.add(status=ImageStatus.ACTIVE, locations=locations)
        leases = await self.images.delete(image.id, from_status=ImageStatus.ACTIVE)
        self.assertEqual(tuple(lease.location for lease in leases), locations)
        self.assertEqual(len({lease.fence for lease in leases}), 3)
        await self.images.forget_lease(leases[1])
        self.assertEqual(await self.images.leases(), [leases[0], leases[2]])
