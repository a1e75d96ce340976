"""
Tests with clients that nobody here wrote: python-glanceclient, openstacksdk, python-openstackclient and curl.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import openstack

from tests.functional.daemons import ALICE, API_CONFIG, CACHE_CONFIG, DaemonProcess, DaemonTestCase
from tests.functional.images import RealImage, iso, kernel, qcow2, ramdisk


class ClientTestCase(DaemonTestCase):
    """
    An image service and a cache before it, for clients that are programs.
    """

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.api = self.make_daemon("glance-api", self.folder / "api", API_CONFIG)
        self.api.start()
        upstream = f"\n[upstream]\nurls = {self.api.url}\n"
        self.cache = self.make_daemon("glance-cache", self.folder / "node", CACHE_CONFIG + upstream)
        self.cache.start()

    def run_program(self, *command: str | Path, program: str | None = None) -> str:
        """
        Run a program and return what it printed; fail when it fails.
        """
        name, *arguments = command
        path = Path(sys.executable).with_name(str(name)) if program is None else Path(program)
        # The clients keep schemas in the user's home.
        environment = {**os.environ, "HOME": str(self.folder), "PYTHONWARNINGS": "ignore"}
        # Without a standard input: the glance program would upload it.
        closed = ["/bin/sh", "-c", 'exec "$@" <&-', "sh", path, *arguments]
        done = subprocess.run(closed, capture_output=True, text=True, timeout=120, env=environment, check=False)
        self.assertEqual(done.returncode, 0, f"{command}\n{done.stdout}\n{done.stderr}\n{self.api.log()[-2000:]}")
        return done.stdout


class GlanceClientTests(ClientTestCase):
    """
    The ``glance`` program works against the service and through the cache.
    """

    def glance(self, daemon: DaemonProcess, *arguments: str | Path) -> str:
        """
        Run one command.
        """
        return self.run_program("glance", "--os-auth-token", ALICE, "--os-image-url", daemon.url, *arguments)

    def create(self, daemon: DaemonProcess, image: RealImage) -> str:
        """
        Create an image with data (which this client sends chunked), and return its id.
        """
        output = self.glance(
            daemon,
            "image-create",
            "--name",
            image.path.name,
            "--disk-format",
            image.disk_format,
            "--container-format",
            image.container_format,
            "--property",
            "os_distro=debian",
            "--tag",
            "real",
            "--file",
            image.path,
        )
        fields = dict(self.rows(output))
        self.assertEqual(fields["status"], "active")
        self.assertEqual(fields["size"], str(image.path.stat().st_size))
        self.assertEqual(fields["checksum"], hashlib.md5(image.data).hexdigest())
        return fields["id"]

    def rows(self, table: str) -> list[tuple[str, str]]:
        """
        Read the table that the program prints.
        """
        cells = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("|")]
        return [(row[0].strip(), row[1].strip()) for row in cells[1:]]

    def test_real_images(self) -> None:
        """
        Each real image goes in by way of the service, and comes out of both daemons as it was.
        """
        for make in (iso, kernel, ramdisk, qcow2):
            image = make(self)
            image_id = self.create(self.api, image)
            for daemon in (self.api, self.cache, self.cache):
                copy = self.folder / "copy"
                # The client checks the hash itself and fails where it is another one.
                self.glance(daemon, "image-download", image_id, "--file", copy)
                self.assertEqual(hashlib.sha512(copy.read_bytes()).hexdigest(), image.sha512)

    def test_through_the_cache(self) -> None:
        """
        Everything can be done through the cache: create with data, list, show, update, tag, delete.
        """
        image = iso(self)
        image_id = self.create(self.cache, image)
        self.assertIn((image_id, image.path.name), self.rows(self.glance(self.cache, "image-list")))
        self.assertEqual(self.rows(self.glance(self.cache, "image-list", "--tag", "none")), [])
        self.glance(self.cache, "image-update", image_id, "--name", "renamed", "--property", "os_distro=other")
        shown = dict(self.rows(self.glance(self.cache, "image-show", image_id)))
        self.assertEqual((shown["name"], shown["os_distro"]), ("renamed", "other"))
        self.glance(self.cache, "image-download", image_id, "--file", self.folder / "copy")
        self.glance(self.cache, "image-delete", image_id)
        self.assertEqual(self.rows(self.glance(self.cache, "image-list")), [])
        gone = self.cache.ask("GET", f"/v2/images/{image_id}/file", ALICE)
        self.assertEqual(gone.status, 404)

    def test_late_upload(self) -> None:
        """
        Data can come later than the record; without it a download brings nothing, and a second upload is refused.
        """
        image = iso(self)
        created = self.glance(self.api, "image-create", "--disk-format", "iso", "--container-format", "bare")
        image_id = dict(self.rows(created))["id"]
        self.assertEqual(self.cache.ask("GET", f"/v2/images/{image_id}/file", ALICE).status, 204)
        self.glance(self.cache, "image-upload", image_id, "--file", image.path)
        again = self.cache.ask(
            "PUT", f"/v2/images/{image_id}/file", ALICE, b"x", {"Content-Type": "application/octet-stream"}
        )
        self.assertEqual(again.status, 409)

    def test_cache_commands(self) -> None:
        """
        An administrator lists, queues and clears what is cached.
        """
        image_id = self.create(self.api, iso(self))
        admin = ("glance", "--os-auth-token", "admin-token", "--os-image-url", self.cache.url)
        self.run_program(*admin, "cache-queue", image_id)
        self.wait_for(lambda: "cached" in self.run_program(*admin, "cache-list"))
        self.assertIn(image_id, self.run_program(*admin, "cache-list"))
        self.assertEqual(self.cache.ask("GET", f"/v2/images/{image_id}/file", ALICE).headers["x-cache"], "hit")
        self.run_program(*admin, "cache-delete", image_id)
        self.assertNotIn(image_id, self.run_program(*admin, "cache-list"))
        self.run_program(*admin, "cache-clear")


class SdkTests(ClientTestCase):
    """
    openstacksdk works against both daemons.
    """

    def connect(self, daemon: DaemonProcess) -> Any:
        """
        Connect to one of them.
        """
        connection = openstack.connection.Connection(
            auth_type="admin_token",
            auth={"endpoint": daemon.url, "token": ALICE},
            image_endpoint_override=daemon.url,
        )
        self.addCleanup(connection.close)
        return connection.image

    def test_life_of_an_image(self) -> None:
        """
        Create with data (which this client sends with its length), find, list, download with verification, delete.
        """
        image = qcow2(self)
        for daemon in (self.api, self.cache):
            sdk = self.connect(daemon)
            created = sdk.create_image(
                "sdk",
                filename=str(image.path),
                disk_format="qcow2",
                container_format="bare",
                wait=True,
                os_distro="debian",
            )
            self.assertEqual(sdk.get_image(created.id).hash_value, image.sha512)
            self.assertEqual([each.id for each in sdk.images(name="sdk")], [created.id])
            copy = self.folder / "copy"
            sdk.download_image(created, output=str(copy), stream=True)
            self.assertEqual(hashlib.sha512(copy.read_bytes()).hexdigest(), image.sha512)
            sdk.update_image(created, name="renamed")
            self.assertEqual(sdk.find_image("renamed").id, created.id)
            sdk.delete_image(created)
            self.assertEqual(list(sdk.images()), [])


class OpenStackClientTests(ClientTestCase):
    """
    The ``openstack`` program works through the cache.
    """

    def openstack(self, *arguments: str | Path) -> Any:
        """
        Run one command and read what it prints.
        """
        access = ("--os-auth-type", "admin_token", "--os-token", ALICE, "--os-endpoint", f"{self.cache.url}/v2")
        output = self.run_program("openstack", *access, *arguments)
        return json.loads(output) if "-f" in arguments else output

    def test_life_of_an_image(self) -> None:
        """
        Create with data, list, show, set, save, delete.
        """
        image = iso(self)
        created = self.openstack(
            "image", "create", "osc", "--disk-format", "iso", "--file", image.path, "--property", "a=b", "-f", "json"
        )
        image_id = created["id"]
        self.assertEqual([each["ID"] for each in self.openstack("image", "list", "-f", "json")], [image_id])
        self.openstack("image", "set", image_id, "--name", "renamed", "--tag", "new")
        shown = self.openstack("image", "show", image_id, "-f", "json")
        self.assertEqual((shown["name"], shown["tags"], shown["size"]), ("renamed", ["new"], len(image.data)))
        copy = self.folder / "copy"
        self.openstack("image", "save", image_id, "--file", copy)
        self.assertEqual(copy.read_bytes(), image.data)
        self.openstack("image", "delete", image_id)
        self.assertEqual(self.openstack("image", "list", "-f", "json"), [])


class CurlTests(ClientTestCase):
    """
    What curl does, byte by byte.
    """

    def curl(self, *arguments: str | Path) -> str:
        """
        Run curl.
        """
        common = ("--silent", "--show-error", "--max-time", "60", "--header", f"X-Auth-Token: {ALICE}")
        return self.run_program("curl", *common, *arguments, program="/usr/bin/curl")

    def create(self, image: RealImage) -> str:
        """
        Create the record of an image that is to be uploaded.
        """
        document = json.dumps({"disk_format": image.disk_format, "container_format": image.container_format})
        image_id: str = json.loads(self.curl("--data", document, f"{self.api.url}/v2/images"))["id"]
        return image_id

    def upload(self, image_id: str, path: Path, *arguments: str, to: DaemonProcess | None = None) -> str:
        """
        Upload a file and tell the status, and how many bytes were sent.
        """
        return self.curl(
            "--upload-file",
            path,
            "--header",
            "Content-Type: application/octet-stream",
            "--write-out",
            "%{http_code} %{size_upload}",
            "--output",
            self.folder / "answer",
            *arguments,
            f"{(to or self.api).url}/v2/images/{image_id}/file",
        )

    def test_fixed_and_chunked(self) -> None:
        """
        Uploads with a length and chunked ones, to the service and through the cache, bring the same image.
        """
        image = kernel(self)
        for daemon in (self.api, self.cache):
            for arguments in ((), ("--header", "Transfer-Encoding: chunked"), ("--header", "Expect:")):
                image_id = self.create(image)
                self.assertEqual(self.upload(image_id, image.path, *arguments, to=daemon)[:3], "204")
                for source in (self.api, self.cache):
                    copy = self.folder / "copy"
                    self.curl("--fail", "--output", copy, f"{source.url}/v2/images/{image_id}/file")
                    self.assertEqual(copy.read_bytes(), image.data)

    def test_refused_before_a_byte(self) -> None:
        """
        A client that waits to be told to go on sends not a byte of an upload that is refused.
        """
        image = kernel(self)
        image_id = self.create(image)
        self.upload(image_id, image.path)
        self.assertEqual(self.upload(image_id, image.path, "--header", "Expect: 100-continue"), "409 0")

    def test_refused_while_sending(self) -> None:
        """
        A client that does not wait reads the refusal all the same, from the service and through the cache.
        """
        image = ramdisk(self)
        image_id = self.create(image)
        self.upload(image_id, image.path)
        for daemon in (self.api, self.cache):
            status = self.upload(image_id, image.path, "--header", "Expect:", to=daemon)
            self.assertEqual(status[:3], "409")

    def test_ranges(self) -> None:
        """
        Ranges are exact, cold and cached.
        """
        image = iso(self)
        image_id = self.create(image)
        self.upload(image_id, image.path)
        for daemon in (self.api, self.cache):
            for _ in range(2):
                copy = self.folder / "copy"
                self.curl("--range", "1000-70000", "--output", copy, f"{daemon.url}/v2/images/{image_id}/file")
                self.assertEqual(copy.read_bytes(), image.data[1000:70001])
                self.curl("--output", copy, f"{daemon.url}/v2/images/{image_id}/file")
                self.assertEqual(copy.read_bytes(), image.data)
