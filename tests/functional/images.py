"""
Real images: an ISO, a kernel and an initial RAM disk from Debian packages, and a qcow2 made of one of them.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

from attrs import frozen

from tests.services import ServiceCase, lacking

_ISO = "/usr/lib/grub-rescue/grub-rescue-cdrom.iso"
_NETBOOT = "/usr/lib/debian-installer/images/12/*/text/debian-installer/*"


@frozen
class RealImage:
    """
    One image file.
    """

    path: Path
    disk_format: str
    container_format: str = "bare"

    @property
    def data(self) -> bytes:
        """
        All of it; these are small enough.
        """
        return self.path.read_bytes()

    @property
    def sha512(self) -> str:
        """
        Its strong hash, in hex.
        """
        return hashlib.sha512(self.data).hexdigest()


def iso(case: ServiceCase) -> RealImage:
    """
    GRUB's rescue CD.
    """
    path = Path(_ISO)
    if not path.exists():
        raise lacking(case, f"no {path}: apt install grub-rescue-pc")
    return RealImage(path, "iso")


def _netboot(case: ServiceCase, name: str) -> Path:
    base, _, pattern = _NETBOOT.partition("*")
    found = sorted(Path(base).glob(f"*{pattern}/{name}"))
    if not found:
        raise lacking(case, f"no {_NETBOOT}/{name}: apt install debian-installer-12-netboot-amd64")
    return found[0]


def kernel(case: ServiceCase) -> RealImage:
    """
    The kernel of Debian's installer.
    """
    return RealImage(_netboot(case, "linux"), "aki", "aki")


def ramdisk(case: ServiceCase) -> RealImage:
    """
    The initial RAM disk of Debian's installer.
    """
    return RealImage(_netboot(case, "initrd.gz"), "ari", "ari")


def qemu_img(case: ServiceCase, *arguments: str | Path) -> str:
    """
    Run ``qemu-img`` and give what it prints.
    """
    program = shutil.which("qemu-img")
    if program is None:
        raise lacking(case, "no qemu-img program: apt install qemu-utils")
    return subprocess.run([program, *arguments], check=True, capture_output=True, text=True).stdout


def converted(case: ServiceCase, disk_format: str, kind: str, *options: str) -> RealImage:
    """
    The ISO in another format.

    :param kind: What ``qemu-img`` calls the format.
    """
    path = Path(case.mktemp()).absolute()
    qemu_img(case, "convert", "-O", kind, *options, iso(case).path, path)
    return RealImage(path, disk_format)


def qcow2(case: ServiceCase) -> RealImage:
    """
    A qcow2 of the ISO.
    """
    return converted(case, "qcow2", "qcow2")
