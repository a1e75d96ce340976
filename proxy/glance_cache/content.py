"""
What a look at the files of an entry tells.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from attrs import frozen

from glance_cache.catalog import (
    HEADER_BYTES,
    RECORD_BYTES,
    CatalogDamaged,
    Header,
    catalog_bytes,
    chunk_count,
    chunk_length,
    decode_record,
)
from glance_cache.files import FileOps
from glance_cache.names import EntryName
from glance_tx.streaming.units import KiB

__all__ = [
    "COMPLETE",
    "DATA",
    "PART",
    "BucketContent",
    "FoundEntry",
    "Garbage",
    "Present",
    "footprint_bytes",
    "judge",
    "split_name",
]

_BLOCK_BYTES: Final = 4 * KiB

DATA: Final = ".data"
COMPLETE: Final = ".catalog"
PART: Final = ".catalog.part"
_SUFFIXES: Final = (PART, COMPLETE, DATA)  # none is the end of a later one


def footprint_bytes(size_bytes: int) -> int:
    """
    Tell how much room data of this size and its catalog take, in whole blocks.
    """
    return sum(-(-size // _BLOCK_BYTES) * _BLOCK_BYTES for size in (size_bytes, catalog_bytes(size_bytes)))


@frozen
class FoundEntry:
    """
    An entry as it lies on the disk.

    :param inode: Of the data: tells it from what may have the same name later.
    :param complete: Else it is a fill that was begun.
    :param recorded_bytes: How much of the data has records; not whether it still matches them.
    :param modified_at: When the data was last written, in seconds since the epoch.
    :param used_at: When the entry was last opened, or its fill last went on.
    """

    name: EntryName
    size_bytes: int
    inode: int
    complete: bool
    recorded_bytes: int
    modified_at: float
    used_at: float


@frozen
class Garbage:
    """
    Files of ours that are neither an entry nor a fill that can go on.
    """

    name: EntryName
    reason: str


@frozen
class BucketContent:
    """
    What one bucket of the folder holds.

    :param garbage: Already removed.
    :param foreign: Names of what is not ours; left alone.
    """

    entries: Sequence[FoundEntry]
    garbage: Sequence[Garbage] = ()
    foreign: Sequence[str] = ()


@frozen
class Present:
    """
    Which of an entry's files are there.
    """

    data: os.stat_result | None = None
    complete: os.stat_result | None = None
    part: os.stat_result | None = None

    @classmethod
    def of(cls, found: Mapping[str, os.stat_result]) -> Present:
        """
        Sort what was found, by suffix.
        """
        return cls(found.get(DATA), found.get(COMPLETE), found.get(PART))


def judge(files: FileOps, name: EntryName, there: Present, part: Path) -> FoundEntry | Garbage:
    """
    Tell what the files of one name are.

    :param part: Where the catalog of a fill lies; it is read if it is needed.
    :raises FileNotFoundError: It went away meanwhile.
    """
    if there.data is None:
        return Garbage(name, "a catalog without data")
    size, inode, modified = there.data.st_size, there.data.st_ino, there.data.st_mtime
    if there.complete is not None:
        # The header would tell more, and is read when the entry is opened.
        if size == 0 or there.complete.st_size != catalog_bytes(size):
            return Garbage(name, f"the catalog is not that of {size} bytes")
        return FoundEntry(
            name, size, inode, complete=True, recorded_bytes=size, modified_at=modified, used_at=there.complete.st_mtime
        )
    if there.part is None:
        return Garbage(name, "data without a catalog")
    try:
        recorded = _recorded_bytes(files, name, size, part)
    except CatalogDamaged as error:
        return Garbage(name, error.reason)
    used = max(modified, there.part.st_mtime)
    return FoundEntry(name, size, inode, complete=False, recorded_bytes=recorded, modified_at=modified, used_at=used)


def _recorded_bytes(files: FileOps, name: EntryName, size_bytes: int, part: Path) -> int:
    descriptor = files.open(part)
    try:
        header = Header.decode(files.read(descriptor, HEADER_BYTES, 0))
        if header.facts.size != size_bytes or EntryName.of(header.facts) != name:
            raise CatalogDamaged("the catalog is that of other data")
        records = files.read(descriptor, catalog_bytes(size_bytes) - HEADER_BYTES, HEADER_BYTES)
    finally:
        files.close(descriptor)
    recorded = 0
    for index in range(chunk_count(size_bytes)):
        if decode_record(index, records[index * RECORD_BYTES : (index + 1) * RECORD_BYTES]) is None:
            break
        recorded += chunk_length(size_bytes, index)
    return recorded


def split_name(file_name: str) -> tuple[EntryName | None, str]:
    """
    Tell which entry a file belongs to, ``None`` for none of ours, and what its suffix is.
    """
    for suffix in _SUFFIXES:
        if file_name.endswith(suffix):
            return EntryName.parse(file_name.removesuffix(suffix)), suffix
    return None, ""
