"""
The files of a complete entry while they are scrubbed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from glance_cache.catalog import (
    HEADER_BYTES,
    MARK_BYTES,
    MARK_OFFSET,
    CatalogDamaged,
    Header,
    catalog_bytes,
    decode_mark,
    encode_mark,
)
from glance_cache.folder import CacheFolder
from glance_cache.names import EntryName
from glance_cache.reader import chunk_matches

__all__ = ["ScrubFile", "take_scrub"]

_VERIFIED: Final = b"VERIFIED"
"""Stands where a fill's mark has the run of the daemon; a moment stands where that has the offset."""


class ScrubFile:
    """
    Looks at one complete entry without using it: it is opened for one job at a time, and its time of use stays what it
    is. Every method blocks, and is called in the entry's lane.
    """

    def __init__(self, folder: CacheFolder, name: EntryName) -> None:
        self._folder = folder
        self._files = folder.files
        self._name = name

    def verified_at(self) -> float | None:
        """
        Tell when all of the entry was last found right by a scrub, in seconds since the epoch.

        :return: ``None`` where that was not written down, or not to the end.
        :raises FileNotFoundError: The entry is not there.
        :raises OSError: As the system says.
        """
        with self._opened(self._files.open(self._folder.catalog_path(self._name))) as catalog:
            return decode_mark(_VERIFIED, self._files.read(catalog, MARK_BYTES, MARK_OFFSET))

    def matches(self, chunk: int, length: int, *, keep_cached: bool) -> bool:
        """
        Hold one chunk against its record, as the disk has it and not the memory. What cannot be read does not match.

        :param keep_cached: Whether others read the entry now, and will want it in memory.
        :raises FileNotFoundError: The entry is not there.
        :raises CatalogDamaged: It is not a whole one.
        :raises OSError: As the system says.
        """
        with (
            self._opened(self._files.open(self._folder.catalog_path(self._name))) as catalog,
            self._opened(self._files.open(self._folder.data_path(self._name))) as data,
        ):
            size_bytes = self._files.stat(data).st_size
            header = Header.decode(self._files.read(catalog, HEADER_BYTES, 0))
            if header.facts.size != size_bytes or self._files.stat(catalog).st_size != catalog_bytes(size_bytes):
                raise CatalogDamaged("the data has another length than the catalog says")
            self._files.drop_cached(data)
            right = chunk_matches(self._files, catalog, data, chunk, length)
            if not keep_cached:
                self._files.drop_cached(data)
            return right

    def note_verified(self, at: float) -> None:
        """
        Write down that all of the entry was found right.

        :raises OSError: As the system says; nothing is lost but the moment.
        """
        with self._opened(self._files.open_for_writing(self._folder.catalog_path(self._name))) as catalog:
            used_ns = self._files.stat(catalog).st_mtime_ns
            self._files.write(catalog, encode_mark(_VERIFIED, int(at)), MARK_OFFSET)
            self._files.set_modified(catalog, used_ns)

    @contextmanager
    def _opened(self, descriptor: int) -> Iterator[int]:
        try:
            yield descriptor
        finally:
            self._files.close(descriptor)


def take_scrub(folder: CacheFolder) -> int | None:
    """
    Claim the scrub of a folder for this process, until the descriptor that is returned is closed. Blocks.

    :return: ``None`` where another process has it.
    :raises OSError: As the system says.
    """
    descriptor = folder.files.create(folder.path / "scrub", or_open=True)
    try:
        folder.files.lock(descriptor)
    except BaseException as error:
        folder.files.close(descriptor)
        if isinstance(error, BlockingIOError):
            return None
        raise
    return descriptor
