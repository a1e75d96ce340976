"""
How images are kept: adding, reading and saving them.
"""

from __future__ import annotations

from datetime import timedelta, timezone

from attrs import evolve
from zope.interface.verify import verifyObject

from glance_tx.domain.errors import ImageExists, ImageNotFound, StatusConflict
from glance_tx.domain.filters import equal
from glance_tx.domain.images import ImageStatus, Location, Visibility
from glance_tx.domain.interfaces import IImageRepository
from tests.contracts.image_case import EPOCH, MINUTE, OWNER, STORED, ImageCase
from tests.contracts.races import at_once


class ImageRecordsContract(ImageCase):
    """
    What is read of an image is what was written.
    """

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
        saved = await at_once(*(self.images.save(each, was=image) for each in changes))
        self.assertEqual(saved, changes)
        self.assertIn(await self.images.get(image.id), changes)
