"""
Files of image data that stay open between one reader and the next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from attrs import define
from twisted.internet.interfaces import IReactorTime

from glance_tx.stores.folder import DataFolder

__all__ = ["KEEP_FILES", "KEEP_SECONDS", "FileKey", "OpenFile", "OpenFiles"]

KEEP_SECONDS: Final = 2.0
"""
How long a file is found open, counted from when it was opened.

Opening and closing take two trips to a thread, which cost more than a small range does. A reader of ranges is back in
far less time than this, and for no longer is it hidden that somebody removed the file, or does its room stay taken.
"""

KEEP_FILES: Final = 64
"""
Most files that are kept: little of what a process may have open, and more images than one node sends at a time.
"""

FileKey: TypeAlias = tuple[DataFolder, str]
"""A folder, and a name in it."""


@define(eq=False)
class OpenFile:
    """
    A file that is open, for any number of readers, none of whom uses its position.

    :ivar size_bytes: How long it was when it was opened.
    :ivar readers: How many have it now.
    :ivar kept: Whether the next reader finds it.
    """

    descriptor: int
    size_bytes: int
    readers: int = 0
    kept: bool = False


class OpenFiles:
    """
    Lends open files, and closes each when its time is over and nobody has it any more.

    :param close: Closes a descriptor without waiting for it.
    :param clock: Ends the time of each; ``None`` to keep no file without readers, nor find it for others.
    """

    def __init__(self, close: Callable[[int], object], clock: IReactorTime | None) -> None:
        self._close = close
        self._clock = clock
        self._kept: dict[FileKey, OpenFile] = {}

    def size_bytes(self, key: FileKey) -> int | None:
        """
        Tell how long a file is that is kept; ``None`` for any other.
        """
        found = self._kept.get(key)
        return None if found is None else found.size_bytes

    def borrow(self, key: FileKey) -> OpenFile | None:
        """
        Find a file for one more reader, who has to `give_back`.
        """
        found = self._kept.get(key)
        if found is not None:
            found.readers += 1
        return found

    def add(self, key: FileKey, descriptor: int, size_bytes: int) -> OpenFile:
        """
        Take over a file that was just opened, for its first reader, who has to `give_back`.
        """
        opened = OpenFile(descriptor, size_bytes, readers=1)
        if self._clock is not None and key not in self._kept and len(self._kept) < KEEP_FILES:
            opened.kept = True
            self._kept[key] = opened
            self._clock.callLater(KEEP_SECONDS, self._expire, key, opened)
        return opened

    def give_back(self, file: OpenFile) -> None:
        """
        End one reader's use.
        """
        file.readers -= 1
        self._close_unused(file)

    def forget(self, key: FileKey) -> None:
        """
        Let nobody else find a file; those who have it keep it.
        """
        found = self._kept.pop(key, None)
        if found is not None:
            found.kept = False
            self._close_unused(found)

    def _expire(self, key: FileKey, file: OpenFile) -> None:
        # Another one may have its place by now.
        if self._kept.get(key) is file:
            self.forget(key)

    def _close_unused(self, file: OpenFile) -> None:
        if not file.kept and file.readers == 0:
            self._close(file.descriptor)
