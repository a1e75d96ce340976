"""
Format detection by the inspectors of oslo.utils, which OpenStack's services share.

Note [How inspectors are fed]
-----------------------------
An inspector keeps the few regions of the data that it is made for, and what it finds depends on how the data are cut:
of a descriptor in plain text it knows the first piece and no more, and a region that begins before the piece in which
it is heard of is lost. So the first piece is a MiB, whatever came from the network: as long as a descriptor may be, and
what a VHDX's header refers to lies behind that, each thing behind the one that leads to it. How the rest is cut does
not matter. An inspector that knows enough is fed no more: of most data nothing is looked at but the first MiB.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Final

from oslo_utils.imageutils import format_inspector
from zope.interface import implementer

from glance_tx.inspection.errors import InspectionFailed
from glance_tx.inspection.interfaces import Finding, IFormatDetector

__all__ = ["FormatDetector"]

_HEAD_BYTES: Final = 1 << 20

_TELLS_SIZE: Final = frozenset({"iso", "qcow2", "vdi", "vhd", "vhdx", "vmdk"})
"""Formats with a disk size in their header; the other inspectors count what they are fed."""

_ELSEWHERE: Final = MappingProxyType({"descriptor": "The data would be in other files"})
"""What is wrong with a VMDK that is nothing but a descriptor."""

_PROBED_BYTES: Final = 1 << 16
_DESCRIPTOR: Final = re.compile(rb"(?:#[^\n]*+\n|\x20*+\r?\n)*+version=[123]\r?\n")
"""How a VMDK's descriptor begins, for qemu. The inspector takes one that is filled up with zeros for raw data."""

# It quotes the data, at any length, at any level. What counts of it is in the findings.
logging.getLogger(format_inspector.__name__).setLevel(logging.CRITICAL + 1)


@implementer(IFormatDetector)
class FormatDetector:
    """
    All inspectors at once. See Note [How inspectors are fed].

    Data that begin as a format does and go on as it must not are that format, malformed: they are not raw.
    """

    formats = frozenset(format_inspector.ALL_FORMATS) - {"raw"}

    def __init__(self) -> None:
        self._open: dict[str, Any] = {name: format_inspector.ALL_FORMATS[name]() for name in sorted(self.formats)}
        self._found: dict[str, Finding] = {}
        self._head: bytearray | None = bytearray()

    def settled(self) -> bool:
        """
        Whether more data can change nothing.
        """
        return not self._open

    def feed(self, data: bytes) -> None:
        """
        Look at the next piece.
        """
        if self._head is not None:
            self._head += data
            if len(self._head) < _HEAD_BYTES:
                return
            data = self._begin()
        if data:
            self._show(data)

    def _begin(self) -> bytes:
        """
        Show the first piece, and give what there is behind it.
        """
        head, self._head = bytes(self._head or b""), None
        if _DESCRIPTOR.match(head, 0, _PROBED_BYTES):
            del self._open["vmdk"]
            self._found["vmdk"] = Finding("vmdk", _ELSEWHERE)
        self._show(head[:_HEAD_BYTES])
        return head[_HEAD_BYTES:]

    def finish(self) -> None:
        """
        Say that there is no more.
        """
        if self._head is not None:
            self._begin()
        for name, inspector in self._open.items():
            with _defects(name):
                inspector.finish()
                self._conclude(name, inspector)
        self._open = {}

    def excludes(self, name: str) -> bool:
        """
        Tell whether the data are certainly not of a format.
        """
        return name in self.formats and name not in self._open and name not in self._found

    def findings(self) -> Sequence[Finding]:
        """
        List the formats found so far.
        """
        return [self._found[name] for name in sorted(self._found)]

    def _show(self, piece: bytes) -> None:
        for name, inspector in list(self._open.items()):
            with _defects(name):
                try:
                    inspector.eat_chunk(piece)
                except format_inspector.ImageFormatError as problem:
                    del self._open[name]
                    self._break_off(name, inspector, problem)
                    continue
                if inspector.complete:
                    del self._open[name]
                    self._conclude(name, inspector)

    def _break_off(self, name: str, inspector: Any, problem: Exception) -> None:
        if inspector.format_match:
            self._found[name] = Finding(name, {"header": str(problem)})

    def _conclude(self, name: str, inspector: Any) -> None:
        if inspector.format_match:
            self._found[name] = _examine(name, inspector)


def _examine(name: str, inspector: Any) -> Finding:
    failed = _failed_checks(inspector)
    if name == "vmdk" and not inspector.has_region("header"):
        failed |= _ELSEWHERE  # its own check passes names without a slash
    if failed:
        return Finding(name, failed, subformat=getattr(inspector, "vmdktype", None))
    return Finding(
        name,
        virtual_size=inspector.virtual_size or None if name in _TELLS_SIZE else None,
        prefix_bytes=inspector.actual_size - inspector.virtual_size if name == "luks" else 0,
        subformat=getattr(inspector, "vmdktype", None),
    )


def _failed_checks(inspector: Any) -> dict[str, str]:
    try:
        inspector.safety_check()
    except format_inspector.SafetyCheckFailed as problem:
        return {check: str(reason) for check, reason in problem.failures.items()}
    except format_inspector.ImageFormatError as problem:
        return {"whole": str(problem)}
    return {}


@contextmanager
def _defects(name: str) -> Iterator[None]:
    """
    Let whatever goes wrong in an inspector be a failed inspection.
    """
    try:
        yield
    except Exception as problem:
        raise InspectionFailed(name, type(problem).__name__) from problem
