"""
Beginnings of disk images in every format that is looked for: as much as an inspector reads, and some data behind it.
"""

from __future__ import annotations

import struct
from uuid import UUID

KIB, MIB = 1 << 10, 1 << 20
DISK_BYTES = 3 * MIB
"""The virtual size of them all, where they have one."""

_TAIL = b"disk data " * 100
_REGIONS = UUID("8B7CA206-4790-4B9A-B8FE-575F050F886E").bytes_le
_DISK_SIZE = UUID("2FA54224-CD1B-4876-B211-5DBED83BF4B8").bytes_le
_GD_AT_END = 2**64 - 1


def raw() -> bytes:
    """Nothing that is known."""
    return b"\0" * 4096 + _TAIL


def qcow2(size: int = DISK_BYTES, *, version: int = 3, backing: int = 0, features: int = 0) -> bytes:
    """
    A qcow2.

    :param backing: Where the name of its backing file stands.
    :param features: Its incompatible features; bit 2 is an external data file.
    """
    header = struct.pack(">4sIQIIQ", b"QFI\xfb", version, backing, 4 if backing else 0, 16, size)
    return (header.ljust(0x48, b"\0") + struct.pack(">Q", features)).ljust(64 * KIB, b"\0") + _TAIL


def qed() -> bytes:
    """A QED, which nobody may have."""
    return b"QED\0".ljust(4096, b"\0") + _TAIL


def vhd(size: int = DISK_BYTES) -> bytes:
    """A VHD that can grow."""
    return (b"conectix".ljust(40, b"\0") + struct.pack(">Q", size)).ljust(512, b"\0") + _TAIL


def fixed_vhd() -> bytes:
    """A VHD of fixed size: the disk, and a footer behind it."""
    return bytes(4096) + vhd()[:512]


def vdi(size: int = DISK_BYTES) -> bytes:
    """A VDI."""
    header = bytes(0x40) + struct.pack("<I", 0xBEDA107F)
    return (header.ljust(0x170, b"\0") + struct.pack("<Q", size)).ljust(4096, b"\0") + _TAIL


def iso(blocks: int = DISK_BYTES // 2048) -> bytes:
    """An ISO."""
    volume = (b"\1CD001\1".ljust(80, b"\0") + struct.pack("<L", blocks)).ljust(128, b"\0") + struct.pack("<H", 2048)
    return bytes(32 * KIB) + volume.ljust(2048, b"\0") + _TAIL


def gpt(*, boot: int = 0, kinds: tuple[int, ...] = (0xEE,)) -> bytes:
    """
    A disk with partitions.

    :param boot: The first one's boot flag.
    :param kinds: Their types.
    """
    entries = b"".join(
        struct.pack("<B3BB3BII", boot if number == 0 else 0, 0, 2, 0, kind, 0, 0, 0, 1, 100)
        for number, kind in enumerate(kinds)
    )
    return bytes(446) + entries.ljust(64, b"\0") + b"\x55\xaa" + _TAIL


def bootable_iso() -> bytes:
    """An ISO that begins with a table of partitions."""
    return gpt()[:512] + iso()[512:]


def luks(version: int = 1, payload_sectors: int = 8) -> bytes:
    """A LUKS volume: a header of so many sectors, and data."""
    texts = (b"aes", b"xts-plain64", b"sha256")
    header = struct.pack(">6sH32s32s32sII", b"LUKS\xba\xbe", version, *texts, payload_sectors, 32)
    return header.ljust(512 * payload_sectors, b"\0") + _TAIL


def descriptor(kind: str = "monolithicSparse", extent: str = 'RW 6144 SPARSE "disk.vmdk"') -> bytes:
    """What a VMDK says of itself in words."""
    return f'# Disk DescriptorFile\nversion=1\ncreateType="{kind}"\n\n{extent}\n\nddb.adapterType = "ide"\n'.encode()


def vmdk(text: bytes = descriptor(), size: int = DISK_BYTES, *, descriptor_sector: int = 1) -> bytes:
    """A VMDK in one file."""
    sectors = 20
    places = (descriptor_sector, sectors, 512, 0, 0)
    header = struct.pack("<4sIIQQQQIQQ", b"KDMV", 1, 3, size // 512, 128, *places)
    return header.ljust(512, b"\0") + text.ljust(sectors * 512, b"\0") + _TAIL


def stream_optimized_vmdk(*, footer_sector: int = 1) -> bytes:
    """A VMDK made to be sent, with a second header at its end, which counts."""

    def header(descriptor_sector: int, directory: int) -> bytes:
        places = (descriptor_sector, 20, 512, 0, directory)
        return struct.pack("<4sIIQQQQIQQ", b"KDMV", 3, 3, DISK_BYTES // 512, 128, *places).ljust(512, b"\0")

    text = descriptor("streamOptimized").ljust(20 * 512, b"\0")
    marker = struct.pack("<QII", 1, 0, 3).ljust(512, b"\0")
    return header(1, _GD_AT_END) + text + bytes(4 * MIB) + marker + header(footer_sector, 50) + bytes(512)


def vhdx(size: int = DISK_BYTES, *, metadata_at: int = 2 * MIB, regions: int = 1) -> bytes:
    """
    A VHDX.

    :param metadata_at: Where its metadata lie, the disk's size 64 KiB behind their beginning.
    """
    table = struct.pack("<IIII", 0x69676572, 0, regions, 0) + _REGIONS + struct.pack("<QII", metadata_at, MIB, 1)
    metadata = (
        struct.pack("<8sHH", b"metadata", 0, 1).ljust(32, b"\0") + _DISK_SIZE + struct.pack("<III", 64 * KIB, 8, 0)
    )
    head = b"vhdxfile".ljust(192 * KIB, b"\0") + table
    return head.ljust(metadata_at, b"\0") + metadata.ljust(64 * KIB, b"\0") + struct.pack("<Q", size) + _TAIL
