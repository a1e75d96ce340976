"""
What every repository of images does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

from attrs import evolve
from twisted.internet.defer import Deferred, DeferredList
from zope.interface.verify import verifyObject

from glance_tx.domain.errors import (
    ImageExists,
    ImageGone,
    ImageNotFound,
    InvalidQuery,
    LeaseLost,
    QuotaExceeded,
    StatusConflict,
)
from glance_tx.domain.filters import equal
from glance_tx.domain.images import Image, ImageStatus, Location, Visibility
from glance_tx.domain.interfaces import (
    IImageRepository,
    ImageQuery,
    IMemberRepository,
    Lease,
    LeaseOwner,
    StoredData,
    Viewer,
)
from glance_tx.domain.members import MemberStatus
from tests.contracts.usage import StorageUsedContract

EPOCH = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
OWNER = LeaseOwner("node-1", "boot-1")
OTHER = LeaseOwner("node-2", "boot-2")
ADMIN = Viewer("p0", is_admin=True)
P1 = Viewer("p1", is_admin=False)
STORED = StoredData(11, "5eb63bbbe01eeed093cb22bb8f5acdc3", "sha512", "ab" * 64, 22)
MINUTE = timedelta(minutes=1)
AT_HOME = Location("main", "file:///1")


class ImageRepositoryContract(StorageUsedContract):
    """
    The contract of `IImageRepository`, for a `twisted.trial.unittest.TestCase`.
    """

    images: Any

    async def make_images(self) -> IImageRepository:
        """
        Make an empty repository that tells the time by `now`.
        """
        raise NotImplementedError

    def make_members(self) -> IMemberRepository:
        """
        Make the repository of the members of `images`.
        """
        raise NotImplementedError

    def setUp(self) -> Deferred[None]:
        self.time = EPOCH

        async def make() -> None:
            self.images = await self.make_images()
            self.members: Any = self.make_members()

        return Deferred.fromCoroutine(make())

    def now(self) -> datetime:
        return self.time

    def new(self, **values: Any) -> Image:
        return Image(**{"id": str(uuid4()), "created_at": EPOCH, "updated_at": EPOCH, "owner": "p1", **values})

    async def add(self, **values: Any) -> Image:
        image = self.new(**values)
        await self.images.add(image)
        return image

    async def share(self, image: Image, member_id: str, status: MemberStatus = MemberStatus.PENDING) -> None:
        await self.members.add(image.id, member_id, quota=-1)
        await self.members.set_status(image.id, member_id, status)

    async def begin(self, image: Image, owner: LeaseOwner = OWNER, now: datetime | None = None) -> Lease:
        return await self.images.begin_upload(image.id, owner, self.plan(image), now or self.now())

    def plan(self, image: Image) -> Any:
        return lambda fence: Location("main", f"file:///{image.id}.{fence}")

    async def names(self, viewer: Viewer = ADMIN, **query: Any) -> list[str | None]:
        query.setdefault("sort", (("name", "asc"),))
        return [image.name for image in await self.images.list(ImageQuery(viewer, **query))]

    async def at_once(self, *calls: Awaitable[Any]) -> list[Any]:
        """
        Start all calls, and give what each returned or raised.
        """
        outcomes = await DeferredList([Deferred.fromCoroutine(call) for call in calls], consumeErrors=True)
        return [outcome if succeeded else outcome.value for succeeded, outcome in outcomes]

    def test_it_provides_the_interface(self) -> None:
        """
        The repository has every method, with the right arguments.
        """
        verifyObject(IImageRepository, self.images)

    # Adding and getting.

    async def test_an_image_is_read_as_it_was_added(self) -> None:
        """
        Every attribute comes back: times to the microsecond and in UTC, texts of any characters, null and empty ones.
        """
        image = await self.add(
            name="näme 🐧 ",
            status=ImageStatus.ACTIVE,
            visibility=Visibility.COMMUNITY,
            protected=True,
            os_hidden=True,
            checksum="c" * 32,
            os_hash_algo="sha512",
            os_hash_value="d" * 128,
            size=2**60,
            virtual_size=2**61,
            container_format="bare",
            disk_format="qcow2",
            min_ram=2**31 - 1,
            min_disk=1,
            tags=frozenset({"a", "A", "a ", "ä"}),
            properties={"k": "v", "K": "", "k ": "x" * 65_535, "null": None, "ключ": "\n\t'\"%s:x\\"},
            locations=(Location("b", "file:///2"), Location("a", "s3://key:secret@host/1")),
            updated_at=EPOCH + timedelta(microseconds=1),
        )
        read = await self.images.get(image.id)
        self.assertEqual(read, image)
        self.assertEqual(read.created_at.utcoffset(), timedelta(0))

    async def test_a_bare_image_is_read_as_it_was_added(self) -> None:
        """
        What was not set stays unset.
        """
        image = await self.add(owner=None)
        self.assertEqual(await self.images.get(image.id), image)

    async def test_a_time_of_another_zone_is_the_same_moment(self) -> None:
        """
        A time given in another zone comes back as the same moment, in UTC.
        """
        there = EPOCH.astimezone(timezone(timedelta(hours=5, minutes=30)))
        image = await self.add(created_at=there)
        self.assertEqual((await self.images.get(image.id)).created_at, EPOCH)

    async def test_an_id_is_the_same_in_any_case(self) -> None:
        """
        Ids are kept in lower case, and looked for in any: a second image with the same id cannot be.
        """
        image = self.new(id="ABCDEF00-0000-4000-8000-00000000000a", name="one")
        await self.images.add(image)
        kept = evolve(image, id="abcdef00-0000-4000-8000-00000000000a")
        for spelling in (image.id, image.id.lower(), image.id.upper()):
            self.assertEqual(await self.images.get(spelling), kept)
            with self.assertRaises(ImageExists):
                await self.images.add(self.new(id=spelling))
            self.assertEqual(await self.names(filters=[equal("id", spelling)]), ["one"])
            self.assertEqual(await self.names(marker=spelling), [])
        await self.images.save(evolve(image, name="two"), was=image)
        lease = await self.images.begin_upload(image.id, OWNER, self.plan(image), EPOCH)
        self.assertEqual(lease.image_id, kept.id)
        await self.images.finish_upload(lease, STORED, EPOCH)
        await self.images.delete(image.id, from_status=ImageStatus.ACTIVE)

    async def test_an_unknown_image_is_not_found(self) -> None:
        """
        What never was is not found, by any way.
        """
        image = self.new()
        for call in (
            self.images.get(image.id),
            self.images.save(image, was=image),
            self.images.delete(image.id, from_status=ImageStatus.QUEUED),
            self.begin(image),
        ):
            with self.assertRaises(ImageNotFound):
                await call

    async def test_what_is_handed_out_is_a_copy(self) -> None:
        """
        Nobody changes an image by changing what was given in or handed out.
        """
        image = await self.add(properties={"a": "1"})
        image.properties["b"] = "2"
        (await self.images.get(image.id)).properties["c"] = "3"
        self.assertEqual((await self.images.get(image.id)).properties, {"a": "1"})

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

    # Saving.

    async def test_saving_writes_attributes_properties_and_tags(self) -> None:
        """
        Everything that may be changed is, at once, and the time of the change is noted.
        """
        image = await self.add(
            name="old", properties={"gone": "1", "kept": "2", "new value": "3"}, tags=frozenset({"gone", "kept"})
        )
        self.time += MINUTE
        changed = evolve(
            image,
            name=None,
            visibility=Visibility.PUBLIC,
            owner="p9",
            protected=True,
            os_hidden=True,
            container_format="ovf",
            disk_format="raw",
            min_ram=3,
            min_disk=4,
            properties={"kept": "2", "new value": "4", "new": None},
            tags=frozenset({"kept", "new"}),
        )
        saved = await self.images.save(changed, was=image)
        self.assertEqual(saved, evolve(changed, updated_at=EPOCH + MINUTE))
        self.assertEqual(await self.images.get(image.id), saved)

    async def test_saving_touches_neither_status_nor_data(self) -> None:
        """
        Facts about the data stay as they are, whatever the image to be saved says of them.
        """
        image = await self.add(status=ImageStatus.ACTIVE, size=5, checksum="c", locations=(Location("a", "file:///1"),))
        claimed = evolve(
            image,
            name="new",
            status=ImageStatus.QUEUED,
            size=6,
            virtual_size=7,
            checksum="x",
            os_hash_algo="md5",
            os_hash_value="y",
            locations=(),
            created_at=EPOCH + MINUTE,
        )
        self.assertEqual(await self.images.save(claimed, was=image), evolve(image, name="new"))

    async def test_the_last_writer_wins(self) -> None:
        """
        Of two changes to the same reading the later is what stays, properties and tags included.
        """
        image = await self.add(properties={"a": "0"})
        await self.images.save(evolve(image, name="one", properties={"a": "1", "b": "1"}), was=image)
        last = evolve(image, properties={"a": "2"}, tags=frozenset({"t"}))
        await self.images.save(last, was=image)
        self.assertEqual(await self.images.get(image.id), last)

    async def test_saving_needs_the_status_to_hold(self) -> None:
        """
        A change to an image whose status has changed is refused, and nothing of it is kept.
        """
        image = await self.add(tags=frozenset({"t"}))
        await self.begin(image)
        with self.assertRaises(StatusConflict) as caught:
            await self.images.save(evolve(image, name="new", tags=frozenset()), was=image)
        self.assertEqual(caught.exception.status, "saving")
        self.assertEqual(await self.images.get(image.id), evolve(image, status=ImageStatus.SAVING))

    async def test_changes_at_once_are_whole(self) -> None:
        """
        Of changes made at the same time one is there in the end, with all of its properties and tags and no other's.
        """
        image = await self.add(properties={"p": "start"}, tags=frozenset({"start"}))
        changes = [
            evolve(image, name=f"{n}", properties={f"{n}": f"{n}", "p": f"{n}"}, tags=frozenset({f"{n}", "t"}))
            for n in range(8)
        ]
        saved = await self.at_once(*(self.images.save(each, was=image) for each in changes))
        self.assertEqual(saved, changes)
        self.assertIn(await self.images.get(image.id), changes)

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
        outcomes = await self.at_once(
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
        added = await self.at_once(*(self.images.add_tag(image.id, tag, quota=-1) for tag in tags))
        self.assertEqual(added, [None] * 6)
        self.assertEqual((await self.images.get(image.id)).tags, frozenset("abcd"))

    async def test_tags_added_at_once_keep_the_quota(self) -> None:
        """
        Of tags that are added at the same time as many come to be there as may, and the others change nothing; one
        that is there may be added again, though there be more than the quota.
        """
        image = await self.add(tags=frozenset({"kept"}))
        outcomes = await self.at_once(*(self.images.add_tag(image.id, tag, quota=4) for tag in "abcdef"))
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
        outcomes = await self.at_once(*(self.images.change_locations(grown, was=image) for _ in range(3)))
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

    # Uploading.

    async def test_an_upload_makes_a_queued_image_active(self) -> None:
        """
        Beginning moves the image to saving under a lease; finishing makes it active with its data, and drops the lease.
        """
        image = await self.add(name="x", properties={"a": "b"}, tags=frozenset({"t"}))
        lease = await self.begin(image, now=EPOCH + MINUTE)
        location = Location("main", f"file:///{image.id}.{lease.fence}")
        self.assertEqual(lease, Lease(image.id, lease.fence, OWNER, location, EPOCH + MINUTE))
        saving = evolve(image, status=ImageStatus.SAVING, updated_at=EPOCH + MINUTE)
        self.assertEqual(await self.images.get(image.id), saving)
        self.assertEqual(await self.images.leases(), [lease])
        active = await self.images.finish_upload(lease, STORED, EPOCH + 2 * MINUTE)
        self.assertEqual(
            active,
            evolve(
                image,
                status=ImageStatus.ACTIVE,
                updated_at=EPOCH + 2 * MINUTE,
                size=11,
                virtual_size=22,
                checksum=STORED.checksum,
                os_hash_algo="sha512",
                os_hash_value=STORED.os_hash_value,
                locations=(location,),
            ),
        )
        self.assertEqual(await self.images.get(image.id), active)
        self.assertEqual(await self.images.leases(), [])

    async def test_only_a_queued_image_takes_an_upload(self) -> None:
        """
        An image in another status takes none, and the plan for the data is not asked for.
        """
        for status in ImageStatus:
            if status in {ImageStatus.QUEUED, ImageStatus.DELETED}:
                continue
            image = await self.add(status=status)
            planned: list[int] = []
            with self.assertRaises(StatusConflict) as caught:
                await self.images.begin_upload(image.id, OWNER, planned.append, EPOCH)
            self.assertEqual(caught.exception.status, status.value)
            self.assertEqual(planned, [])
            self.assertEqual(await self.images.get(image.id), image)

    async def test_a_plan_that_fails_leaves_the_image_queued(self) -> None:
        """
        When no location can be told, there is no lease and the image is as it was.
        """
        image = await self.add()

        def plan(fence: int) -> Location:
            raise ValueError(fence)

        with self.assertRaises(ValueError):
            await self.images.begin_upload(image.id, OWNER, plan, EPOCH)
        self.assertEqual(await self.images.get(image.id), image)
        self.assertEqual(await self.images.leases(), [])

    async def test_of_uploads_that_begin_at_once_one_wins(self) -> None:
        """
        However many begin at the same time, one has the lease and the others are told that the image is saving.
        """
        for _ in range(5):
            image = await self.add()
            outcomes = await self.at_once(*(self.begin(image, LeaseOwner("n", f"{n}")) for n in range(4)))
            won = [outcome for outcome in outcomes if isinstance(outcome, Lease)]
            lost = [outcome for outcome in outcomes if isinstance(outcome, StatusConflict)]
            self.assertEqual((len(won), len(lost)), (1, 3), outcomes)
            self.assertEqual([lease for lease in await self.images.leases() if lease.image_id == image.id], won)

    async def test_fences_only_grow(self) -> None:
        """
        Each lease of an image has a greater fence than all before it, ended and forgotten ones included.
        """
        image = await self.add()
        fences = []
        for _ in range(3):
            lease = await self.begin(image)
            fences.append(lease.fence)
            await self.images.end_lease(lease, EPOCH)
            await self.images.forget_lease(lease)
        lease = await self.begin(image)
        await self.images.finish_upload(lease, STORED, EPOCH)
        ended = await self.images.delete(image.id, from_status=ImageStatus.ACTIVE)
        fences += [lease.fence, ended[0].fence]
        self.assertEqual(fences, sorted(set(fences)))
        self.assertGreater(fences[0], 0)

    async def test_a_heartbeat_is_noted(self) -> None:
        """
        The lease's last sign of life is the time of the heartbeat.
        """
        lease = await self.begin(await self.add())
        await self.images.heartbeat(lease, EPOCH + MINUTE)
        self.assertEqual(await self.images.leases(), [evolve(lease, heartbeat_at=EPOCH + MINUTE)])

    async def test_an_ended_lease_puts_the_image_back(self) -> None:
        """
        Ending a lease puts the image back to queued; the lease stays listed, as ended, until it is forgotten.
        """
        image = await self.add()
        lease = await self.begin(image)
        for _ in range(2):  # harmless when repeated
            await self.images.end_lease(lease, EPOCH + MINUTE)
            self.assertEqual(await self.images.get(image.id), evolve(image, updated_at=EPOCH + MINUTE))
            self.assertEqual(await self.images.leases(), [evolve(lease, ended=True)])
        for _ in range(2):
            await self.images.forget_lease(lease)
            self.assertEqual(await self.images.leases(), [])
        await self.images.end_lease(lease, EPOCH + MINUTE)
        self.assertEqual(await self.images.leases(), [])

    async def test_a_living_lease_is_not_forgotten(self) -> None:
        """
        Only ended leases can be dropped.
        """
        lease = await self.begin(await self.add())
        await self.images.forget_lease(lease)
        self.assertEqual(await self.images.leases(), [lease])

    async def test_the_owner_of_an_ended_lease_is_told(self) -> None:
        """
        Heartbeat and finish of a lease that was ended, or is gone, are refused, and the image stays as it is.
        """
        image = await self.add()
        lease = await self.begin(image)
        await self.images.end_lease(lease, EPOCH)
        for forget in (False, True):
            if forget:
                await self.images.forget_lease(lease)
            with self.assertRaises(LeaseLost) as caught:
                await self.images.heartbeat(lease, EPOCH + MINUTE)
            self.assertEqual(caught.exception.fence, lease.fence)
            with self.assertRaises(LeaseLost):
                await self.images.finish_upload(lease, STORED, EPOCH)
            self.assertEqual(await self.images.get(image.id), image)

    async def test_a_stalled_owner_cannot_disturb_its_successor(self) -> None:
        """
        Once another upload has begun, the earlier lease can neither finish it nor end it.
        """
        image = await self.add()
        stalled = await self.begin(image)
        await self.images.end_lease(stalled, EPOCH)
        current = await self.begin(image, OTHER)
        with self.assertRaises(LeaseLost):
            await self.images.finish_upload(stalled, STORED, EPOCH)
        with self.assertRaises(LeaseLost):
            await self.images.heartbeat(stalled, EPOCH)
        await self.images.end_lease(stalled, EPOCH)
        self.assertEqual((await self.images.get(image.id)).status, ImageStatus.SAVING)
        active = await self.images.finish_upload(current, STORED, EPOCH)
        self.assertEqual(active.locations, (current.location,))
        self.assertEqual(await self.images.leases(), [evolve(stalled, ended=True)])

    async def test_a_finished_upload_cannot_be_ended(self) -> None:
        """
        Ending the lease of an upload that was finished changes nothing; finishing it again is refused.
        """
        lease = await self.begin(await self.add())
        active = await self.images.finish_upload(lease, STORED, EPOCH)
        await self.images.end_lease(lease, EPOCH)
        with self.assertRaises(LeaseLost):
            await self.images.finish_upload(lease, STORED, EPOCH)
        self.assertEqual(await self.images.get(lease.image_id), active)
        self.assertEqual(await self.images.leases(), [])

    async def test_an_owner_whose_image_is_deleted_is_told(self) -> None:
        """
        Deleting an image in mid-upload leaves the lease to its owner, who is told that the image is gone.
        """
        image = await self.add()
        lease = await self.begin(image)
        self.assertEqual(await self.images.delete(image.id, from_status=ImageStatus.SAVING), [])
        self.assertEqual(await self.images.leases(), [lease])
        with self.assertRaises(ImageGone):
            await self.images.heartbeat(lease, EPOCH)
        with self.assertRaises(ImageGone):
            await self.images.finish_upload(lease, STORED, EPOCH)
        self.assertEqual(await self.images.leases(), [evolve(lease, ended=True)])
        with self.assertRaises(ImageGone):
            await self.images.heartbeat(lease, EPOCH)
        with self.assertRaises(ImageNotFound):
            await self.images.get(image.id)
        await self.images.forget_lease(lease)
        self.assertEqual(await self.images.leases(), [])

    async def test_a_lease_of_a_deleted_image_can_be_ended(self) -> None:
        """
        Where the owner is gone too, somebody else ends the lease.
        """
        image = await self.add()
        lease = await self.begin(image)
        await self.images.delete(image.id, from_status=ImageStatus.SAVING)
        await self.images.end_lease(lease, EPOCH)
        self.assertEqual(await self.images.leases(ended=True), [evolve(lease, ended=True)])
        with self.assertRaises(ImageNotFound):
            await self.images.get(image.id)

    async def test_finishing_and_ending_at_once_agree(self) -> None:
        """
        Of finishing and ending at the same time one counts: active without a lease, or queued with an ended one.
        """
        for _ in range(8):
            image = await self.add()
            lease = await self.begin(image)
            finished, ended = await self.at_once(
                self.images.finish_upload(lease, STORED, EPOCH), self.images.end_lease(lease, EPOCH)
            )
            self.assertIsNone(ended)
            kept = await self.images.get(image.id)
            left = [each for each in await self.images.leases() if each.image_id == image.id]
            if isinstance(finished, Image):
                self.assertEqual((kept, left), (finished, []))
            else:
                self.assertIsInstance(finished, LeaseLost)
                self.assertEqual((kept, left), (image, [evolve(lease, ended=True)]))

    async def test_finishing_and_deleting_at_once_agree(self) -> None:
        """
        Of finishing and deleting at the same time one counts: active, or gone with an ended lease.
        """
        for _ in range(8):
            image = await self.add()
            lease = await self.begin(image)
            finished, deleted = await self.at_once(
                self.images.finish_upload(lease, STORED, EPOCH),
                self.images.delete(image.id, from_status=ImageStatus.SAVING),
            )
            left = [each for each in await self.images.leases() if each.image_id == image.id]
            if isinstance(finished, Image):
                self.assertIsInstance(deleted, StatusConflict)
                self.assertEqual((await self.images.get(image.id), left), (finished, []))
            else:
                self.assertIsInstance(finished, ImageGone)
                self.assertEqual((deleted, left), ([], [evolve(lease, ended=True)]))

    async def test_leases_are_listed_by_state_and_silence(self) -> None:
        """
        Leases can be asked for by whether they are ended, and by how long they have been silent; the oldest come first.
        """
        old = await self.begin(await self.add(), now=EPOCH)
        new = await self.begin(await self.add(), OTHER, now=EPOCH + MINUTE)
        over = await self.begin(await self.add(), now=EPOCH - MINUTE)
        await self.images.end_lease(over, EPOCH)
        over = evolve(over, ended=True)
        self.assertEqual(await self.images.leases(), [over, old, new])
        self.assertEqual(await self.images.leases(ended=True), [over])
        self.assertEqual(await self.images.leases(ended=False), [old, new])
        self.assertEqual(await self.images.leases(silent_since=EPOCH + MINUTE), [over, old])
        self.assertEqual(await self.images.leases(ended=False, silent_since=EPOCH + MINUTE), [old])
        self.assertEqual(await self.images.leases(silent_since=EPOCH - MINUTE), [])

    # Listing: who sees what.

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

    # Listing: what cannot be.

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

    # Listing: order and pages.

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
