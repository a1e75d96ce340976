"""
The cache folder: whose it is, where an entry's files lie in it, and what a look at them tells.

::

    format                                    what is written below, and in which version
    lock                                      held by the daemon that uses the folder
    entries/<ab>/<image id>-<key>.data        image data, at its full length from the start
    entries/<ab>/<image id>-<key>.catalog     beside it: the entry is complete
    entries/<ab>/<image id>-<key>.catalog.part    beside it: a fill was begun

An entry turns complete by the one rename from ``.catalog.part`` to ``.catalog``. Whatever the process was doing when it
died, an entry found here is therefore complete, or a fill that can go on, or garbage.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from attrs import field, frozen

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
from glance_cache.errors import FolderUnusable
from glance_cache.files import FileOps
from glance_cache.names import EntryName, is_image_id
from glance_tx.streaming.units import KiB

__all__ = ["BucketContent", "CacheFolder", "FoundEntry", "Garbage", "footprint_bytes"]

_FORMAT: Final = b"glance-cache folder, version 1\n"
_BLOCK_BYTES: Final = 4 * KiB
_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH

_DATA: Final = ".data"
_COMPLETE: Final = ".catalog"
_PART: Final = ".catalog.part"
_SUFFIXES: Final = (_PART, _COMPLETE, _DATA)  # none is the end of a later one


def footprint_bytes(size_bytes: int) -> int:
    """
    Tell how much room data of this size and its catalog take, in whole blocks.
    """
    return sum(-(-size // _BLOCK_BYTES) * _BLOCK_BYTES for size in (size_bytes, catalog_bytes(size_bytes)))


@frozen
class FoundEntry:
    """
    An entry as it lies on the disk.

    :param complete: Else it is a fill that was begun.
    :param recorded_bytes: How much of the data has records; not whether it still matches them.
    :param modified_at: When the data was last written, in seconds since the epoch.
    :param used_at: When the entry was last opened, or its fill last went on.
    """

    name: EntryName
    size_bytes: int
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
class _Files:
    """
    Which of an entry's files are there.
    """

    data: os.stat_result | None = None
    complete: os.stat_result | None = None
    part: os.stat_result | None = None

    @classmethod
    def of(cls, found: dict[str, os.stat_result]) -> _Files:
        return cls(found.get(_DATA), found.get(_COMPLETE), found.get(_PART))


@frozen
class CacheFolder:
    """
    One folder, in which nobody else writes. Every method but the paths blocks, and is called in a lane.

    :param path: Absolute; created where only its last part is missing.
    :param files: How the folder is touched.
    """

    path: Path = field()
    files: FileOps

    @path.validator
    def _is_absolute(self, _: object, path: Path) -> None:
        if not path.is_absolute():
            raise ValueError(f"{path} is not an absolute path")

    @property
    def entries_path(self) -> Path:
        """
        The folder of all buckets.
        """
        return self.path / "entries"

    def bucket_path(self, name: EntryName) -> Path:
        """
        The folder in which an entry's files lie.
        """
        return self.entries_path / name.bucket

    def data_path(self, name: EntryName) -> Path:
        """
        Where the image data lies.
        """
        return self.bucket_path(name) / f"{name.stem}{_DATA}"

    def catalog_path(self, name: EntryName) -> Path:
        """
        Where the catalog of a complete entry lies.
        """
        return self.bucket_path(name) / f"{name.stem}{_COMPLETE}"

    def part_path(self, name: EntryName) -> Path:
        """
        Where the catalog of a fill lies.
        """
        return self.bucket_path(name) / f"{name.stem}{_PART}"

    def take(self) -> int:
        """
        Make the folder ours, for as long as the descriptor that is returned stays open.

        :raises FolderUnusable: It is not fit, or in use.
        """
        try:
            if self.files.make_folder(self.path):
                self.files.sync_folder(self.path.parent)
            self._require_private(self.path)
            lock = self.files.create(self.path / "lock", or_open=True)
        except OSError as error:
            raise self.unusable(error) from error
        try:
            self._prepare(lock)
        except BaseException as error:
            self.files.close(lock)
            if isinstance(error, OSError):
                raise self.unusable(error) from error
            raise
        return lock

    def unusable(self, error: OSError) -> FolderUnusable:
        """
        Say what the system says in our words.
        """
        return FolderUnusable(str(self.path), error.strerror or str(error))

    def _prepare(self, lock: int) -> None:
        try:
            self.files.lock(lock)
        except BlockingIOError as error:
            raise FolderUnusable(str(self.path), "another daemon is using it") from error
        self._check_format()
        if self.files.make_folder(self.entries_path):
            self.files.sync_folder(self.path)
        self._require_private(self.entries_path)

    def _require_private(self, path: Path) -> None:
        # The folder itself may be behind a symbolic link: that is the operator's choice.
        status = path.stat()
        if not stat.S_ISDIR(status.st_mode):
            raise FolderUnusable(str(path), "it is not a folder")
        if status.st_uid != os.geteuid():
            raise FolderUnusable(str(path), f"it belongs to user {status.st_uid}, not to {os.geteuid()}")
        if status.st_mode & _WRITABLE_BY_OTHERS:
            raise FolderUnusable(str(path), "its group, or everyone, may write to it")

    def _check_format(self) -> None:
        path = self.path / "format"
        if self.files.stat_path(path) is None:
            # It is written before the first entry, so entries without it are not by our hand.
            if self.files.stat_path(self.entries_path) is not None:
                raise FolderUnusable(str(self.path), "it holds entries of an unknown format")
            self._write_format(path)
        descriptor = self.files.open(path)
        try:
            text = self.files.read(descriptor, _BLOCK_BYTES, 0)
        finally:
            self.files.close(descriptor)
        if text != _FORMAT:
            raise FolderUnusable(str(self.path), f"it is of another format: {text[:60]!r}")

    def _write_format(self, path: Path) -> None:
        part = path.with_suffix(".part")
        self.files.remove(part)
        descriptor = self.files.create(part)
        try:
            self.files.write(descriptor, _FORMAT, 0)
            self.files.sync(descriptor)
        finally:
            self.files.close(descriptor)
        self.files.rename(part, path)
        self.files.sync_folder(self.path)

    def free_bytes(self) -> int:
        """
        Tell how much room the disk has left.
        """
        return self.files.free_bytes(self.path)

    def make_bucket(self, name: EntryName) -> None:
        """
        See to it that the bucket of an entry is there.
        """
        if self.files.make_folder(self.bucket_path(name)):
            self.files.sync_folder(self.entries_path)

    def remove(self, name: EntryName) -> None:
        """
        Take away an entry, whatever there is of it. Who has its data open can read on.

        A power loss may bring the files back. That does no harm: they are looked at then like all others.
        """
        # The catalog first: data without one is garbage wherever this stops.
        for path in (self.catalog_path(name), self.part_path(name), self.data_path(name)):
            self.files.remove(path)

    def find(self, name: EntryName) -> FoundEntry | None:
        """
        Look for one entry; garbage counts as none.
        """
        paths = {_DATA: self.data_path(name), _COMPLETE: self.catalog_path(name), _PART: self.part_path(name)}
        found = {suffix: status for suffix, path in paths.items() if (status := self.files.stat_path(path))}
        judged = self._judge(name, _Files.of(found))
        return judged if isinstance(judged, FoundEntry) else None

    def find_image(self, image_id: str) -> Sequence[FoundEntry]:
        """
        Look for all entries of one image.
        """
        bucket = self.entries_path / image_id[:2]
        if not is_image_id(image_id) or self.files.stat_path(bucket) is None:
            return []
        names = {name for entry in self.files.list(bucket) if (name := _split(entry.name)[0])}
        return [found for name in names if name.image_id == image_id and (found := self.find(name))]

    def buckets(self) -> Sequence[str]:
        """
        Tell in which buckets entries may lie.
        """
        return [entry.name for entry in self.files.list(self.entries_path) if entry.is_dir(follow_symlinks=False)]

    def examine(self, bucket: str) -> BucketContent:
        """
        Look at everything in a bucket, and take garbage away.

        Complete entries are judged by what the folder says of their files: their catalogs are not read. No entry may
        be in the making meanwhile.
        """
        names, foreign = self._sort(self.files.list(self.entries_path / bucket))
        entries, garbage = [], []
        for name, found in names.items():
            judged = self._judge(name, _Files.of(found))
            if isinstance(judged, FoundEntry):
                entries.append(judged)
                if judged.complete and _PART in found:
                    self.files.remove(self.part_path(name))
            else:
                self.remove(name)
                garbage.append(judged)
        return BucketContent(entries, garbage, foreign)

    def _sort(
        self, listing: Iterable[os.DirEntry[str]]
    ) -> tuple[dict[EntryName, dict[str, os.stat_result]], Sequence[str]]:
        names: dict[EntryName, dict[str, os.stat_result]] = {}
        foreign = []
        for entry in listing:
            name, suffix = _split(entry.name)
            if name is None or not entry.is_file(follow_symlinks=False):
                foreign.append(entry.path)
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:  # removed since the folder was listed
                continue
            names.setdefault(name, {})[suffix] = status
        return names, foreign

    def _judge(self, name: EntryName, there: _Files) -> FoundEntry | Garbage:
        if there.data is None:
            return Garbage(name, "a catalog without data")
        size = there.data.st_size
        if there.complete is not None:
            # The header would tell more, and is read when the entry is opened.
            if size == 0 or there.complete.st_size != catalog_bytes(size):
                return Garbage(name, f"the catalog is not that of {size} bytes")
            modified, used = there.data.st_mtime, there.complete.st_mtime
            return FoundEntry(name, size, complete=True, recorded_bytes=size, modified_at=modified, used_at=used)
        if there.part is None:
            return Garbage(name, "data without a catalog")
        try:
            recorded = self._recorded_bytes(name, size)
        except CatalogDamaged as error:
            return Garbage(name, error.reason)
        modified, used = there.data.st_mtime, max(there.data.st_mtime, there.part.st_mtime)
        return FoundEntry(name, size, complete=False, recorded_bytes=recorded, modified_at=modified, used_at=used)

    def _recorded_bytes(self, name: EntryName, size_bytes: int) -> int:
        descriptor = self.files.open(self.part_path(name))
        try:
            header = Header.decode(self.files.read(descriptor, HEADER_BYTES, 0))
            if header.facts.size != size_bytes or EntryName.of(header.facts) != name:
                raise CatalogDamaged("the catalog is that of other data")
            records = self.files.read(descriptor, catalog_bytes(size_bytes) - HEADER_BYTES, HEADER_BYTES)
        finally:
            self.files.close(descriptor)
        recorded = 0
        for index in range(chunk_count(size_bytes)):
            if decode_record(index, records[index * RECORD_BYTES : (index + 1) * RECORD_BYTES]) is None:
                break
            recorded += chunk_length(size_bytes, index)
        return recorded


def _split(file_name: str) -> tuple[EntryName | None, str]:
    for suffix in _SUFFIXES:
        if file_name.endswith(suffix):
            return EntryName.parse(file_name.removesuffix(suffix)), suffix
    return None, ""
