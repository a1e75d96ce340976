"""
The files of a complete entry while somebody reads it.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from typing import Final

from glance_cache.catalog import (
    CHUNK_BYTES,
    HEADER_BYTES,
    RECORD_BYTES,
    CatalogDamaged,
    Header,
    decode_record,
    record_offset,
)
from glance_cache.files import FileOps
from glance_cache.folder import CacheFolder
from glance_cache.interfaces import ImageFacts
from glance_cache.names import EntryName
from glance_cache.stamps import Stamp, settled_stamp
from glance_cache.verify import Verdict
from glance_tx.streaming.filebody import FileBody
from glance_tx.streaming.interfaces import IGrowth

__all__ = ["EntryBody", "EntryFiles", "chunk_matches"]

_CLOSED: Final = -1


class EntryBody(FileBody):
    """
    A body out of the cache; its entry is in use until it is closed.

    :param closed: Told once, after the descriptor was released.
    """

    def __init__(
        self, descriptor: int, offset: int, length: int, growth: IGrowth, closed: Callable[[], object]
    ) -> None:
        super().__init__(descriptor, offset, length, growth)
        self._closed: Callable[[], object] | None = closed

    def close(self) -> None:
        """
        Release the descriptor and the entry. Harmless when repeated.
        """
        super().close()
        closed, self._closed = self._closed, None
        if closed is not None:
            closed()


class EntryFiles:
    """
    Data and catalog of a complete entry, open while anybody reads. Every method blocks, and is called in one lane; only
    `open`, where the files are open and no job of the lane closes them, does not.

    :param folder: Where the files lie.
    :param name: What they are called.
    """

    def __init__(self, folder: CacheFolder, name: EntryName) -> None:
        self._folder = folder
        self._files = folder.files
        self._name = name
        self._data = _CLOSED
        self._catalog = _CLOSED
        self._header: Header | None = None

    def open(self, facts: ImageFacts) -> int:
        """
        Open the data once more.

        :param facts: What the data must be.
        :return: A descriptor of its own for the reader.
        :raises FileNotFoundError: The entry is not there, or not any more.
        :raises CatalogDamaged: It is not an entry of this data, or not a whole one.
        :raises OSError: As the system says.
        """
        known = (self._header or self._open_files()).facts
        self._require_present()
        if (known.size, known.os_hash_algo, known.os_hash_value) != (
            facts.size,
            facts.os_hash_algo,
            facts.os_hash_value,
        ):
            raise CatalogDamaged("the catalog is that of other data")
        if self._files.stat(self._data).st_size != facts.size:
            raise CatalogDamaged("the data has another length than the catalog says")
        return self._files.duplicate(self._data)

    def _require_present(self) -> None:
        # Another process may have removed it while it is open here, or while it was opened: the catalog goes first.
        if self._files.stat(self._catalog).st_nlink == 0:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    def _open_files(self) -> Header:
        try:
            self._catalog = self._files.open(self._folder.catalog_path(self._name))
            self._data = self._files.open(self._folder.data_path(self._name))
            self._share()
            self._header = Header.decode(self._files.read(self._catalog, HEADER_BYTES, 0))
            # The order of use survives a restart in the times of the catalogs.
            self._files.set_modified(self._catalog, self._files.now_ns())
        except BaseException:
            self.close()
            raise
        return self._header

    def _share(self) -> None:
        try:
            self._files.share(self._data)
        except BlockingIOError as error:  # somebody has just found that nobody reads it, and removes it
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from error

    def look_at(self, chunk: int, length: int, known: Stamp | None) -> Verdict:
        """
        Hold one chunk against its record. What cannot be read does not match.

        :param length: How many bytes the chunk has.
        :param known: The stamp that the file is known to have; where it has another one its time is settled first.
        """
        stamp = self._stamp()
        if stamp != known:
            stamp = settled_stamp(self._files, self._data)
        right = self._matches(chunk, length)
        return Verdict(stamp, steady=self._stamp() == stamp, right=right)

    def matches(self, chunk: int, length: int) -> bool:
        """
        Hold one chunk against its record, opening the files where they are not. What cannot be read does not match.

        :raises FileNotFoundError: The entry is not there.
        :raises CatalogDamaged: It is not a whole one.
        :raises OSError: As the system says.
        """
        if self._header is None:
            self._open_files()
        return self._matches(chunk, length)

    def mend(self, chunk: int, data: bytes) -> bool:
        """
        Put a chunk into its place (see Note [Repairs in their place]). The file's time stays what it was.

        :return: ``False`` where it does not match its record; nothing is changed then.
        :raises FileNotFoundError: The entry is not there.
        :raises CatalogDamaged: It is not a whole one.
        :raises OSError: As the system says.
        """
        if self._header is None:
            self._open_files()
        if hashlib.sha256(data).digest() != _digest(self._files, self._catalog, chunk):
            return False
        descriptor = self._files.open_for_writing(self._folder.data_path(self._name))
        try:
            before = self._files.stat(descriptor)
            if before.st_ino != self._files.stat(self._data).st_ino:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            self._files.write(descriptor, data, chunk * CHUNK_BYTES)
            self._files.set_modified(descriptor, before.st_mtime_ns)
            self._files.sync(descriptor)
        finally:
            self._files.close(descriptor)
        return True

    def _stamp(self) -> Stamp:
        return Stamp.of(self._files.stat(self._data))

    def _matches(self, chunk: int, length: int) -> bool:
        return chunk_matches(self._files, self._catalog, self._data, chunk, length)

    def close(self) -> None:
        """
        Close the files. Harmless when repeated; `open` opens them again.
        """
        data, catalog, self._data, self._catalog = self._data, self._catalog, _CLOSED, _CLOSED
        self._header = None
        self._files.close(data, catalog)


def chunk_matches(files: FileOps, catalog: int, data: int, chunk: int, length: int) -> bool:
    """
    Hold one chunk of open files against its record. What cannot be read does not match. Blocks.

    :param length: How many bytes the chunk has.
    :raises OSError: As the system says.
    """
    try:
        digest = _digest(files, catalog, chunk)
        found = files.read(data, length, chunk * CHUNK_BYTES)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return False
    return hashlib.sha256(found).digest() == digest


def _digest(files: FileOps, catalog: int, chunk: int) -> bytes | None:
    return decode_record(chunk, files.read(catalog, RECORD_BYTES, record_offset(chunk)))
