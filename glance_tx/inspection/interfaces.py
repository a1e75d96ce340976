"""
Telling the disk format of data from the data themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import field, frozen
from zope.interface import Attribute, Interface

__all__ = ["Finding", "IFormatDetector"]


@frozen
class Finding:
    """
    One format that data are in, by what stands in them.

    :param name: The format, by qemu's name for it.
    :param failed: Checks of its safety that it did not pass, and why, in words that nobody else wrote.
    :param virtual_size: Bytes of the disk, as the header says; ``None`` where it does not.
    :param prefix_bytes: Bytes before the disk's own, where the data are otherwise as long as the disk.
    :param subformat: In lower case; ``None`` where the format has none.
    """

    name: str
    failed: Mapping[str, str] = field(factory=dict)
    virtual_size: int | None = None
    prefix_bytes: int = 0
    subformat: str | None = None


class IFormatDetector(Interface):
    """
    Looks at one body on its way past, for all formats it knows. Blocking: some milliseconds of work for the first MiB.

    Every method may raise ``InspectionFailed``; the detector is of no use then.
    """

    formats: frozenset[str] = Attribute("Names of the formats that it knows. Data of none of them are raw.")

    def feed(data: bytes) -> None:
        """
        Look at the next piece.
        """

    def finish() -> None:
        """
        Say that there is no more; the detector is settled then.
        """

    def settled() -> bool:
        """
        Tell whether more data can change nothing.
        """

    def excludes(name: str) -> bool:
        """
        Tell whether the data are certainly not of a format.
        """

    def findings() -> Sequence[Finding]:
        """
        List the formats found so far, by name. More than one: somebody is hiding something, or made a bootable ISO.
        """
