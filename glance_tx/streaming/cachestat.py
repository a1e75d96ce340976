"""
How much of a file is in memory, as the kernel counts it: cachestat(2), of Linux 6.5 and later.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from typing import Final

__all__ = ["is_cached"]

# The same number on every architecture; the C library has no function for it yet.
_CACHESTAT: Final = 451

# An older kernel, a sandbox that has not heard of the call, a file system without a page cache.
_CANNOT_TELL: Final = frozenset({errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP})

_SYSCALL: Final = ctypes.CDLL(None, use_errno=True).syscall


class _Range(ctypes.Structure):
    _fields_ = (("begin", ctypes.c_uint64), ("length", ctypes.c_uint64))


class _Counts(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("cached", "dirty", "written", "evicted", "evicted_lately"))


def is_cached(descriptor: int, begin: int, end: int) -> bool | None:
    """
    Tell whether every page of a part of a file is in memory, or on its way there.

    :param end: Offset after the last byte, greater than ``begin``.
    :return: ``None`` where the kernel does not tell.
    :raises OSError: There is no such file.
    """
    counts = _Counts()
    asked = _Range(begin, end - begin)
    if _SYSCALL(_CACHESTAT, ctypes.c_int(descriptor), ctypes.byref(asked), ctypes.byref(counts), ctypes.c_uint(0)) != 0:
        number = ctypes.get_errno()
        if number in _CANNOT_TELL:
            return None
        raise OSError(number, os.strerror(number))
    pages = (end - 1) // mmap.PAGESIZE - begin // mmap.PAGESIZE + 1
    return bool(counts.cached >= pages)
