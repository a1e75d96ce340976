"""
A file that comes into sight whole and durable, or not at all.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress

from glance_tx.stores.folder import DataFolder, sync_folder
from glance_tx.stores.holes import filled_runs

__all__ = ["PartFile"]

_NO_HARD_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


class PartFile:
    """
    A file on its way: written under a hidden name, then published. Every method blocks and is called in one lane.

    A process that dies leaves at most the hidden file behind, and both names for a moment while it publishes;
    `DataFolder.delete` removes both.

    :param folder: Where it will lie.
    :param name: Its name there once it is whole.
    :param mode: Its permissions; ``None`` for 0640 less the process's umask.
    :param reserve: Take the room of an announced size before the first byte.
    :param thin: Leave a hole for each block of zeros, and so reserve nothing.
    """

    def __init__(self, folder: DataFolder, name: str, *, mode: int | None, reserve: bool, thin: bool = False) -> None:
        self._folder = folder.path
        self._target = folder.path_of(name)
        self._part = folder.part_of(name)
        self._mode = mode
        self._reserve = reserve and not thin
        self._thin = thin
        self._descriptor = -1
        self._reserved = 0
        self._has_part = False
        self._has_target = False
        self.written = 0

    def create(self, size_bytes: int | None) -> None:
        """
        Begin the file.

        :param size_bytes: The announced size, if any.
        :raises FileExistsError: The name is taken, or somebody writes it.
        :raises OSError: As the system says; nothing is left then.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(self._part, flags, 0o640 if self._mode is None else 0o600)
        self._has_part = True
        try:
            # Only now that nobody else can begin is the name's absence a fact that lasts.
            self._require_free()
            if self._mode is not None:
                os.fchmod(self._descriptor, self._mode)
            if self._reserve and size_bytes:
                self._take_room(size_bytes)
        except BaseException:
            self.discard()
            raise

    def append(self, data: bytes) -> None:
        """
        Write bytes at the end.

        :raises OSError: As the system says; ``written`` counts what was taken.
        """
        view, offset = memoryview(data), self.written
        for start, end in filled_runs(data, offset) if self._thin else [(0, len(data))]:
            self.written = offset + start
            while self.written < offset + end:
                self.written += os.pwrite(self._descriptor, view[self.written - offset : end], self.written)
        self.written = offset + len(data)

    def publish(self) -> None:
        """
        Make the file durable, then give it its name, without ever replacing another one.

        :raises FileExistsError: The name is taken.
        :raises FileNotFoundError: The hidden file was removed meanwhile.
        :raises OSError: As the system says; call `discard` then.
        """
        # Cuts off what was reserved and not needed; a hole at the end is made by this alone.
        if self._thin or self._reserved > self.written:
            os.ftruncate(self._descriptor, self.written)
        os.fsync(self._descriptor)
        self._give_name()
        sync_folder(self._folder)
        self._close()

    def discard(self) -> None:
        """
        Remove what this object made, under either name. Harmless when repeated.
        """
        with suppress(OSError):  # what a failed close would lose is thrown away here
            self._close()
        if not self._has_part and not self._has_target:
            return
        if self._has_target:
            with suppress(FileNotFoundError):
                self._target.unlink()
            self._has_target = False
        if self._has_part:
            with suppress(FileNotFoundError):
                self._part.unlink()
            self._has_part = False
        # Or a power loss could bring back a file that nobody knows of any more.
        sync_folder(self._folder)

    def _require_free(self) -> None:
        if os.path.lexists(self._target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(self._target))

    def _take_room(self, size_bytes: int) -> None:
        if size_bytes > sys.maxsize:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        try:
            os.posix_fallocate(self._descriptor, 0, size_bytes)
        except OSError as error:
            if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL}:  # the file system cannot do it
                raise
        else:
            self._reserved = size_bytes

    def _give_name(self) -> None:
        try:
            os.link(self._part, self._target, follow_symlinks=False)
        except FileExistsError:
            # NFS may carry the call out, lose the answer and then find the result of its first try.
            if not os.path.samestat(os.lstat(self._target), os.fstat(self._descriptor)):
                raise
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            self._rename()
            return
        self._has_target = True
        self._part.unlink()
        self._has_part = False

    def _rename(self) -> None:
        self._require_free()
        self._part.rename(self._target)
        self._has_part, self._has_target = False, True

    def _close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)
