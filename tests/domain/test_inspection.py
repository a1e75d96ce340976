"""
Whether data are what the image says they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from zope.interface import implementer

from glance_tx.domain.errors import FormatRefused, FormatsNotSet, ImageGone
from glance_tx.domain.images import Image, ImageStatus
from glance_tx.domain.inspection import FormatRules
from glance_tx.inspection.detector import FormatDetector
from glance_tx.inspection.errors import InspectionFailed
from glance_tx.inspection.interfaces import Finding, IFormatDetector
from glance_tx.streaming.memory import BytesReader
from tests.domain.case import TransfersCase
from tests.domain.world import OWNER, HeldReader, Trouble
from tests.doubles import disks

MIB = disks.MIB

ACCEPTED: list[tuple[str, bytes, int | None]] = [
    ("raw", disks.raw(), len(disks.raw())),
    ("raw", b"", 0),
    ("raw", disks.gpt(), len(disks.gpt())),
    ("raw", disks.qcow2(), len(disks.qcow2())),
    ("raw", disks.iso(), len(disks.iso())),
    ("raw", disks.bootable_iso(), len(disks.bootable_iso())),
    ("raw", disks.luks(), len(disks.luks())),
    ("qcow2", disks.qcow2(), disks.DISK_BYTES),
    ("qcow2", disks.qcow2(0), None),
    ("vhd", disks.vhd(), disks.DISK_BYTES),
    ("vhdx", disks.vhdx(), disks.DISK_BYTES),
    ("vdi", disks.vdi(), disks.DISK_BYTES),
    ("iso", disks.iso(), disks.DISK_BYTES),
    ("iso", disks.bootable_iso(), disks.DISK_BYTES),
    ("vmdk", disks.vmdk(), disks.DISK_BYTES),
    ("vmdk", disks.stream_optimized_vmdk(), disks.DISK_BYTES),
    ("luks", disks.luks(), len(disks.luks()) - 8 * 512),
    ("luks", disks.luks(payload_sectors=20).ljust(20 * MIB, b"x"), 20 * MIB - 20 * 512),
    ("gpt", disks.gpt(), len(disks.gpt())),
    ("ami", disks.raw(), len(disks.raw())),
    ("ami", disks.gpt(), len(disks.gpt())),
    ("ploop", disks.raw(), len(disks.raw())),
    ("aki", disks.raw(), len(disks.raw())),
    ("aki", disks.gpt(boot=7), len(disks.gpt())),
    ("ari", disks.gpt(kinds=()), len(disks.gpt())),
]
"""Declared format, data, and the virtual size that they get."""

MISMATCHED: list[tuple[str, bytes]] = [
    ("qcow2", disks.raw()),
    ("qcow2", disks.vdi()),
    ("qcow2", disks.gpt()),
    ("qcow2", b"QFI\xfb"),
    ("qcow2", b""),
    ("vhd", disks.vhdx()),
    ("vhd", disks.fixed_vhd()),
    ("vhdx", disks.vhd()),
    ("vmdk", disks.qcow2()),
    ("vdi", disks.vmdk()),
    ("iso", disks.gpt()),
    ("iso", disks.raw()),
    ("luks", disks.raw()),
    ("gpt", disks.raw()),
    ("ami", disks.qcow2()),
    ("aki", disks.iso()),
    ("ploop", disks.vdi()),
    ("raw", disks.qcow2()[:512] + disks.iso()[512:]),
    ("iso", disks.qcow2()[:512] + disks.iso()[512:]),
]
"""Declared format, and data that are not of it."""

DANGEROUS = [
    disks.qcow2(backing=0x100),
    disks.qcow2(features=1 << 2),
    disks.qcow2(version=1),
    disks.qed(),
    disks.vmdk(disks.descriptor(extent='RW 1 FLAT "/etc/passwd" 0')),
    disks.descriptor("monolithicFlat", 'RW 1 FLAT "/etc/passwd" 0'),
    disks.descriptor(),
    disks.vmdk(disks.descriptor("twoGbMaxExtentSparse")),
    disks.vmdk(descriptor_sector=2),
    disks.stream_optimized_vmdk(footer_sector=3),
    disks.gpt(boot=7),
    disks.luks(version=2),
    disks.vhd()[:100],
]
"""Data that nobody should open, whatever they are said to be."""

IMPOSSIBLE = [disks.qcow2(2**63), disks.vhd(2**64 - 1), disks.vdi(2**63), disks.vmdk(size=2**63)]
"""Data whose header tells of a disk that cannot be."""


@implementer(IFormatDetector)
class BrokenDetector:
    """
    A detector with a defect.

    :param step: Where it shows.
    """

    formats = frozenset({"qcow2"})

    def __init__(self, step: str) -> None:
        self._step = step

    def feed(self, data: bytes) -> None:
        self._pass("feed")

    def finish(self) -> None:
        self._pass("finish")

    def _pass(self, step: str) -> None:
        if step == self._step:
            raise InspectionFailed("qcow2", "ZeroDivisionError")

    def settled(self) -> bool:
        return False

    def excludes(self, name: str) -> bool:
        return False

    def findings(self) -> Sequence[Finding]:
        return []


class InspectionTests(TransfersCase):
    """
    `Transfers.upload`, by what the data are.
    """

    async def queued(self, disk_format: str = "raw", container_format: str = "bare") -> Image:
        """Put an image into the database, with formats that operators may have added."""
        image = await self.world.create()
        changed = evolve(image, disk_format=disk_format, container_format=container_format)
        return await self.world.repository.save(changed, was=image)

    async def upload(self, image: Image, data: bytes, *, announced: bool = True, **tools: Any) -> Image:
        reader = BytesReader(data, announced=announced)
        return await self.world.transfers(**tools).upload(OWNER, image.id, reader)

    async def test_accepted(self) -> None:
        """
        Data of the format that the image says are accepted; the size of the disk is what they say, or how long they
        are.
        """
        for declared, data, virtual_size in ACCEPTED:
            image = await self.upload(await self.queued(declared), data)
            self.assertEqual((declared, image.size, image.virtual_size), (declared, len(data), virtual_size))

    async def test_mismatched(self) -> None:
        """
        Data of another format are refused, told why, and leave a queued image that takes others.
        """
        for declared, data in MISMATCHED:
            created = await self.queued(declared)
            with self.assertRaises(FormatRefused) as caught:
                await self.upload(created, data)
            self.assertIn(declared, str(caught.exception))
            await self.assert_queued(created)

    async def test_dangerous(self) -> None:
        """
        Data that could make their reader open other files, or are cut short, are refused whatever the image says, and
        even where formats need not match.
        """
        for rules in (FormatRules(), FormatRules(require_match=False)):
            for declared in ("raw", "qcow2", "vmdk", "vhd", "ploop"):
                for data in DANGEROUS:
                    created = await self.queued(declared)
                    with self.assertRaises(FormatRefused):
                        await self.upload(created, data, formats=rules)
                    await self.assert_queued(created)

    async def test_impossible_size(self) -> None:
        """
        A virtual size that no database could keep is refused.
        """
        for declared, data in zip(["qcow2", "vhd", "vdi", "vmdk"], IMPOSSIBLE, strict=True):
            created = await self.queued(declared)
            with self.assertRaises(FormatRefused):
                await self.upload(created, data)
            await self.assert_queued(created)

    async def test_again(self) -> None:
        """
        After a refusal the right data are accepted.
        """
        created = await self.queued("qcow2")
        for wrong in (disks.raw(), disks.qcow2(backing=1)):
            with self.assertRaises(FormatRefused):
                await self.upload(created, wrong)
        image = await self.upload(created, disks.qcow2())
        self.assertEqual((image.status, image.virtual_size), (ImageStatus.ACTIVE, disks.DISK_BYTES))

    async def test_early(self) -> None:
        """
        What is certain after the first MiB is refused then: no more is asked for.
        """
        for declared, data in [
            ("qcow2", disks.raw()),
            ("raw", disks.qcow2(backing=1)),
            ("qcow2", disks.vhdx()),
            ("ami", disks.iso()),
        ]:
            created = await self.queued(declared)
            reader = HeldReader()
            upload = self.start(self.world.transfers(), reader, created)
            reader.arrive(data[:MIB].ljust(MIB, b"x"))
            self.failureResultOf(upload, FormatRefused)
            await self.assert_queued(created)

    async def test_looked_at_no_longer(self) -> None:
        """
        When the format is certain the rest of the data goes past unseen.
        """
        seen: list[int] = []

        class Counting(FormatDetector):
            def feed(self, data: bytes) -> None:
                seen.append(len(data))
                super().feed(data)

        await self.upload(await self.queued(), bytes(20 * MIB), make_detector=Counting)
        self.assertEqual(sum(seen), MIB)

    async def test_match_not_required(self) -> None:
        """
        An operator may have mismatches noted only; then nothing is known of the disk but where the data are raw.
        """
        events: list[LogEvent] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        for declared, data in MISMATCHED:
            created = await self.queued(declared)
            del events[:]
            image = await self.upload(created, data, formats=FormatRules(require_match=False))
            self.assertEqual(image.virtual_size, len(data) if declared == "raw" else None)
            (told,) = [text for text in map(formatEvent, events) if created.id in text]
            self.assertIn(f"({declared}): they ", told)

    async def test_only_bare(self) -> None:
        """
        What is in a container is not looked at, and has no virtual size.
        """
        for container in ("ovf", "ova", "docker", "compressed", "aki"):
            created = await self.queued("qcow2", container)
            for data in (disks.raw(), disks.qcow2(backing=1)):
                image = await self.upload(created, data)
                self.assertEqual((image.status, image.virtual_size), (ImageStatus.ACTIVE, None))
                created = await self.queued("qcow2", container)

    async def test_partition_tables(self) -> None:
        """
        An operator may let the checks of partition tables pass, and no others.
        """
        lenient = FormatRules(gpt_nonfatal=frozenset({"mbr", "backing_file"}))
        for declared in ("raw", "ami"):
            image = await self.upload(await self.queued(declared), disks.gpt(boot=7), formats=lenient)
            self.assertEqual(image.virtual_size, len(disks.gpt()))
        with self.assertRaises(FormatRefused):
            await self.upload(await self.queued("qcow2"), disks.qcow2(backing=1), formats=lenient)

    async def test_vmdk_types(self) -> None:
        """
        An operator may forbid kinds of VMDK, also for those that are said to be raw.
        """
        rules = FormatRules(vmdk_types=frozenset({"streamoptimized"}))
        for declared in ("raw", "vmdk"):
            await self.upload(await self.queued(declared), disks.stream_optimized_vmdk(), formats=rules)
            with self.assertRaises(FormatRefused):
                await self.upload(await self.queued(declared), disks.vmdk(), formats=rules)

    async def test_defect(self) -> None:
        """
        Data that an inspector breaks over are refused, and the log has the reason.
        """
        for step in ("feed", "finish"):
            created = await self.queued("qcow2")
            with self.assertRaises(FormatRefused):
                await self.upload(created, disks.qcow2(), make_detector=lambda step=step: BrokenDetector(step))
            self.assertEqual(len(self.flushLoggedErrors(InspectionFailed)), 1)
            await self.assert_queued(created)

    async def test_formats_that_change(self) -> None:
        """
        What counts are the formats that the image has when its upload begins, not when it was let in.
        """
        for change, error in [
            ({"disk_format": "qcow2"}, FormatRefused),
            ({"disk_format": None}, FormatsNotSet),
            ({"container_format": None}, FormatsNotSet),
        ]:
            created = await self.queued()
            changed = evolve(created, **change)
            trouble = Trouble()

            async def save(changed: Image = changed, created: Image = created) -> None:
                await self.world.repository.save(changed, was=created)

            trouble.act("before begin_upload", save)
            with self.assertRaises(error):
                await self.upload(created, disks.raw(), trouble=trouble)
            await self.assert_queued(changed)

    async def test_deleted_before_the_data(self) -> None:
        """
        An image that is deleted just after its upload began is gone.
        """
        created = await self.queued()
        trouble = Trouble()
        trouble.act("after begin_upload", lambda: self.world.catalog.delete(OWNER, created.id))
        with self.assertRaises(ImageGone):
            await self.upload(created, disks.raw(), trouble=trouble)
        self.assertEqual((self.world.store.objects, self.world.store.parts), ({}, {}))
        self.assertEqual(list(await self.world.repository.leases()), [])

    async def test_cancelled_while_looked_at(self) -> None:
        """
        A client that leaves while its data are being looked at leaves nothing.
        """
        created = await self.queued()
        reader = HeldReader()
        upload: Deferred[Image] = self.start(self.world.transfers(), reader, created)
        reader.arrive(b"x" * (MIB // 2))
        upload.cancel()
        self.failureResultOf(upload)
        await self.assert_queued(created)
