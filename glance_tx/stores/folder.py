"""
Names in a folder of image data, and the URLs that stand for them.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["FILE_SCHEMES", "DataFolder", "ForeignLocation", "part_name", "sync_folder"]

FILE_SCHEMES: Final = frozenset({"file", "filesystem"})
"""The URL schemes of stock Glance's file store."""

# No slash, so nothing lies in a subfolder; no leading dot, so that neither ".." nor a half-written file has a
# location; no percent sign, so that no two spellings mean the same file; short enough for `part_name`.
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,246}")


class ForeignLocation(Exception):
    """
    A URL that does not name a file of the folder.
    """


def part_name(name: str) -> str:
    """
    Name the hidden sibling under which a file is written before it is whole.
    """
    return f".{name}.part"


def _plain(path: str) -> str:
    """
    Spell an absolute path without empty and dot components; POSIX gives two leading slashes a meaning of their own.
    """
    return os.path.normpath("/" + path.lstrip("/"))


def sync_folder(path: Path) -> None:
    """
    Make the names in a folder durable. Blocks.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class DataFolder:
    """
    A flat folder of image data. Locations are taken literally, without percent decoding, as stock Glance does.

    :param path: The folder, absolute. It may itself be a symbolic link: that is the operator's choice.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(_plain(path))
        if not path.startswith("/"):
            raise ValueError(f"{path!r} is not an absolute path")

    def location(self, name: str) -> str:
        """
        Tell the URL of a name.

        :raises ValueError: No file of this folder may have that name.
        """
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"{name!r} cannot be a file name")
        return f"file://{self.path}/{name}"

    def name(self, location: str) -> str:
        """
        Tell the name that a URL stands for.

        :raises ForeignLocation: It names nothing in this folder.
        """
        scheme, _, path = location.partition("://")
        parent, slash, name = path.rpartition("/")
        if (
            scheme.lower() not in FILE_SCHEMES
            or not slash
            or ".." in parent.split("/")
            or not parent.startswith("/")
            or _plain(parent) != str(self.path)
            or _NAME.fullmatch(name) is None
        ):
            raise ForeignLocation
        return name

    def path_of(self, name: str) -> Path:
        """
        Tell where the whole file of that name lies.
        """
        return self.path / name

    def part_of(self, name: str) -> Path:
        """
        Tell where the file of that name lies while it is written.
        """
        return self.path / part_name(name)

    def open(self, name: str) -> int:
        """
        Open a whole file for reading. Blocks.

        :raises ForeignLocation: It is a symbolic link, or no regular file.
        :raises FileNotFoundError: There is none.
        :raises OSError: As `os.open` says, or the folder itself is missing.
        """
        # Not waiting: a FIFO would hold the thread until somebody writes into it.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        try:
            descriptor = os.open(self.path_of(name), flags)
        except FileNotFoundError:
            self._require_folder()
            raise
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.ENXIO}:  # a symbolic link, a socket
                raise ForeignLocation from error
            raise
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise ForeignLocation
        return descriptor

    def size_bytes(self, name: str) -> int:
        """
        Tell how long a whole file is. Blocks.

        :raises ForeignLocation: It is a symbolic link, or no regular file.
        :raises FileNotFoundError: There is none.
        :raises OSError: As `os.lstat` says, or the folder itself is missing.
        """
        try:
            status = os.lstat(self.path_of(name))
        except FileNotFoundError:
            self._require_folder()
            raise
        if not stat.S_ISREG(status.st_mode):
            raise ForeignLocation
        return status.st_size

    def delete(self, name: str) -> None:
        """
        Remove a file, whole or half-written, for good: it does not come back with a power loss. Blocks.

        :raises ForeignLocation: It is a symbolic link, or no regular file.
        :raises FileNotFoundError: Neither was there.
        :raises OSError: As `os.unlink` says, or the folder itself is missing.
        """
        with suppress(FileNotFoundError):
            self.size_bytes(name)  # which looks what it is
        missing = 0
        for path in (self.path_of(name), self.part_of(name)):
            try:
                path.unlink()
            except FileNotFoundError:
                missing += 1
        if missing == 2:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path_of(name)))
        sync_folder(self.path)

    def _require_folder(self) -> None:
        # Nothing is known of what a vanished folder (a lost mount) holds: that is not the absence of one file.
        if not self.path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "the folder is missing", str(self.path))
