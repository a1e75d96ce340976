"""
Telling the format of data, however they are cut.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from glance_tx.inspection.detector import FormatDetector
from glance_tx.inspection.errors import InspectionFailed
from glance_tx.inspection.interfaces import Finding, IFormatDetector
from tests.doubles import disks

MIB = disks.MIB


def pieces(data: bytes, length: int) -> Iterable[bytes]:
    """Cut data."""
    return (data[start : start + length] for start in range(0, len(data), length))


def found(data: bytes, length: int = MIB) -> list[Finding]:
    """Show data to a detector, in pieces of some length."""
    detector = FormatDetector()
    for piece in pieces(data, length):
        detector.feed(piece)
    detector.finish()
    return list(detector.findings())


UNREMARKABLE = [b"QFI\xfb", b"version=4\n", b" version=1\n", b"x\nversion=1\n", b"# version=1\n", b"\n" * MIB]
"""Data that almost are of a format."""


class FormatDetectorTests(SynchronousTestCase):
    """
    `FormatDetector` finds every format it knows.
    """

    def test_interface(self) -> None:
        """
        It is what the domain expects.
        """
        verifyObject(IFormatDetector, FormatDetector())

    def test_formats(self) -> None:
        """
        Every format is found, by its header, with the size of its disk, and passes for safe.
        """
        for data, name, size in [
            (disks.qcow2(), "qcow2", disks.DISK_BYTES),
            (disks.qcow2(version=2), "qcow2", disks.DISK_BYTES),
            (disks.vhd(), "vhd", disks.DISK_BYTES),
            (disks.vdi(), "vdi", disks.DISK_BYTES),
            (disks.iso(), "iso", disks.DISK_BYTES),
            (disks.vhdx(), "vhdx", disks.DISK_BYTES),
            (disks.vhdx(metadata_at=MIB), "vhdx", disks.DISK_BYTES),
            (disks.vmdk(), "vmdk", disks.DISK_BYTES),
            (disks.stream_optimized_vmdk(), "vmdk", disks.DISK_BYTES),
            (disks.gpt(), "gpt", None),
            (disks.luks(), "luks", None),
        ]:
            (finding,) = found(data)
            self.assertEqual((finding.name, finding.failed, finding.virtual_size), (name, {}, size))

    def test_cut(self) -> None:
        """
        It does not matter how the data come.
        """
        for data in (
            disks.qcow2(),
            disks.iso(),
            disks.vmdk(),
            disks.stream_optimized_vmdk(),
            disks.vhdx(),
            disks.vhdx(metadata_at=MIB),
            disks.luks(),
            disks.descriptor("monolithicFlat"),
            disks.descriptor().replace(b"version", b"# \n" * 40_000 + b"version"),
        ):
            whole = found(data, len(data))
            self.assertEqual(len(whole), 1)
            for length in (777, 64 * 1024, MIB - 1, MIB + 4096):
                self.assertEqual(found(data, length), whole)

    def test_raw(self) -> None:
        """
        Data of no format are found to be nothing, be they as short as can be.
        """
        for data in (b"", b"x", disks.raw(), b"some text " * 1000, bytes(2 * MIB), disks.fixed_vhd(), *UNREMARKABLE):
            self.assertEqual(found(data), [])

    def test_settled(self) -> None:
        """
        Of most data nothing counts but the first MiB.
        """
        for data in (bytes(MIB), disks.qcow2().ljust(MIB, b"x"), disks.iso().ljust(MIB, b"x"), b"text" * (MIB // 4)):
            detector = FormatDetector()
            detector.feed(data[:-1])
            self.assertFalse(detector.settled())
            detector.feed(data[-1:])
            self.assertTrue(detector.settled())

    def test_excluded(self) -> None:
        """
        What the data cannot be any more is told before all is known of them.
        """
        detector = FormatDetector()
        self.assertFalse(detector.excludes("qcow2"))
        detector.feed(disks.vhdx()[: MIB + 1])
        self.assertFalse(detector.settled())
        self.assertTrue(detector.excludes("qcow2"))
        self.assertFalse(detector.excludes("vhdx"))
        self.assertFalse(detector.excludes("raw"))

    def test_several(self) -> None:
        """
        Data that could be several things are found to be all of them.
        """
        for data, names in [
            (disks.bootable_iso(), ["gpt", "iso"]),
            (disks.qcow2()[:512] + disks.iso()[512:], ["iso", "qcow2"]),
        ]:
            self.assertEqual([finding.name for finding in found(data)], names)

    def test_dangerous(self) -> None:
        """
        What could make its reader open other files, or is not understood, fails a check that says so.
        """
        for data, name, check in [
            (disks.qcow2(backing=0x100), "qcow2", "backing_file"),
            (disks.qcow2(features=1 << 2), "qcow2", "data_file"),
            (disks.qcow2(features=1 << 5), "qcow2", "unknown_features"),
            (disks.qcow2(version=1), "qcow2", "unknown_features"),
            (disks.qed(), "qed", "banned"),
            (disks.luks(version=2), "luks", "version"),
            (disks.gpt(boot=7), "gpt", "mbr"),
            (disks.gpt(kinds=()), "gpt", "mbr"),
            (disks.gpt(kinds=(0xEE, 0x83)), "gpt", "mbr"),
            (disks.vmdk(disks.descriptor("monolithicFlat")), "vmdk", "descriptor"),
            (disks.vmdk(disks.descriptor(extent='RW 1 FLAT "/etc/passwd" 0')), "vmdk", "descriptor"),
            (disks.vmdk(disks.descriptor() + b"something else\n"), "vmdk", "descriptor"),
            (disks.vmdk(disks.descriptor(extent="")), "vmdk", "descriptor"),
            (disks.vmdk("ä".encode()), "vmdk", "descriptor"),
            (disks.stream_optimized_vmdk(footer_sector=3), "vmdk", "footer"),
            (disks.stream_optimized_vmdk() + b"x", "vmdk", "footer"),
        ]:
            (finding,) = found(data)
            self.assertEqual((finding.name, list(finding.failed)), (name, [check]))

    def test_bare_descriptor(self) -> None:
        """
        A VMDK that is nothing but a text has its data in other files, wherever these are.
        """
        for text in (
            disks.descriptor(),
            disks.descriptor("monolithicFlat", 'RW 1 FLAT "/etc/passwd" 0'),
            disks.descriptor("streamOptimized").ljust(5 * MIB, b"\n"),
            disks.descriptor("monolithicFlat", 'RW 1 FLAT "/etc/passwd" 0').ljust(512, b"\0"),
            b"version=1\n\xff\0",
            b"  \r\n\n# \xff\n   \n" * 2000 + b"version=3\r\n".ljust(2 * MIB, b"\0"),
            b'# words\ncreateType="custom"\n' + b"words\n" * 10,
        ):
            (finding,) = found(text)
            self.assertEqual((finding.name, list(finding.failed)), ("vmdk", ["descriptor"]))

    def test_malformed(self) -> None:
        """
        What begins as a format and goes on as it must not is not taken for raw.
        """
        for data, name in [
            (disks.vmdk(descriptor_sector=2), "vmdk"),
            (disks.vhdx(regions=5000), "vhdx"),
            (b"vhdxfile".ljust(MIB, b"\0"), "vhdx"),
        ]:
            (finding,) = found(data)
            self.assertEqual((finding.name, list(finding.failed)), (name, ["header"]))

    def test_cut_short(self) -> None:
        """
        What ends before its header does is not safe.
        """
        for data, name in [(disks.vhd()[:100], "vhd"), (disks.vhdx()[: 2 * MIB], "vhdx"), (disks.luks()[:300], "luks")]:
            (finding,) = found(data)
            self.assertEqual((finding.name, list(finding.failed)), (name, ["whole"]))

    def test_defect(self) -> None:
        """
        An inspector that breaks leaves nothing known.
        """
        size = struct.pack("<III", 64 * disks.KIB, 8, 0)
        for data in (
            b"# a text\n" * 100 + b"\xff" * MIB,  # its inspector knows of no kind then, and asks for it
            disks.vhdx().replace(size, struct.pack("<III", 64 * disks.KIB, 7, 0)),
        ):
            with self.assertRaises(InspectionFailed) as caught:
                found(data)
            self.assertIn(caught.exception.format, {"vmdk", "vhdx"})
            self.assertIn("failed", str(caught.exception))

    def test_silence(self) -> None:
        """
        Nothing of the data gets into a log.
        """
        logged: list[Any] = []

        class Keep(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                logged.append(record)

        handler = Keep()
        logging.getLogger().addHandler(handler)
        self.addCleanup(logging.getLogger().removeHandler, handler)
        found(disks.vmdk(disks.descriptor() + b"something else\n"))
        found(disks.qcow2(features=1 << 5))
        self.assertEqual(logged, [])
