"""
The image proxy of openstacksdk, at the service and through the cache.
"""

from __future__ import annotations

import hashlib
import io
from typing import Any, Final

import openstack
from openstack.exceptions import (
    BadRequestException,
    ConflictException,
    ForbiddenException,
    HttpException,
    NotFoundException,
    SDKException,
)

from tests.functional.clients import ClientCase
from tests.functional.daemons import ADMIN, ALICE, BOB

DATA: Final = b"some data of an image\n" * 100_000


class SdkCase(ClientCase):
    """
    A test of ``Connection.image``.
    """

    def connect(self, token: str = ALICE) -> Any:
        """
        Connect to the daemon of this test.
        """
        connection = openstack.connection.Connection(
            auth_type="admin_token",
            auth={"endpoint": self.daemon.url, "token": token},
            image_endpoint_override=self.daemon.url,
        )
        self.addCleanup(connection.close)
        return connection.image

    def setUp(self) -> None:
        super().setUp()
        self.image = self.connect()
        self.file = self.folder / "data"
        self.file.write_bytes(DATA)

    def create(self, name: str, **attributes: Any) -> Any:
        """
        Create an image with data.
        """
        common = {"disk_format": "raw", "container_format": "bare"}
        return self.image.create_image(name, filename=str(self.file), **{**common, **attributes})


class ImageTests(SdkCase):
    """
    Images, at the service.
    """

    def test_create_with_data(self) -> None:
        """
        create_image uploads a file or bytes, and tells the hashes to find the same data again.
        """
        made = self.create("x", validate_checksum=True, tags=["one"], visibility="private", color="blue", wait=True)
        found = self.image.get_image(made.id)
        self.assertEqual(
            (found.status, found.size, found.visibility, found.tags), ("active", len(DATA), "private", ["one"])
        )
        self.assertEqual(found.properties["color"], "blue")
        self.assertEqual(found.hash_value, hashlib.sha512(DATA).hexdigest())
        self.assertEqual(found.properties["owner_specified.openstack.sha256"], hashlib.sha256(DATA).hexdigest())
        # The same file under the same name is found by its hashes, and not uploaded again.
        self.assertEqual(self.create("x", validate_checksum=True, allow_duplicates=False).id, made.id)
        other = self.image.create_image("y", data=DATA, disk_format="raw", container_format="bare")
        self.assertEqual(self.image.get_image(other.id).checksum, hashlib.md5(DATA).hexdigest())

    def test_upload(self) -> None:
        """
        upload_image creates an image with data from memory or a file that is open, and refuses lack of a format.
        """
        for data in (DATA, io.BytesIO(DATA)):
            made = self.image.upload_image(container_format="bare", disk_format="raw", name="x", data=data)
            self.assertEqual(self.image.get_image(made.id).size, len(DATA))
        self.assertRaises(SDKException, self.image.upload_image, name="y", data=DATA)

    def test_download(self) -> None:
        """
        download_image gives data whole, as a stream and into a file, with the hash checked, cold and warm.
        """
        made = self.create("x")
        for _ in range(2):
            self.assertEqual(self.image.download_image(made.id).content, DATA)
            stream = self.image.download_image(made, stream=True)
            self.assertEqual(b"".join(stream.iter_content(chunk_size=65536)), DATA)
            copy = self.folder / "copy"
            self.image.download_image(made, output=str(copy), chunk_size=4096)
            self.assertEqual(copy.read_bytes(), DATA)

    def test_find(self) -> None:
        """
        find_image finds by id and name, hidden and community ones too, and not what is not there.
        """
        made = self.create("plain")
        hidden = self.create("hidden")
        self.image.update_image(hidden.id, is_hidden=True)
        self.assertEqual([self.image.find_image(key).id for key in ("plain", made.id)], [made.id] * 2)
        self.assertEqual(self.image.find_image("hidden").id, hidden.id)
        self.assertIsNone(self.image.find_image("none"))
        self.assertRaises(NotFoundException, self.image.find_image, "none", ignore_missing=False)
        self.assertRaises(NotFoundException, self.image.get_image, "none")

    def test_list(self) -> None:
        """
        images() takes filters and an order, and puts pages together.
        """
        numbered = [f"image-{number}" for number in range(5)]
        for number, name in enumerate(numbered):
            self.create(name, tags=["odd"] if number % 2 else [])
        public = self.connect(ADMIN).create_image("public", visibility="public")
        expectations: list[tuple[dict[str, Any], list[str]]] = [
            (
                {"limit": 2, "sort_key": "name", "sort_dir": "asc"},
                [*(f"image-{number}" for number in range(5)), "public"],
            ),
            ({"tag": "odd", "sort": "name:desc"}, ["image-3", "image-1"]),
            ({"name": "image-2"}, ["image-2"]),
            ({"visibility": "public"}, ["public"]),
            ({"owner": "ops"}, ["public"]),
            ({"status": "queued"}, ["public"]),
            ({"size_min": 1, "limit": 3, "sort": "name:asc"}, numbered),
            ({"id": f"in:{public.id}"}, ["public"]),
            ({"created_at": "gt:2999-01-01"}, []),
        ]
        for query, names in expectations:
            self.assertEqual([each.name for each in self.image.images(**query)], names, query)

    def test_update(self) -> None:
        """
        update_image changes and removes attributes and properties; tags come and go one by one.
        """
        made = self.create("old", color="blue")
        self.image.update_image(made, name="new", color="red", size_class="big", min_ram=5, is_protected=True)
        found = self.image.get_image(made.id)
        self.assertEqual((found.name, found.min_ram, found.is_protected), ("new", 5, True))
        self.assertEqual((found.properties["color"], found.properties["size_class"]), ("red", "big"))
        self.assertRaises(ForbiddenException, self.image.delete_image, made.id)
        self.image.update_image(made.id, is_protected=False)
        self.image.add_tag(made, "one")
        self.image.add_tag(made, "two words")
        self.image.remove_tag(made, "one")
        self.assertEqual(self.image.get_image(made.id).tags, ["two words"])
        self.assertRaises(NotFoundException, self.image.remove_tag, made, "one")

    def test_deactivate(self) -> None:
        """
        deactivate_image keeps the data back, reactivate_image gives them.
        """
        made = self.create("x")
        self.image.deactivate_image(made.id)
        self.assertEqual(self.image.get_image(made.id).status, "deactivated")
        self.assertRaises(SDKException, self.image.download_image, made.id)
        self.image.reactivate_image(made.id)
        self.assertEqual(self.image.download_image(made.id).content, DATA)

    def test_delete(self) -> None:
        """
        delete_image deletes once, and then says that there is none if that is asked for.
        """
        made = self.create("x")
        self.image.delete_image(made.id)
        self.image.delete_image(made.id)
        self.assertRaises(NotFoundException, self.image.delete_image, made.id, ignore_missing=False)
        self.assertRaises(ConflictException, self.image.create_image, "x", id=made.id)

    def test_refusals(self) -> None:
        """
        Exceptions are of the type, and have the words, that callers need.
        """
        refused = self.assertRaises(BadRequestException, self.image.create_image, "x", id="strange")
        self.assertIn("must be a UUID", str(refused))
        refused = self.assertRaises(ForbiddenException, self.image.create_image, "x", visibility="public")
        self.assertIn("policy does not allow publicize_image", str(refused))
        refused = self.assertRaises(HttpException, self.create, "x", disk_format="qcow2")
        self.assertEqual(refused.status_code, 415)
        self.assertIn("they are not qcow2", str(refused))


