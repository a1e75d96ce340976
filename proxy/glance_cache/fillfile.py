"""
The files of an entry while they are written.
"""

from __future__ import annotations

import errno
import hashlib
from typing import Final

from glance_cache.catalog import (
    CHUNK_BYTES,
    HEADER_BYTES,
    MARK_BYTES,
    MARK_OFFSET,
    RECORD_BYTES,
    CatalogDamaged,
    Header,
    catalog_bytes,
    chunk_length,
    decode_mark,
    decode_record,
    encode_mark,
    encode_record,
    record_offset,
)
from glance_cache.files import FileOps
from glance_cache.folder import CacheFolder
from glance_cache.names import EntryName
from glance_cache.stamps import Stamp, settled_stamp
from glance_tx.streaming.errors import BodyTooLong, BodyTooShort
from glance_tx.streaming.units import MiB

__all__ = ["FillFile", "read_mark"]

_SYNC_BYTES: Final = 64 * MiB
_CLOSED: Final = -1

# Note [Records without order]
# Nothing keeps the disk from having a chunk's record before it has the chunk: while a fill is under way neither is
# waited for. A fill that goes on after a crash does not need it to be so. It reads the data again anyway, to hash the
# whole image, and holds each chunk against its record on the way; where the first one does not match, the rest is
# fetched anew. Order matters once, when the entry becomes complete: data and catalog are on the disk before the
# rename is asked for.


# Note [Marks of fills]
# Other processes follow a fill by its mark in the catalog: how far they may send the data to their clients. What is
# before the mark is never written again, be it by another process that goes on when this one died: those clients have
# it. So a mark counts even within a chunk that has no record yet, as long as the machine runs: the data is in the page
# cache. Marks of an earlier run of the daemon count for nothing.


