"""
Files for tests: made, made cold, and counted while open.
"""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
from pathlib import Path
from typing import Final

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from glance_tx.streaming.cachestat import is_cached

_libc = ctypes.CDLL(None, use_errno=True)
_TRIES: Final = 100


def descriptor_of(test: SynchronousTestCase, data: bytes) -> int:
    """Write a file and open it for reading; the caller, or what it is given to, closes it."""
    path = Path(test.mktemp())
    path.write_bytes(data)
    return os.open(path, os.O_RDONLY)


def descriptors() -> int:
    """Count what this process has open and somebody still holds."""
    gc.collect()  # what an earlier test left to the collector is not to be let go of in the middle of this one
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def drop_from_memory(test: SynchronousTestCase, descriptor: int) -> None:
    """Drop a file from the page cache; skip the test where it stays there all the same, or comes back by itself."""
    if is_cached(descriptor, 0, 1) is None:
        # Looking at a page begins to read it, and a fast disk has it there at the next look.
        raise SkipTest("this kernel does not count pages in memory (Linux 6.5 does)")
    # The kernel may pass over pages that its journal still has to do with, so once is not always enough.
    for _ in range(_TRIES):
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        if not _cached_pages(descriptor):
            return
    raise SkipTest("this file system does not let go of pages")


def _cached_pages(descriptor: int) -> int:
    """Count a file's pages in memory. Reading, even without waiting, would make the kernel fetch them."""
    size = os.fstat(descriptor).st_size
    pages = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
    with mmap.mmap(descriptor, size, mmap.MAP_PRIVATE) as mapped:
        begin = ctypes.c_char.from_buffer(mapped)
        failed = _libc.mincore(ctypes.c_void_p(ctypes.addressof(begin)), ctypes.c_size_t(size), pages)
        del begin
    if failed:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return sum(page & 1 for page in pages)


def times_open(path: Path) -> int:
    """Count how often this process has a file open."""
    links = (entry for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink())
    target = str(path.resolve())
    return sum(1 for link in links if os.path.realpath(link) == target)
