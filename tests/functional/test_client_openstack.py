"""
Every command for images of python-openstackclient, at the service and through the cache.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

from tests.functional.clients import ClientCase
from tests.functional.daemons import ADMIN, ALICE, BOB
from tests.functional.programs import OPENSTACK

DATA: Final = b"some data of an image\n" * 1000


class OpenStackCase(ClientCase):
    """
    A test of the ``openstack`` program.
    """

    def setUp(self) -> None:
        super().setUp()
        self.file = self.folder / "data"
        self.file.write_bytes(DATA)

    def image(self, *arguments: str | Path, token: str = ALICE, stdin: bytes | None = None) -> str:
        """
        Run a command for images that has to succeed.
        """
        return self.succeed(OPENSTACK, "image", *arguments, token=token, stdin=stdin)

    def fail_image(self, *arguments: str | Path, token: str = ALICE) -> str:
        """
        Run a command for images that has to fail.

        :return: Its message.
        """
        return self.refuse(OPENSTACK, "image", *arguments, token=token)

    def read(self, *arguments: str | Path, token: str = ALICE, stdin: bytes | None = None) -> Any:
        """
        Run a command, and read what it prints.
        """
        return json.loads(self.image(*arguments, "-f", "json", token=token, stdin=stdin))

    def names(self, *arguments: str, token: str = ALICE) -> list[str]:
        """
        List images, and return their names in the order of the list.
        """
        return [image["Name"] for image in self.read("list", *arguments, token=token)]


class ImageTests(OpenStackCase):
    """
    Images, at the service.
    """

    def test_create(self) -> None:
        """
        image create sets whatever it has an option for, and uploads a file.
        """
        command = """
            create everything --disk-format raw --container-format bare --min-disk 7 --min-ram 512 --protected --private
            --property color=blue --property hw_machine_type=q35 --tag one --tag two --project red
        """
        made = self.read(*command.split(), "--file", self.file)
        # The client shows what it was told before the upload.
        shown = self.read("show", "everything")
        self.assertEqual(made["id"], shown["id"])
        expected = {
            "status": "active",
            "size": len(DATA),
            "checksum": hashlib.md5(DATA).hexdigest(),
            "disk_format": "raw",
            "min_disk": 7,
            "min_ram": 512,
            "owner": "red",
            "protected": True,
            "visibility": "private",
        }
        self.assertEqual({name: shown[name] for name in expected}, expected)
        self.assertEqual(sorted(shown["tags"]), ["one", "two"])
        self.assertEqual((shown["properties"]["color"], shown["properties"]["hw_machine_type"]), ("blue", "q35"))

    def test_create_from_a_pipe(self) -> None:
        """
        image create reads standard input, and image save writes standard output.
        """
        image_id = self.read("create", "piped", stdin=DATA)["id"]
        for _ in range(2):
            self.assertEqual(self.image("save", image_id).encode(), DATA)

    def test_visibility(self) -> None:
        """
        A member makes images private, shared and community ones; to make them public is for administrators.
        """
        for visibility in ("private", "shared", "community"):
            self.assertEqual(self.read("create", "x", f"--{visibility}")["visibility"], visibility)
        self.assertIn("policy does not allow publicize_image", self.fail_image("create", "x", "--public"))
        self.assertEqual(self.read("create", "x", "--public", token=ADMIN)["visibility"], "public")

    def test_show(self) -> None:
        """
        image show finds images by name and id, and prints sizes for people; two of one name are not one.
        """
        image_id = self.read("create", "one", "--file", self.file)["id"]
        self.assertEqual(self.read("show", image_id)["name"], "one")
        self.assertEqual(self.read("show", "one", "--human-readable")["size"], "22K")
        self.assertIn("No Image found for none", self.fail_image("show", "none"))
        self.read("create", "one")
        self.assertIn("More than one", self.fail_image("show", "one"))

    def test_set_and_unset(self) -> None:
        """
        image set changes attributes, properties and tags; image unset takes properties and tags away.
        """
        self.read("create", "old", "--tag", "first", "--property", "a=1")
        command = """
            set old --name new --min-ram 5 --min-disk 6 --property b=2 --tag second --community --protected --hidden
            --disk-format qcow2 --container-format ovf --os-distro debian --os-version 12 --architecture x86_64
        """
        self.image(*command.split())
        image = self.ask_json("/v2/images?os_hidden=true")["images"][0]
        expected = {"name": "new", "min_ram": 5, "min_disk": 6, "a": "1", "b": "2", "visibility": "community"}
        expected |= {"protected": True, "os_hidden": True, "disk_format": "qcow2", "container_format": "ovf"}
        expected |= {"os_distro": "debian", "os_version": "12", "architecture": "x86_64"}
        self.assertEqual({name: image[name] for name in expected}, expected)
        self.assertEqual(sorted(image["tags"]), ["first", "second"])
        self.image("set", image["id"], "--unprotected", "--unhidden", "--private")
        self.image("unset", image["id"], "--tag", "first", "--property", "a")
        image = self.ask_json(f"/v2/images/{image['id']}")
        self.assertEqual((image["tags"], "a" in image, image["b"]), (["second"], False, "2"))
        self.assertEqual((image["protected"], image["os_hidden"], image["visibility"]), (False, False, "private"))
        self.assertIn("nonexistent tag", self.fail_image("unset", image["id"], "--tag", "first"))

    def test_deactivate(self) -> None:
        """
        image set deactivates and activates.
        """
        image_id = self.read("create", "x", "--file", self.file)["id"]
        self.image("set", "x", "--deactivate")
        self.assertEqual(self.ask_json(f"/v2/images/{image_id}")["status"], "deactivated")
        self.fail_image("save", "x", "--file", self.folder / "copy")
        self.image("set", "x", "--activate")
        self.image("save", "x", "--file", self.folder / "copy")
        self.assertEqual((self.folder / "copy").read_bytes(), DATA)

    def test_delete(self) -> None:
        """
        image delete takes several, by name or id, and leaves one that is protected.
        """
        self.read("create", "kept", "--protected")
        self.read("create", "one")
        image_id = self.read("create", "two")["id"]
        self.image("delete", "one", image_id)
        self.assertIn("protected", self.fail_image("delete", "kept"))
        self.assertEqual(self.names(), ["kept"])

    def test_refusals(self) -> None:
        """
        What is refused is told in words.
        """
        self.assertIn("must be a UUID", self.fail_image("create", "x", "--id", "strange"))
        wrong = ("create", "x", "--disk-format", "qcow2", "--file", self.file)
        self.assertIn("they are not qcow2", self.fail_image(*wrong))
        # The client takes back what it could not upload.
        self.assertEqual(self.names(), [])
        self.fail_image("show", "x")
        self.assertIn("401", self.fail_image("list", token="unknown"))


class CachedImageTests(ImageTests):
    """
    Images, through the cache.
    """

    cached = True


class ListTests(OpenStackCase):
    """
    Lists, at the service.
    """

    def test_filters(self) -> None:
        """
        image list finds images by everything it has an option for.
        """
        self.read("create", "plain", "--private")
        self.read("create", "loaded", "--file", self.file, "--tag", "t1", "--tag", "t2", "--property", "a=b")
        self.read("create", "community", "--community", token=ADMIN)
        self.read("create", "public", "--public", token=ADMIN)
        self.read("create", "hidden")
        self.image("set", "hidden", "--hidden")
        expectations: list[tuple[list[str], list[str]]] = [
            (["--sort", "name:asc"], ["loaded", "plain", "public"]),
            (["--sort", "name:desc"], ["public", "plain", "loaded"]),
            (["--public"], ["public"]),
            (["--private"], ["plain"]),
            (["--shared"], ["loaded"]),
            (["--community"], ["community"]),
            (["--all"], ["community", "loaded", "plain", "public"]),
            (["--name", "plain"], ["plain"]),
            (["--status", "active"], ["loaded"]),
            (["--tag", "t1", "--tag", "t2"], ["loaded"]),
            (["--property", "a=b"], ["loaded"]),
            (["--property", "a=c"], []),
            (["--hidden"], ["hidden"]),
            (["--project", "ops"], ["public"]),
            # It sorts what it got, which is the newest images first.
            (["--limit", "1"], ["public"]),
            (["--max-items", "2"], ["loaded", "public"]),
        ]
        for arguments, names in expectations:
            listed = self.names(*arguments)
            self.assertEqual(listed if "--sort" in arguments else sorted(listed), names, arguments)
        marker = self.read("show", "loaded")["id"]
        self.assertEqual(self.names("--marker", marker), ["plain"])
        long = self.read("list", "--long", "--name", "loaded")[0]
        self.assertEqual((long["Size"], long["Tags"], long["Project"]), (len(DATA), ["t1", "t2"], "red"))


class CachedListTests(ListTests):
    """
    Lists, through the cache.
    """

    cached = True


class MemberTests(OpenStackCase):
    """
    Members, at the service.
    """

    def test_sharing(self) -> None:
        """
        All commands for members, by the owner and by the member.
        """
        image_id = self.read("create", "shared", "--shared", "--file", self.file)["id"]
        made = self.read("add", "project", "shared", "blue")
        self.assertEqual((made["member_id"], made["status"]), ("blue", "pending"))
        for option, status in (("--accept", "accepted"), ("--reject", "rejected"), ("--pending", "pending")):
            self.image("set", image_id, option, "--project", "blue", token=BOB)
            self.assertEqual(self.read("member", "get", image_id, "blue", token=BOB)["status"], status)
            listed = self.names("--shared", "--member-status", status, token=BOB)
            self.assertEqual(listed, ["shared"])
            self.assertEqual(self.names(token=BOB), ["shared"] if status == "accepted" else [])
        members = self.read("member", "list", "shared")
        self.assertEqual([(each["Member ID"], each["Status"]) for each in members], [("blue", "pending")])
        self.assertEqual(self.image("save", image_id, token=BOB).encode(), DATA)
        self.fail_image("set", image_id, "--accept", "--project", "blue")
        self.image("remove", "project", "shared", "blue")
        self.assertIn("No Image found", self.fail_image("show", image_id, token=BOB))
        self.assertEqual(self.read("member", "list", "shared"), [])


class CachedMemberTests(MemberTests):
    """
    Members, through the cache.
    """

    cached = True


class InformationTests(OpenStackCase):
    """
    What the service tells of itself, at the service.
    """

    def test_information(self) -> None:
        """
        What there is is listed.
        """
        self.assertEqual(self.read("import", "info"), {"import-methods": []})
        self.assertEqual([store["ID"] for store in self.read("stores", "list")], ["file"])

    def test_not_there_yet(self) -> None:
        """
        Commands for what the service cannot do end with a message, and change nothing.
        """
        image_id = self.read("create", "x", "--file", self.file)["id"]
        self.read("create", "queued")
        before = self.ask_json("/v2/images")
        for expected, *command in [
            ("nothing at /v2/tasks", "task", "list"),
            ("404", "stage", "queued", "--file", self.file),
            ("not supported by this deployment", "import", image_id),
            ("nothing at /v2/metadefs", "metadef", "namespace", "list"),
        ]:
            self.assertIn(expected, self.fail_image(*command))
        self.assertEqual(self.ask_json("/v2/images"), before)
        # This one creates the record before it asks.
        self.assertIn("not support the image import", self.fail_image("create", "--import", "--file", self.file, "y"))


class CachedInformationTests(InformationTests):
    """
    What the service tells of itself, through the cache.
    """

    cached = True


class CacheTests(OpenStackCase):
    """
    Commands for the cache.
    """

    cached = True

    def cache(self, *arguments: str) -> str:
        """
        Run a command as an administrator.
        """
        return self.succeed(OPENSTACK, "cached", "image", *arguments, token=ADMIN)

    def kept(self) -> dict[str, str]:
        """
        List what is cached or queued: ids and states.
        """
        return {image["ID"]: image["State"] for image in json.loads(self.cache("list", "-f", "json"))}

    def test_cache(self) -> None:
        """
        Administrators queue, list, delete and clear; others are told that they may not.
        """
        images = [self.read("create", name, "--file", self.file)["id"] for name in ("one", "two", "three")]
        self.cache("queue", "one", *images[1:])
        self.wait_for(lambda: self.kept() == dict.fromkeys(images, "cached"))
        self.cache("delete", "one")
        self.assertEqual(set(self.kept()), set(images[1:]))
        for target in ("--queue", "--cache"):
            self.cache("clear", target)
            self.assertEqual(set(self.kept()), set(images[1:] if target == "--queue" else []))
        self.cache("queue", images[0])
        self.wait_for(lambda: self.kept() == {images[0]: "cached"})
        self.cache("clear")
        self.assertEqual(self.kept(), {})
        refused = self.refuse(OPENSTACK, "cached", "image", "list", token=ALICE)
        self.assertIn("policy does not allow", refused)