class FillFile:
    """
    Data and catalog of one entry in the making. Every method but `duplicate` blocks, and is called in one lane.

    :param folder: Where the files lie.
    :param name: What they are called.
    :param header: What the data is to be.
    :param max_bytes: How much room all entries may take.
    """

    def __init__(self, folder: CacheFolder, name: EntryName, header: Header, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._run = b""
        self._mark = 0
        # The start of the last chunk. See Note [The last chunk].
        self._held = (header.facts.size - 1) // CHUNK_BYTES * CHUNK_BYTES
        self._folder = folder
        self._files = folder.files
        self._name = name
        self.header = header
        self._data = _CLOSED
        self._catalog = _CLOSED
        self._chunk = hashlib.sha256()
        self._unsynced = 0
        self.position = 0

    @property
    def recorded_bytes(self) -> int:
        """
        How much of the data would be found again by a later fill.
        """
        return self.position if self._is_whole else self.position - self.position % CHUNK_BYTES

    @property
    def _is_whole(self) -> bool:
        return self.position == self.header.facts.size

    def create(self) -> int:
        """
        Begin with nothing.

        :return: The inode of the data.
        :raises FileExistsError: There is an entry of that name, or a fill.
        :raises CacheFull: There is no room for it.
        :raises OSError: As the system says, a full disk included; nothing is left then.
        """
        size_bytes = self.header.facts.size
        try:
            with self._folder.creating(self._name, size_bytes, self._max_bytes) as page:
                self._run = page.run
                inode = self._make()
        except BaseException:
            self.close()
            raise
        try:
            # Not in that turn: it may take long.
            self._files.allocate(self._data, size_bytes)
        except BaseException:
            self.close()
            self._folder.remove(self._name, inode)
            raise
        return inode

    def _make(self) -> int:
        self._catalog = self._files.create(self._folder.part_path(self._name))
        self._files.lock(self._catalog)
        self._files.allocate(self._catalog, catalog_bytes(self.header.facts.size))
        self._files.write(self._catalog, self.header.encode(), 0)
        self._write_mark(0)
        self._data = self._files.create(self._folder.data_path(self._name))
        self._files.share(self._data)
        self._files.truncate(self._data, self.header.facts.size)
        return self._files.stat(self._data).st_ino

    def reopen(self) -> int:
        """
        Go on with what an earlier fill left. `read_recorded` then tells how much of it is good.

        :return: The inode of the data.
        :raises BlockingIOError: Somebody else fills it.
        :raises CatalogDamaged: It is not a fill of this data.
        :raises OSError: As the system says.
        """
        try:
            with self._folder.books.turn() as page:
                self._run = page.run
                self._catalog = self._files.open_for_writing(self._folder.part_path(self._name))
                self._files.lock(self._catalog)
                self._data = self._files.open_for_writing(self._folder.data_path(self._name))
                self._files.share(self._data)
            self.header = self._header_of_this_data()
            self._mark = read_mark(self._files, self._catalog, self._run) or 0
            return self._files.stat(self._data).st_ino
        except BaseException:
            self.close()
            raise

    def _header_of_this_data(self) -> Header:
        left = Header.decode(self._files.read(self._catalog, HEADER_BYTES, 0))
        if left.facts != self.header.facts:
            raise CatalogDamaged("the catalog is that of other data")
        if self._files.stat(self._data).st_size != self.header.facts.size:
            raise CatalogDamaged("the data has another length than the catalog says")
        return left

    def read_recorded(self) -> bytes:
        """
        Read the next chunk that an earlier fill wrote, and take it over if it still matches its record.

        :return: ``b""`` where the first one does not, or the data is whole: writing goes on from there.
        """
        if self._is_whole or self.position % CHUNK_BYTES:
            return b""
        index = self.position // CHUNK_BYTES
        length = chunk_length(self.header.facts.size, index)
        try:
            digest = decode_record(index, self._files.read(self._catalog, RECORD_BYTES, record_offset(index)))
            data = self._files.read(self._data, length, self.position)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return b""
        if hashlib.sha256(data).digest() != digest:
            data = self._marked_part(data)
        self.position += len(data)
        return data

    def _marked_part(self, data: bytes) -> bytes:
        # What others were shown of a chunk without a record, see Note [Marks of fills]. A chunk that is all before the
        # mark had its record: its data is no more what it was.
        part = data[: max(0, self._mark - self.position)]
        if len(part) == len(data):
            return b""
        self._chunk.update(part)
        return part

    def settle_mark(self) -> None:
        """
        Let others follow from where `read_recorded` stopped.
        """
        self._write_mark(min(self.position, self._held))

    def show_all(self) -> None:
        """
        Let others follow to the end: the data was found right as a whole.
        """
        self._write_mark(self.header.facts.size)

    def _write_mark(self, offset: int) -> None:
        self._files.write(self._catalog, encode_mark(self._run, offset), MARK_OFFSET)
        self._mark = offset

    def append(self, data: bytes) -> None:
        """
        Write the next bytes, and the record of each chunk that they make full.

        :raises BodyTooLong: There is no room for them in the image.
        :raises OSError: As the system says.
        """
        size_bytes = self.header.facts.size
        if self.position + len(data) > size_bytes:
            raise BodyTooLong(size_bytes)
        rest = memoryview(data)
        while rest:
            chunk_end = min(size_bytes, (self.position // CHUNK_BYTES + 1) * CHUNK_BYTES)
            piece, rest = rest[: chunk_end - self.position], rest[chunk_end - self.position :]
            self._files.write(self._data, piece, self.position)
            self._chunk.update(piece)
            self.position += len(piece)
            if self.position == chunk_end:
                self._record()
        if self._mark < min(self.position, self._held):
            self.settle_mark()
        self._unsynced += len(data)
        if self._unsynced >= _SYNC_BYTES:
            # Else the machine gathers gigabytes of unwritten data and then stops everybody until they are written.
            self._files.sync_data(self._data)
            self._unsynced = 0

    def _record(self) -> None:
        index = (self.position - 1) // CHUNK_BYTES
        self._files.write(self._catalog, encode_record(index, self._chunk.digest()), record_offset(index))
        self._chunk = hashlib.sha256()

    def publish(self) -> Stamp | None:
        """
        Make the entry complete and durable.

        :return: What the data file looks like as long as nobody changes it; ``None`` where the entry was removed.
        :raises BodyTooShort: The data is not whole.
        :raises OSError: As the system says.
        """
        if not self._is_whole:
            raise BodyTooShort(self.header.facts.size, self.position)
        stamp = settled_stamp(self._files, self._data)
        self._files.sync(self._data)
        self._files.sync(self._catalog)
        published = self._folder.publish(self._name, self._catalog)
        self._files.unlock(self._catalog)
        return stamp if published else None

    def suspend(self) -> int:
        """
        Let others go on with the fill, where there is something to go on with. Nothing is written any more.

        :return: See `recorded_bytes`.
        """
        if self.recorded_bytes:
            self._files.unlock(self._catalog)
        return self.recorded_bytes

    def duplicate(self) -> int:
        """
        Make a descriptor of the data for somebody who reads what is written; the one call made in the reactor.
        """
        return self._files.duplicate(self._data)

    def close(self) -> None:
        """
        Close the files, and let go of the fill. Harmless when repeated.
        """
        data, catalog, self._data, self._catalog = self._data, self._catalog, _CLOSED, _CLOSED
        self._files.close(data, catalog)


def read_mark(files: FileOps, catalog: int, run: bytes) -> int | None:
    """
    Read the mark of a fill; see Note [Marks of fills].

    :return: ``None`` where there is none, or none that could be read just now.
    """
    return decode_mark(run, files.read(catalog, MARK_BYTES, MARK_OFFSET))
