"""
Files for tests: made, made cold, and counted while open.
"""

from __future__ import annotations

import gc
import os
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from glance_tx.streaming.readahead import in_memory
from glance_tx.streaming.units import MiB


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
    """Drop a file from the page cache; skip the test where the file system keeps it all the same."""
    # Looking is no neutral act: the kernel begins to read what it was asked about. So look at another file.
    probe = descriptor_of(test, bytes(MiB))
    try:
        _drop(probe)
        if in_memory(probe, 0, MiB):
            raise SkipTest("this file system does not let go of pages")
    finally:
        os.close(probe)
    _drop(descriptor)


def _drop(descriptor: int) -> None:
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def times_open(path: Path) -> int:
    """Count how often this process has a file open."""
    links = (entry for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink())
    target = str(path.resolve())
    return sum(1 for link in links if os.path.realpath(link) == target)
