"""
Pages of a file: whether they are in memory, and how they get there without stopping the reactor.
"""

from __future__ import annotations

import errno
import os
from typing import Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from glance_tx.streaming.cachestat import is_cached
from glance_tx.streaming.interfaces import ILane
from glance_tx.streaming.units import KiB, MiB

__all__ = ["ReadAhead", "in_memory"]

# The kernel reads in pieces of at least this (read_ahead_kb), so one page of each tells of the others.
_STRIDE_BYTES: Final = 128 * KiB

# Where all pages are known to be there or on their way, one of this many bytes tells whether the others have arrived.
_ARRIVAL_BYTES: Final = 1 * MiB

# What a thread reads at once where the file system does not let it read without copying.
_COPY_BYTES: Final = 1 * MiB


def in_memory(descriptor: int, begin: int, end: int) -> bool:
    """
    Tell whether a part of a file can be read without waiting for a disk.

    Never waits itself, though asking may make the kernel begin to read. A file system that cannot tell counts as one
    that would have to wait.
    """
    byte = bytearray(1)
    try:
        cached = is_cached(descriptor, begin, end)
        if cached is False:
            return False
        # Pages that are on their way count as cached. Disks bring them in larger pieces than they are asked for in.
        stride = _STRIDE_BYTES if cached is None else _ARRIVAL_BYTES
        for offset in (*range(begin, end, stride), end - 1):
            if os.preadv(descriptor, [byte], offset, os.RWF_NOWAIT) != 1:
                return False
    except BlockingIOError:
        return False
    except OSError as exc:
        if exc.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
        return False
    return True


class ReadAhead:
    """
    One part of a file on its way into memory, by a thread.

    :param descriptor: The file; duplicated here and now, so it may be closed (and its number given to another
        file) while the thread still reads.
    :param begin: First byte wanted.
    :param end: Offset after the last one.
    :param ahead_bytes: How much more to ask the disk for, without waiting for it.
    """

    def __init__(self, descriptor: int, begin: int, end: int, ahead_bytes: int) -> None:
        self._descriptor = os.dup(descriptor)
        self._begin = begin
        self._end = end
        self._ahead_bytes = ahead_bytes
        self._abandoned = False

    def begin(self, lane: ILane) -> Deferred[None]:
        """
        Read, in a lane.

        :return: Fires when the part is in memory, or at once when cancelled: a thread that has begun reads on.
        """
        done: Deferred[None] = Deferred(self._abandon)

        def deliver(result: Failure | None) -> None:
            # A failed read that nobody waits for any more is no news.
            if not self._abandoned:
                done.callback(result)  # a Failure goes to the errbacks

        # The job itself is never cancelled: it closes the duplicate.
        lane.read(self._read).addErrback(self._close_unread).addBoth(deliver)
        return done

    def _abandon(self, _: Deferred[None]) -> None:
        self._abandoned = True

    def _close_unread(self, reason: Failure) -> Failure:
        if self._descriptor >= 0:  # the lane never ran the job
            self._close()
        return reason

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)

    def _read(self) -> None:
        try:
            if not self._abandoned:
                span = self._end - self._begin + self._ahead_bytes
                os.posix_fadvise(self._descriptor, self._begin, span, os.POSIX_FADV_WILLNEED)
                self._touch()
        finally:
            self._close()

    def _touch(self) -> None:
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            position = self._begin
            while position < self._end:
                count = self._touch_some(null, position)
                if count == 0:  # the file is shorter; its sender will find out
                    break
                position += count
        finally:
            os.close(null)

    def _touch_some(self, null: int, position: int) -> int:
        try:
            # Brings pages in without copying them, and without the interpreter lock.
            return os.sendfile(null, self._descriptor, position, self._end - position)
        except OSError as exc:
            if exc.errno not in (errno.EINVAL, errno.ENOSYS):
                raise
            return len(os.pread(self._descriptor, min(self._end - position, _COPY_BYTES), position))
