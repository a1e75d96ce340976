"""
Every call the cache makes on its folder, in one place.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

__all__ = ["OUT_OF_SPACE", "FileOps"]

OUT_OF_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What the system says when a file cannot become as long as it should."""

_CANNOT_ALLOCATE: Final = frozenset({errno.EOPNOTSUPP, errno.EINVAL})
_CANNOT_STAMP: Final = frozenset({errno.EPERM, errno.EROFS})
_ALWAYS: Final = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NOCTTY


class FileOps:
    """
    The system's own file calls. All of them block, so they are made in lanes; `stat`, `duplicate` and `close` of a
    descriptor that is not the last one of its file touch memory only, and may be made anywhere.

    Tests put a subclass in its place that fails, or stops dead, at a chosen step: nothing in the cache folder is
    changed in any other way.

    Every method raises `OSError` as the system does.
    """

    def open(self, path: Path) -> int:
        """
        Open a file for reading.
        """
        # Not waiting: a FIFO would hold the thread until somebody writes into it.
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | _ALWAYS)

    def open_for_writing(self, path: Path) -> int:
        """
        Open a file that is there for reading and writing.
        """
        return os.open(path, os.O_RDWR | _ALWAYS)

    def create(self, path: Path, *, or_open: bool = False) -> int:
        """
        Create a file that only its owner can read and write.

        :param or_open: Whether one that is there will do.
        """
        return os.open(path, os.O_RDWR | os.O_CREAT | (0 if or_open else os.O_EXCL) | _ALWAYS, 0o600)

    def close(self, *descriptors: int) -> None:
        """
        Close descriptors; those below zero stand for none.
        """
        with ExitStack() as closing:  # one that fails keeps none of the others open
            for descriptor in descriptors:
                if descriptor >= 0:
                    closing.callback(os.close, descriptor)

    def duplicate(self, descriptor: int) -> int:
        """
        Make a second descriptor of the same open file.
        """
        return os.dup(descriptor)

    def lock(self, descriptor: int) -> None:
        """
        Take the file for this open file alone, until the last descriptor of it is closed or `unlock` is called.

        :raises BlockingIOError: Another open file has it, be it of this process, or shares it.
        """
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def share(self, descriptor: int) -> None:
        """
        Take the file together with others that share it (see `lock`).

        :raises BlockingIOError: Another open file has it alone.
        """
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def unlock(self, descriptor: int) -> None:
        """
        Let go of a file that was taken or shared.
        """
        fcntl.flock(descriptor, fcntl.LOCK_UN)

    def truncate(self, descriptor: int, size_bytes: int) -> None:
        """
        Give a file its length; no room is taken for what is added.
        """
        os.ftruncate(descriptor, size_bytes)

    def allocate(self, descriptor: int, size_bytes: int) -> None:
        """
        Give a file that holds nothing its length, and the room for it where the file system can promise that.
        """
        try:
            os.posix_fallocate(descriptor, 0, size_bytes)
        except OSError as error:
            if error.errno not in _CANNOT_ALLOCATE:
                raise
            os.ftruncate(descriptor, size_bytes)

    def read(self, descriptor: int, size_bytes: int, offset: int) -> bytes:
        """
        Read at a place in a file.

        :return: Shorter than asked only where the file ends.
        """
        data = self.read_some(descriptor, size_bytes, offset)
        if len(data) in {0, size_bytes}:
            return data
        parts = [data]
        missing = size_bytes - len(data)
        while missing and (data := self.read_some(descriptor, missing, offset + size_bytes - missing)):
            parts.append(data)
            missing -= len(data)
        return b"".join(parts)

    def read_some(self, descriptor: int, size_bytes: int, offset: int) -> bytes:
        """
        Read at a place in a file as the system does: perhaps less than was asked for, nothing only at the file's end.
        """
        return os.pread(descriptor, size_bytes, offset)

    def write(self, descriptor: int, data: bytes | memoryview, offset: int) -> None:
        """
        Write all of the data at a place in a file.
        """
        view = memoryview(data)
        while view:
            count = self.write_some(descriptor, view, offset)
            if count == 0:  # no system should say so, and asking for ever is no answer to one that does
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            view = view[count:]
            offset += count

    def write_some(self, descriptor: int, data: bytes | memoryview, offset: int) -> int:
        """
        Write at a place in a file as the system does.

        :return: How many bytes were written: perhaps not all.
        """
        return os.pwrite(descriptor, data, offset)

    def sync_data(self, descriptor: int) -> None:
        """
        Bring a file's content to the disk, without its times.
        """
        os.fdatasync(descriptor)

    def sync(self, descriptor: int) -> None:
        """
        Bring a file to the disk.
        """
        os.fsync(descriptor)

    def sync_folder(self, path: Path) -> None:
        """
        Bring the names in a folder to the disk.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def drop_cached(self, descriptor: int) -> None:
        """
        Have a file's content read from the disk the next time, as far as it was written there.
        """
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def set_modified(self, descriptor: int, modified_ns: int) -> None:
        """
        Set a file's time of modification, in nanoseconds since the epoch, if it can be set.
        """
        try:
            os.utime(descriptor, ns=(modified_ns, modified_ns))
        except OSError as error:
            if error.errno not in _CANNOT_STAMP:
                raise

    def stat(self, descriptor: int) -> os.stat_result:
        """
        Tell what the system knows of an open file.
        """
        return os.fstat(descriptor)

    def stat_path(self, path: Path) -> os.stat_result | None:
        """
        Tell what the system knows of a path itself, not of what a symbolic link leads to; ``None`` without one.
        """
        try:
            return path.lstat()
        except FileNotFoundError:
            return None

    def list(self, path: Path) -> Iterator[os.DirEntry[str]]:
        """
        Go through what lies in a folder, in no order.
        """
        with os.scandir(path) as entries:
            yield from entries

    def make_folder(self, path: Path) -> bool:
        """
        Create a folder for its owner alone.

        :return: Whether it was not there.
        """
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            return False
        return True

    def rename(self, source: Path, target: Path) -> None:
        """
        Give a file another name, in place of whatever has it.
        """
        source.replace(target)

    def remove(self, path: Path) -> bool:
        """
        Take a name away.

        :return: Whether it was there.
        """
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        return True

    def remove_folder(self, path: Path) -> None:
        """
        Take an empty folder away.
        """
        path.rmdir()

    def free_bytes(self, path: Path) -> int:
        """
        Tell how much room the file system has left for us.
        """
        status = os.statvfs(path)
        return status.f_bavail * status.f_frsize

    def now_ns(self) -> int:
        """
        Tell the time by the clock that stamps files, in nanoseconds since the epoch.
        """
        return time.time_ns()
