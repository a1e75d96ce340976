"""
Images that ``qemu-img`` made go into a real image service: as what they are, as what they are not, and with traps.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.functional.daemons import ALICE, UPSTREAM_CONFIG, Answer, DaemonTestCase
from tests.functional.images import RealImage, converted, iso, kernel, qemu_img

OCTETS = {"Content-Type": "application/octet-stream"}

KINDS: list[tuple[str, str, list[str]]] = [
    ("qcow2", "qcow2", []),
    ("qcow2", "qcow2", ["-c"]),
    ("qcow2", "qcow2", ["-o", "compat=0.10"]),
    ("vmdk", "vmdk", ["-o", "subformat=monolithicSparse"]),
    ("vmdk", "vmdk", ["-o", "subformat=streamOptimized"]),
    ("vhdx", "vhdx", []),
    ("vdi", "vdi", []),
    ("vhd", "vpc", []),
]
"""Our name of a format, qemu's, and how it is to be made."""

DISK_FORMATS = ("raw", "qcow2", "vmdk", "vhdx", "vdi", "vhd", "iso", "ploop")


class FormatTests(DaemonTestCase):
    """
    Inspection of formats, by programs that others wrote.
    """

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.api = self.make_daemon("glance-api", self.folder, UPSTREAM_CONFIG)
        self.api.start()

    def upload(self, data: bytes, disk_format: str) -> tuple[Answer, dict[str, object]]:
        """
        Create an image, bring data in, and tell the answer and what became of the image.
        """
        document = json.dumps({"disk_format": disk_format, "container_format": "bare"}).encode()
        image_id = json.loads(self.api.ask("POST", "/v2/images", ALICE, document).body)["id"]
        answer = self.api.ask("PUT", f"/v2/images/{image_id}/file", ALICE, data, OCTETS)
        return answer, json.loads(self.api.ask("GET", f"/v2/images/{image_id}", ALICE).body)

    def assert_refused(self, data: bytes, disk_format: str) -> None:
        answer, image = self.upload(data, disk_format)
        self.assertEqual((disk_format, answer.status, image["status"]), (disk_format, 415, "queued"))
        self.assertEqual((image["size"], image["virtual_size"], image["checksum"]), (None, None, None))

    def assert_accepted(self, data: bytes, disk_format: str, virtual_size: int) -> None:
        answer, image = self.upload(data, disk_format)
        self.assertEqual((disk_format, answer.status, image["status"]), (disk_format, 204, "active"), answer.body)
        self.assertEqual((image["size"], image["virtual_size"]), (len(data), virtual_size))

    def virtual_size(self, image: RealImage, kind: str) -> int:
        """
        Ask qemu for the size of a disk.
        """
        told = qemu_img(self, "info", "-f", kind, "--output", "json", image.path)
        size: int = json.loads(told)["virtual-size"]
        return size

    def test_right_and_wrong(self) -> None:
        """
        Each is accepted as what it is, with the virtual size that qemu knows, and as raw; and refused as anything else.
        """
        for disk_format, kind, options in KINDS:
            image = converted(self, disk_format, kind, *options)
            self.assert_accepted(image.data, disk_format, self.virtual_size(image, kind))
            self.assert_accepted(image.data, "raw", len(image.data))
            for other in set(DISK_FORMATS) - {disk_format, "raw"}:
                self.assert_refused(image.data, other)
        stored = [path for path in (self.folder / "images").rglob("*") if path.is_file()]
        self.assertEqual(len(stored), 2 * len(KINDS))

    def test_iso_and_kernel(self) -> None:
        """
        A CD that can be booted from is an ISO, and a kernel a kernel, although both begin like a disk with partitions.
        """
        disc = iso(self).data
        self.assert_accepted(disc, "iso", len(disc))
        for other in ("qcow2", "vmdk", "aki"):
            self.assert_refused(disc, other)
        data = kernel(self).data
        self.assert_accepted(data, "aki", len(data))
        self.assert_refused(data, "iso")

    def test_traps(self) -> None:
        """
        What has its data, or a part of them, in other files of whoever opens it is refused, also as raw.
        """
        backing, external, qed = (Path(self.mktemp()).absolute() for _ in range(3))
        qemu_img(self, "create", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", backing, "10M")
        qemu_img(self, "create", "-f", "qcow2", "-o", f"data_file={self.mktemp()},data_file_raw=on", external, "10M")
        qemu_img(self, "convert", "-O", "qed", iso(self).path, qed)
        flat = converted(self, "vmdk", "vmdk", "-o", "subformat=monolithicFlat").path
        split = converted(self, "vmdk", "vmdk", "-o", "subformat=twoGbMaxExtentSparse").path
        host = flat.read_bytes().replace(b'"' + flat.name.encode(), b'"/etc/passwd')
        for data in (path.read_bytes() for path in (backing, external, qed, flat, split)):
            for declared in ("raw", "qcow2", "vmdk"):
                self.assert_refused(data, declared)
        for declared in ("raw", "vmdk"):
            self.assert_refused(host, declared)
        named = converted(self, "vmdk", "vmdk", "-o", "subformat=monolithicSparse").data
        trap = named.replace(b'SPARSE "', b'SPARSE "/', 1)
        self.assertNotEqual(trap, named)
        for declared in ("raw", "vmdk"):
            self.assert_refused(trap, declared)
