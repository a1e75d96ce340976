"""
Every command for images, members and tags of python-glanceclient, at the service and through the cache.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from pathlib import Path
from typing import Final

from tests.functional.clients import ClientCase
from tests.functional.daemons import ADMIN, ALICE, BOB
from tests.functional.programs import GLANCE

RAW: Final = ("--disk-format", "raw", "--container-format", "bare")
DATA: Final = b"some data of an image\n" * 1000


class GlanceCase(ClientCase):
    """
    A test of the ``glance`` program.
    """

    def setUp(self) -> None:
        super().setUp()
        self.file = self.folder / "data"
        self.file.write_bytes(DATA)

    def glance(self, *arguments: str | Path, token: str = ALICE, stdin: bytes | None = None) -> str:
        """
        Run a command that has to succeed.
        """
        return self.succeed(GLANCE, *arguments, token=token, stdin=stdin)

    def fail_glance(self, *arguments: str | Path, token: str = ALICE) -> str:
        """
        Run a command that has to fail.

        :return: Its message.
        """
        return self.refuse(GLANCE, *arguments, token=token)

    def rows(self, table: str) -> list[list[str]]:
        """
        Read a table that the program printed.
        """
        lines = [line for line in table.splitlines() if line.startswith("|")]
        return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]

    def fields(self, table: str) -> dict[str, str]:
        """
        Read a table of two columns.
        """
        return {row[0]: row[1] for row in self.rows(table)}

    def create(self, *arguments: str | Path, token: str = ALICE) -> str:
        """
        Create an image, and return its id.
        """
        return self.fields(self.glance("image-create", *arguments, token=token))["id"]

    def listed(self, *arguments: str, token: str = ALICE) -> list[str]:
        """
        List images, and return their names.
        """
        return [row[1] for row in self.rows(self.glance("image-list", *arguments, token=token))]

    def status(self, image_id: str) -> str:
        """
        Ask the service for an image's status.
        """
        return str(self.ask_json(f"/v2/images/{image_id}")["status"])


class ImageTests(GlanceCase):
    """
    Records of images, at the service.
    """

    def test_create_with_everything(self) -> None:
        """
        image-create sets whatever it has an option for.
        """
        kernel_id = "11111111-2222-4333-8444-555555555555"
        image_id = f"aaaaaaaa-2222-4333-8444-{secrets.token_hex(6)}"
        command = f"""
            image-create --id {image_id} --name everything --disk-format qcow2 --container-format bare
            --visibility private --protected true --hidden true --min-disk 7 --min-ram 512 --owner red
            --architecture x86_64 --os-distro debian --os-version 12 --kernel-id {kernel_id} --ramdisk-id {kernel_id}
            --instance-uuid {kernel_id} --tags one two --property color=blue --property empty=
        """
        made = self.fields(self.glance(*command.split()))
        expected = {
            "id": image_id,
            "name": "everything",
            "status": "queued",
            "disk_format": "qcow2",
            "container_format": "bare",
            "visibility": "private",
            "protected": "True",
            "os_hidden": "True",
            "min_disk": "7",
            "min_ram": "512",
            "owner": "red",
            "architecture": "x86_64",
            "os_distro": "debian",
            "os_version": "12",
            "kernel_id": kernel_id,
            "ramdisk_id": kernel_id,
            "instance_uuid": kernel_id,
            "color": "blue",
            "empty": "",
            "checksum": "None",
            "size": "None",
        }
        self.assertEqual({name: made.get(name) for name in expected}, expected)
        self.assertEqual(sorted(json.loads(made["tags"].replace("'", '"'))), ["one", "two"])
        self.assertEqual(self.fields(self.glance("image-show", image_id)), made)

    def test_update(self) -> None:
        """
        image-update sets attributes and properties, and removes properties.
        """
        image_id = self.create(*RAW, "--name", "old", "--property", "a=1", "--property", "b=2")
        command = f"""
            image-update {image_id} --name new --property a=other --property c=3 --remove-property b --min-ram 5
            --protected true --hidden true --visibility community --os-distro debian --disk-format qcow2
        """
        updated = self.fields(self.glance(*command.split()))
        expected = {"name": "new", "a": "other", "c": "3", "min_ram": "5", "protected": "True", "os_hidden": "True"}
        expected |= {"visibility": "community", "os_distro": "debian", "disk_format": "qcow2"}
        self.assertEqual({name: updated.get(name) for name in expected}, expected)
        self.assertNotIn("b", updated)

    def test_show(self) -> None:
        """
        image-show prints sizes for people where that is asked for.
        """
        image_id = self.create(*RAW, "--file", self.file)
        self.assertEqual(self.fields(self.glance("image-show", image_id))["size"], str(len(DATA)))
        self.assertEqual(self.fields(self.glance("image-show", "--human-readable", image_id))["size"], "21.5kB")

    def test_delete(self) -> None:
        """
        image-delete takes several images, goes on after one that fails, and says what is wrong with that.
        """
        kept = self.create("--protected", "true")
        others = [self.create(), self.create()]
        message = self.fail_glance("image-delete", others[0], "no-such", kept, others[1])
        self.assertIn("No image with an ID of 'no-such' exists.", message)
        self.assertIn(f"You are not permitted to delete the image '{kept}'.", message)
        self.assertEqual([image["id"] for image in self.ask_json("/v2/images")["images"]], [kept])

    def test_deactivate(self) -> None:
        """
        image-deactivate keeps the data from everybody but administrators; image-reactivate gives them back.
        """
        image_id = self.create(*RAW, "--file", self.file)
        self.glance("image-deactivate", image_id)
        self.assertEqual(self.status(image_id), "deactivated")
        self.assertIn("is deactivated", self.fail_glance("image-download", image_id, "--file", self.folder / "copy"))
        self.glance("image-download", image_id, "--file", self.folder / "copy", token=ADMIN)
        self.glance("image-reactivate", image_id)
        self.glance("image-download", image_id, "--file", self.folder / "copy")
        queued = self.create()
        self.assertIn("queued", self.fail_glance("image-deactivate", queued))

    def test_tags(self) -> None:
        """
        image-tag-update and image-tag-delete change one tag each.
        """
        image_id = self.create("--tags", "one")
        self.assertIn("two", self.glance("image-tag-update", image_id, "two words"))
        self.glance("image-tag-delete", image_id, "one")
        self.assertEqual(self.ask_json(f"/v2/images/{image_id}")["tags"], ["two words"])
        self.assertIn("404", self.fail_glance("image-tag-delete", image_id, "one"))

    def test_refusals(self) -> None:
        """
        What is refused is told in words: the value, and the reason.
        """
        image_id = self.create()
        refusals = [
            ("'strange' does not match", "image-create", "--id", "strange"),
            (f"{image_id}", "image-create", "--id", image_id),
            ("publicize_image", "image-create", "--visibility", "public"),
            ("add_image", "image-create", "--owner", "blue"),
            ("no image with id 'strange' was found", "image-show", "strange"),
            ("visibility", "image-update", image_id, "--visibility", "nobody"),
            ("has no data", "image-download", image_id, "--file", self.folder / "copy"),
            ("no image with id 'strange'", "image-upload", "strange", "--file", self.file),
        ]
        for expected, *command in refusals:
            self.assertRegex(self.fail_glance(*command), expected)
        # The client never asks the service about an unknown token in the end.
        self.assertIn("Invalid OpenStack Identity credentials", self.fail_glance("image-list", token="unknown"))


class CachedImageTests(ImageTests):
    """
    Records of images, through the cache.
    """

    cached = True


class DataTests(GlanceCase):
    """
    Data of images, at the service.
    """

    def assert_data(self, image_id: str) -> None:
        """
        The client downloads what was uploaded, cold and warm.
        """
        for _ in range(2):
            self.glance("image-download", image_id, "--file", self.folder / "copy")
            self.assertEqual((self.folder / "copy").read_bytes(), DATA)

    def test_create_with_data(self) -> None:
        """
        image-create takes data from a file, with and without a bar, and from standard input.
        """
        for arguments in (("--file", self.file), ("--file", self.file, "--progress"), ()):
            stdin = None if arguments else DATA
            made = self.fields(self.glance("image-create", *RAW, *arguments, stdin=stdin))
            self.assertEqual((made["status"], made["size"]), ("active", str(len(DATA))))
            self.assertEqual(made["checksum"], hashlib.md5(DATA).hexdigest())
            self.assert_data(made["id"])

    def test_upload(self) -> None:
        """
        image-upload takes the same, once; what lacks formats is refused and stays queued.
        """
        named = ("--file", self.file)
        for arguments in (named, (*named, "--size", str(len(DATA))), ("--store", "file"), ()):
            stdin = None if named[0] in arguments else DATA
            image_id = self.create(*RAW)
            self.glance("image-upload", image_id, *arguments, stdin=stdin)
            self.assert_data(image_id)
        self.assertIn("409", self.fail_glance("image-upload", image_id, *named))
        bare = self.create()
        self.assertIn("disk_format", self.fail_glance("image-upload", bare, *named))
        self.assertEqual(self.status(bare), "queued")
        self.assertIn("Store 'other' is not valid", self.fail_glance("image-upload", bare, "--store", "other", *named))

    def test_wrong_format(self) -> None:
        """
        Data of another format than the image says are refused, and the right ones may follow.
        """
        image_id = self.create("--disk-format", "qcow2", "--container-format", "bare")
        self.assertIn("qcow2", self.fail_glance("image-upload", image_id, "--file", self.file))
        self.glance("image-update", image_id, "--disk-format", "raw")
        self.glance("image-upload", image_id, "--file", self.file)
        self.assert_data(image_id)

    def test_download(self) -> None:
        """
        image-download writes to standard output as well.
        """
        image_id = self.create(*RAW, "--file", self.file)
        self.assertEqual(self.glance("image-download", image_id).encode(), DATA)
        self.glance("image-download", image_id, "--progress", "--file", self.folder / "copy")
        self.assertEqual((self.folder / "copy").read_bytes(), DATA)


class CachedDataTests(DataTests):
    """
    Data of images, through the cache.
    """

    cached = True


class ListTests(GlanceCase):
    """
    Lists, at the service.
    """

    def test_filters(self) -> None:
        """
        image-list finds images by everything it has an option for.
        """
        self.create("--name", "plain")
        loaded = self.create("--name", "loaded", *RAW, "--file", self.file, "--tags", "t1", "t2", "--property", "a=b")
        self.create("--name", "hidden", "--hidden", "true")
        self.create("--name", "community", "--visibility", "community", "--owner", "blue", token=ADMIN)
        self.create("--name", "public", "--visibility", "public", token=ADMIN)
        image = self.ask_json(f"/v2/images/{loaded}")
        expectations: list[tuple[list[str], list[str]]] = [
            ([], ["loaded", "plain", "public"]),
            (["--tag", "t1", "--tag", "t2"], ["loaded"]),
            (["--tag", "t1", "--tag", "t3"], []),
            (["--property-filter", "a=b"], ["loaded"]),
            (["--property-filter", "status=active"], ["loaded"]),
            (["--checksum", image["checksum"]], ["loaded"]),
            (["--hash", image["os_hash_value"]], ["loaded"]),
            (["--hidden"], ["hidden"]),
            (["--visibility", "community"], ["community"]),
            (["--visibility", "public"], ["public"]),
            (["--visibility", "all"], ["community", "loaded", "plain", "public"]),
            (["--owner", "ops"], ["public"]),
            (["--limit", "2"], ["loaded", "plain"]),
        ]
        for arguments, names in expectations:
            self.assertEqual(self.listed(*arguments), names, arguments)
        self.assertIn("visibility", self.fail_glance("image-list", "--visibility", "nobody"))
        verbose = self.rows(self.glance("--verbose", "image-list", "--tag", "t1", "--include-stores"))
        self.assertEqual(verbose[0][1:7], ["loaded", "raw", "bare", str(len(DATA)), "active", "red"])

    def test_pages_and_order(self) -> None:
        """
        Pages of any size make up the same list, sorted as it is asked for.
        """
        for number in (3, 1, 5, 2, 4):
            self.create("--name", f"image-{number}", "--min-ram", "1")
        forward = [f"image-{number}" for number in range(1, 6)]
        backward = forward[::-1]
        for size in ("1", "2", "5", "6"):
            self.assertEqual(self.listed("--page-size", size), forward)
        self.assertEqual(self.listed("--page-size", "2", "--limit", "3"), forward[:3])
        self.assertEqual(self.listed("--sort", "status:asc,name:desc", "--page-size", "2"), backward)
        keys = ["--sort-key", "status", "--sort-dir", "asc", "--sort-key", "name", "--sort-dir", "desc"]
        self.assertEqual(self.listed(*keys, "--page-size", "2"), backward)


class CachedListTests(ListTests):
    """
    Lists, through the cache.
    """

    cached = True


class MemberTests(GlanceCase):
    """
    Members, at the service.
    """

    def test_sharing(self) -> None:
        """
        All commands for members, by the owner, the member and somebody else.
        """
        image_id = self.create("--name", "shared", *RAW, "--file", self.file)
        self.fail_glance("image-show", image_id, token=BOB)
        made = self.rows(self.glance("member-create", image_id, "blue"))
        self.assertEqual(made, [[image_id, "blue", "pending"]])
        self.assertEqual(self.listed(token=BOB), [])
        self.assertEqual(self.listed("--visibility", "shared", "--member-status", "pending", token=BOB), ["shared"])
        self.assertEqual(self.rows(self.glance("member-list", "--image-id", image_id)), made)
        for status in ("accepted", "rejected", "pending", "accepted"):
            updated = self.rows(self.glance("member-update", image_id, "blue", status, token=BOB))
            self.assertEqual(updated, [[image_id, "blue", status]])
        self.assertEqual(self.fields(self.glance("member-get", image_id, "blue", token=BOB))["status"], "accepted")
        self.assertEqual(self.listed(token=BOB), ["shared"])
        self.assertEqual(self.glance("image-download", image_id, token=BOB).encode(), DATA)
        self.assertIn("403", self.fail_glance("member-update", image_id, "blue", "rejected"))
        self.assertIn("409", self.fail_glance("member-create", image_id, "blue"))
        self.assertIn("403", self.fail_glance("member-delete", image_id, "blue", token=BOB))
        self.glance("member-delete", image_id, "blue")
        self.assertIn("no member 'blue'", self.fail_glance("member-get", image_id, "blue"))
        self.fail_glance("image-download", image_id, "--file", self.folder / "copy", token=BOB)


class CachedMemberTests(MemberTests):
    """
    Members, through the cache.
    """

    cached = True