class CachedImageTests(ImageTests):
    """
    Images, through the cache.
    """

    cached = True


class MemberTests(SdkCase):
    """
    Members, at the service.
    """

    def test_sharing(self) -> None:
        """
        Members are added, speak for themselves, are found, and leave.
        """
        made = self.create("shared", visibility="shared")
        bob = self.connect(BOB)
        self.assertEqual(self.image.add_member(made, member_id="blue").status, "pending")
        self.assertEqual([each.id for each in bob.images(member_status="pending")], [made.id])
        for status in ("rejected", "accepted"):
            self.assertEqual(bob.update_member("blue", made, status=status).status, status)
        self.assertEqual([each.id for each in bob.images()], [made.id])
        self.assertEqual(bob.get_member("blue", made.id).status, "accepted")
        self.assertEqual([each.member_id for each in self.image.members(made)], ["blue"])
        self.assertEqual(self.image.find_member("blue", made).status, "accepted")
        self.assertEqual(bob.download_image(made.id).content, DATA)
        self.assertRaises(ForbiddenException, self.image.update_member, "blue", made.id, status="pending")
        self.assertRaises(ConflictException, self.image.add_member, made, member_id="blue")
        self.image.remove_member("blue", made.id)
        self.assertIsNone(self.image.find_member("blue", made))
        self.assertRaises(NotFoundException, bob.get_image, made.id)


class CachedMemberTests(MemberTests):
    """
    Members, through the cache.
    """

    cached = True


class InformationTests(SdkCase):
    """
    What the service tells of itself, at the service.
    """

    def test_information(self) -> None:
        """
        Import methods and stores are listed.
        """
        self.assertEqual(self.image.get_import_info().import_methods["value"], [])
        self.assertEqual([(store.id, store.is_default) for store in self.image.stores()], [("file", True)])

    def test_schemas(self) -> None:
        """
        All schemas that the proxy knows are there.
        """
        names = {
            "images": self.image.get_images_schema,
            "image": self.image.get_image_schema,
            "members": self.image.get_members_schema,
            "member": self.image.get_member_schema,
            "tasks": self.image.get_tasks_schema,
            "task": self.image.get_task_schema,
            "namespaces": self.image.get_metadef_namespaces_schema,
            "namespace": self.image.get_metadef_namespace_schema,
            "resource_type_associations": self.image.get_metadef_resource_types_schema,
            "resource_type_association": self.image.get_metadef_resource_type_schema,
            "objects": self.image.get_metadef_objects_schema,
            "object": self.image.get_metadef_object_schema,
            "properties": self.image.get_metadef_properties_schema,
            "property": self.image.get_metadef_property_schema,
            "tags": self.image.get_metadef_tags_schema,
            "tag": self.image.get_metadef_tag_schema,
        }
        self.assertEqual({name: get().name for name, get in names.items()}, {name: name for name in names})


class CachedInformationTests(InformationTests):
    """
    What the service tells of itself, through the cache.
    """

    cached = True


class CacheTests(SdkCase):
    """
    The cache.
    """

    cached = True

    def test_cache(self) -> None:
        """
        Administrators queue, look, delete and clear.
        """
        made = self.create("x")
        admin = self.connect(ADMIN)
        admin.queue_image(made.id)
        self.wait_for(lambda: [each["image_id"] for each in admin.get_image_cache().cached_images] == [made.id])
        self.assertEqual(admin.get_image_cache().queued_images, [])
        admin.cache_delete_image(made.id)
        self.assertEqual(admin.get_image_cache().cached_images, [])
        admin.clear_cache("both")
        self.assertRaises(ForbiddenException, self.image.get_image_cache)
