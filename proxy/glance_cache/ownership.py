"""
Whose a cache folder is: taken by one daemon at a time, in a format that is known.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Final

from twisted.logger import Logger

from glance_cache.books import Books
from glance_cache.errors import FolderUnusable
from glance_cache.files import FileOps
from glance_cache.outdated import set_aside
from glance_tx.streaming.units import KiB

__all__ = ["Ownership"]

_FORMAT: Final = b"glance-cache folder, version 1\n"
_OTHER_VERSION: Final = re.compile(rb"glance-cache folder, version ([0-9]{1,9})\n")
_LONGEST_FORMAT: Final = 4 * KiB
_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH


class Ownership:
    """
    The claim of this daemon on a folder. Every method blocks, and is called in a lane or before the reactor runs.

    :param path: Of the folder.
    :param parts: The folders in it.
    """

    _log = Logger()

    def __init__(self, path: Path, parts: tuple[Path, ...], files: FileOps, books: Books) -> None:
        self._path = path
        self._parts = parts
        self._files = files
        self._books = books

    def take(self) -> int:
        """
        Make the folder this daemon's, for as long as the descriptor that is returned stays open in any process.

        :raises FolderUnusable: It is not fit, or in use.
        """
        try:
            if self._files.make_folder(self._path):
                self._files.sync_folder(self._path.parent)
            self._require_private(self._path)
            lock = self._files.create(self._path / "lock", or_open=True)
        except OSError as error:
            raise self.unusable(error) from error
        try:
            self._prepare(lock)
        except BaseException as error:
            self._files.close(lock)
            if isinstance(error, OSError):
                raise self.unusable(error) from error
            raise
        return lock

    def unusable(self, error: OSError) -> FolderUnusable:
        """
        Say what the system says in our words.
        """
        return FolderUnusable(str(self._path), error.strerror or str(error))

    def _prepare(self, lock: int) -> None:
        try:
            self._files.lock(lock)
        except BlockingIOError as error:
            raise FolderUnusable(str(self._path), "another daemon is using it") from error
        self._check_format()
        for part in self._parts:
            if self._files.make_folder(part):
                self._files.sync_folder(self._path)
            self._require_private(part)
        with self._books.turn() as page:
            page.begin_run()

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
        path = self._path / "format"
        if self._files.stat_path(path) is None:
            # It is written before the first entry, so entries without it are not by our hand.
            if self._files.stat_path(self._parts[0]) is not None:
                raise FolderUnusable(str(self._path), "it holds entries of an unknown format")
            self._write_format(path)
        descriptor = self._files.open(path)
        try:
            text = self._files.read(descriptor, _LONGEST_FORMAT, 0)
        finally:
            self._files.close(descriptor)
        if text == _FORMAT:
            return
        other = _OTHER_VERSION.fullmatch(text)
        if other is None:
            raise FolderUnusable(str(self._path), f"it is of another format: {text[:60]!r}")
        self._begin_anew(path, int(other[1]))

    def _begin_anew(self, path: Path, version: int) -> None:
        # All of it can be fetched again. Version by version nobody would ever test how to read the others.
        self._log.warn(
            "the cache folder {path} was written in format {version}, which this release does not read: its entries "
            "are removed, and fetched anew when they are asked for",
            path=str(self._path),
            version=version,
        )
        # In this order: wherever it stops, entries of that format are never found under the new one.
        set_aside(self._files, self._path, self._parts)
        self._write_format(path)

    def _write_format(self, path: Path) -> None:
        part = path.with_suffix(".part")
        self._files.remove(part)
        descriptor = self._files.create(part)
        try:
            self._files.write(descriptor, _FORMAT, 0)
            self._files.sync(descriptor)
        finally:
            self._files.close(descriptor)
        self._files.rename(part, path)
        self._files.sync_folder(self._path)
