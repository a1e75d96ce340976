"""
A node's own record of its hits, which outlives the process.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import orjson
from attrs import field, frozen

from glance_cache.files import FileOps
from glance_cache.interfaces import HitTotals
from glance_tx.streaming.units import KiB, MiB

__all__ = ["HitJournal", "JournalContent", "JournalFollower"]

_VERSION: Final = 1
_PIECE_BYTES: Final = 256 * KiB
_SLACK_BYTES: Final = MiB


@frozen
class JournalContent:
    """
    What a journal had to tell when it was opened.

    :param totals: By image.
    :param damaged_lines: How many could not be read: one at the end after a power loss, more on a bad disk.
    :param other_node: The node that wrote it, where that is another one; its file was moved aside then.
    """

    totals: Mapping[str, HitTotals] = field(factory=dict)
    damaged_lines: int = 0
    other_node: str | None = None


class HitJournal:
    """
    A file of lines, each the absolute totals of one image with a checksum before it.

    Reading a line twice, or an old one after a new one, changes nothing: the greater number counts. So nothing has
    to be undone after a crash. Every method blocks, raises `OSError` as the system does, and is called in one lane.

    :param path: The file, in a folder of this daemon alone.
    :param node: Whose hits these are.
    """

    def __init__(self, path: Path, node: str, files: FileOps) -> None:
        self.path = path
        self._node = node
        self._files = files
        self._descriptor = -1
        self._end = 0
        self._compact_bytes = 0

    def open(self) -> JournalContent:
        """
        Read the file, or begin one.
        """
        content = self._read()
        if content.other_node is not None:
            self._files.rename(self.path, self.path.with_name(f"{self.path.name}.other-node"))
            content = JournalContent(other_node=content.other_node)
        self.compact(content.totals)
        return content

    def append(self, totals: Iterable[tuple[str, HitTotals]]) -> None:
        """
        Add lines. They survive the process from now on, and a power loss from the next `sync` on.

        After a failure the file is as long as before, for whoever reads it; the lines may be added again.
        """
        data = b"".join(_line([image, t.hits, t.bytes_sent, t.last_at]) for image, t in totals)
        self._files.write(self._descriptor, data, self._end)
        self._end += len(data)

    def sync(self) -> None:
        """
        Bring the lines to the disk.
        """
        self._files.sync_data(self._descriptor)

    @property
    def wants_compaction(self) -> bool:
        """
        Whether most of the file is old totals of images that it has newer ones of.
        """
        return self._end > self._compact_bytes

    def compact(self, totals: Mapping[str, HitTotals]) -> None:
        """
        Put a new file in the place of the old one, at once or not at all.

        :param totals: All of them.
        """
        fresh = self.path.with_name(f"{self.path.name}.new")
        self._files.remove(fresh)
        descriptor = self._files.create(fresh)
        try:
            head = _line({"version": _VERSION, "node": self._node})
            end = self._write_all(descriptor, head, totals)
            self._files.sync(descriptor)
            self._files.rename(fresh, self.path)
        except BaseException:
            self._files.close(descriptor)
            self._files.remove(fresh)
            raise
        old, self._descriptor = self._descriptor, descriptor
        self._end, self._compact_bytes = end, 2 * end + _SLACK_BYTES
        self._files.close(old)
        self._files.sync_folder(self.path.parent)

    def close(self) -> None:
        """
        Bring the lines to the disk, and let go of the file. Harmless when repeated.
        """
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            try:
                self._files.sync_data(descriptor)
            finally:
                self._files.close(descriptor)

    def _write_all(self, descriptor: int, head: bytes, totals: Mapping[str, HitTotals]) -> int:
        end, waiting = 0, bytearray(head)
        for image, t in totals.items():
            waiting += _line([image, t.hits, t.bytes_sent, t.last_at])
            if len(waiting) >= _PIECE_BYTES:
                self._files.write(descriptor, bytes(waiting), end)
                end += len(waiting)
                waiting = bytearray()
        self._files.write(descriptor, bytes(waiting), end)
        return end + len(waiting)

    def _read(self) -> JournalContent:
        try:
            descriptor = self._files.open(self.path)
        except FileNotFoundError:
            return JournalContent()
        try:
            return self._read_lines(descriptor)
        finally:
            self._files.close(descriptor)

    def _read_lines(self, descriptor: int) -> JournalContent:
        totals: dict[str, HitTotals] = {}
        damaged, offset, rest, other = 0, 0, b"", None
        while data := self._files.read(descriptor, _PIECE_BYTES, offset):
            offset += len(data)
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                value = _parse(line)
                if isinstance(value, _Head):
                    other = value.node if value.node != self._node else None
                elif value is None:
                    damaged += 1
                else:
                    image, found = value
                    totals[image] = found.at_least(totals.get(image, found))
        return JournalContent(totals, damaged + bool(rest), other)


class JournalFollower:
    """
    Reads the journal that another process writes, as it grows. Every method blocks, and is called in one lane.

    :param node: Whose hits these must be; those of another one count for nothing.
    :ivar totals: What was read by now, by image; replaced and never changed, so it may be looked at from outside.
    """

    def __init__(self, path: Path, node: str, files: FileOps) -> None:
        self.totals: Mapping[str, HitTotals] = {}
        self._path = path
        self._node = node
        self._files = files
        self._inode = -1
        self._end = 0
        self._foreign = False

    def look(self) -> None:
        """
        Read what is new.

        :raises OSError: As the system does.
        """
        there = self._files.stat_path(self._path)
        if there is None or (there.st_ino == self._inode and there.st_size == self._end):
            return
        descriptor = self._files.open(self._path)
        try:
            self._read_on(descriptor)
        finally:
            self._files.close(descriptor)

    def _read_on(self, descriptor: int) -> None:
        inode = self._files.stat(descriptor).st_ino
        # A new file has all that the old one had.
        totals: dict[str, HitTotals] = dict(self.totals) if inode == self._inode else {}
        offset = self._end if inode == self._inode else 0
        foreign, rest = self._foreign and offset > 0, b""
        while data := self._files.read(descriptor, _PIECE_BYTES, offset + len(rest)):
            *lines, rest = (rest + data).split(b"\n")
            offset += sum(len(line) + 1 for line in lines)
            for line in lines:
                value = _parse(line)
                if isinstance(value, _Head):
                    foreign = value.node != self._node
                elif value is not None:
                    image, found = value
                    totals[image] = found.at_least(totals.get(image, found))
        self._inode, self._end, self._foreign = inode, offset, foreign
        self.totals = {} if foreign else totals


@frozen
class _Head:
    node: str


def _line(value: object) -> bytes:
    text = orjson.dumps(value)
    return b"%08x %b\n" % (zlib.crc32(text), text)


def _parse(line: bytes) -> _Head | tuple[str, HitTotals] | None:
    checksum, _, text = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(text):
        return None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    match value:
        case {"version": int(), "node": str(node)}:
            return _Head(node)
        case [str(image), int(hits), int(bytes_sent), (float() | int()) as last_at]:
            return image, HitTotals(hits, bytes_sent, float(last_at))
        case _:
            return None
