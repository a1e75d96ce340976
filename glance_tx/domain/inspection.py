"""
Whether image data are what the image says they are, and harmless (contract section 3.13).

Data are looked at as they come: what is certain from their first MiB is refused there, and what is certain to be right
is looked at no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import frozen
from twisted.logger import Logger

from glance_tx.domain.errors import FormatRefused
from glance_tx.domain.images import Image
from glance_tx.inspection.errors import InspectionFailed
from glance_tx.inspection.interfaces import Finding, IFormatDetector
from glance_tx.streaming.interfaces import ILane

__all__ = ["INSPECTED_CONTAINER", "FormatRules", "Inspection"]

INSPECTED_CONTAINER: Final = "bare"
"""The container format in which the data are the disk itself. Of others one would have to look inside."""

_MOST_VIRTUAL_BYTES: Final = 2**63 - 1
_AS_LONG_AS_DISK: Final = frozenset({"raw", "gpt", "luks"})
"""Formats whose data are the disk's, but for a prefix."""

_BOOT_SECTOR_ALLOWED: Final = frozenset({"aki", "ari"})
"""Formats of kernels and RAM disks, which may begin like a partition table and have none."""

_log = Logger()


@frozen
class FormatRules:
    """
    What an operator decides about formats.

    :param require_match: Refuse data that are not of the format that the image says; else note it in the log.
    :param gpt_nonfatal: Safety checks of partition tables that need not be passed.
    :param vmdk_types: Kinds of VMDK that are accepted, in lower case.
    """

    require_match: bool = True
    gpt_nonfatal: frozenset[str] = frozenset()
    vmdk_types: frozenset[str] = frozenset({"streamoptimized", "monolithicsparse"})


class Inspection:
    """
    One look at the data of one image, which has formats and whose container is `INSPECTED_CONTAINER`.

    :param lane: Where the detector works.
    """

    def __init__(self, image: Image, rules: FormatRules, detector: IFormatDetector, lane: ILane) -> None:
        self._image_id = image.id
        self._declared = image.disk_format or "raw"
        self._rules = rules
        self._detector = detector
        self._lane = lane
        self._found: Finding | None = None

    async def see(self, piece: bytes) -> None:
        """
        Look at the next piece.

        :raises FormatRefused: No data that begin like these can be accepted.
        """
        if self._detector.settled():
            return
        try:
            await self._lane.run(self._detector.feed, piece)
        except InspectionFailed as problem:
            raise self._failure(problem) from problem
        if self._detector.settled():
            self._found = self._judge()
        elif self._rules.require_match and self._detector.excludes(self._declared):
            raise self._refusal("they are not what disk_format says")

    async def conclude(self, size: int) -> int | None:
        """
        Make up one's mind, after the last piece.

        :param size: How many bytes there were.
        :return: Bytes of the disk in the data; ``None`` where they do not say.
        :raises FormatRefused: They cannot be accepted.
        """
        if not self._detector.settled():
            try:
                await self._lane.run(self._detector.finish)
            except InspectionFailed as problem:
                raise self._failure(problem) from problem
        found = self._found or self._judge()
        if self._declared == "raw":
            return size
        if not self._is_declared(found):
            return None
        if found.name in _AS_LONG_AS_DISK:
            return max(0, size - found.prefix_bytes)
        return found.virtual_size

    def _judge(self) -> Finding:
        """
        Say what the data are, unless that is not acceptable.
        """
        findings = self._relevant(self._detector.findings())
        for finding in findings:
            self._require_safe(finding)
        if len(findings) > 1:
            self._mismatch(f"they look like several formats at once: {', '.join(found.name for found in findings)}")
            return Finding("raw")
        found = findings[0] if findings else Finding("raw")
        if self._declared != "raw" and not self._is_declared(found):
            self._mismatch(f"they are not {self._declared}, as disk_format says, but {found.name}")
        return found

    @staticmethod
    def _relevant(findings: Sequence[Finding]) -> Sequence[Finding]:
        if {found.name for found in findings} == {"gpt", "iso"}:
            return [found for found in findings if found.name == "iso"]  # one that a disk can be booted from, too
        return findings

    def _is_declared(self, found: Finding) -> bool:
        if self._declared in self._detector.formats:
            return found.name == self._declared
        return found.name in {"raw", "gpt"}

    def _require_safe(self, found: Finding) -> None:
        failed = dict(found.failed)
        if found.name == "gpt":
            if self._declared in _BOOT_SECTOR_ALLOWED:
                return
            for check in failed.keys() & self._rules.gpt_nonfatal:
                self._note(f"{check}: {failed.pop(check)}")
        if failed:
            reasons = "; ".join(f"{check}: {reason}" for check, reason in sorted(failed.items()))
            raise self._refusal(f"they are {found.name} and not safe ({reasons})")
        if found.name == "vmdk" and found.subformat not in self._rules.vmdk_types:
            raise self._refusal("they are vmdk of a type that is not allowed")
        if (found.virtual_size or 0) > _MOST_VIRTUAL_BYTES:
            raise self._refusal(f"they are {found.name} of an impossible virtual size")

    def _mismatch(self, reason: str) -> None:
        if self._rules.require_match:
            raise self._refusal(reason)
        self._note(reason)

    def _refusal(self, reason: str) -> FormatRefused:
        self._note(f"{reason}; refused")
        return FormatRefused(self._declared, reason)

    def _failure(self, problem: InspectionFailed) -> FormatRefused:
        _log.failure("the data of image {image_id} cannot be inspected", image_id=self._image_id)
        return FormatRefused(self._declared, f"they cannot be inspected: {problem}")

    def _note(self, reason: str) -> None:
        _log.warn(
            "the data of image {image_id} ({disk_format}): {reason}",
            image_id=self._image_id,
            disk_format=self._declared,
            reason=reason,
        )
