"""
Noticing that a file was changed behind our back.
"""

from __future__ import annotations

import os
from typing import Final

from attrs import frozen

from glance_cache.files import FileOps

__all__ = ["Stamp", "settled_stamp"]

# Note [Settled times]
# A file's time of modification tells of a later change only if it is older than the clock that stamps files is
# coarse: two changes within one tick (4 ms, on most machines) leave the same time. So before a file's content is
# looked at, or once we are done writing it, a time that is still young is set back to one that lies well in the past.
# Whoever writes to the file from then on, for whatever reason, leaves another time.
_YOUNG_NS: Final = 2_000_000_000
_SET_BACK_NS: Final = 10_000_000_000


@frozen
class Stamp:
    """
    What a file looks like from outside: as long as it is the same, so is the content.

    Whoever changes a file and then sets its time back is not noticed; that takes intent, and our own user id.
    """

    inode: int
    size_bytes: int
    modified_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        """
        Take the stamp from what the system knows of a file.
        """
        return cls(status.st_ino, status.st_size, status.st_mtime_ns)


def settled_stamp(files: FileOps, descriptor: int) -> Stamp:
    """
    Take a file's stamp, after making sure that any later change shows in it (see Note [Settled times]). Blocks.
    """
    status = files.stat(descriptor)
    now_ns = files.now_ns()
    if status.st_mtime_ns > now_ns - _YOUNG_NS:
        # A disk that cannot be written refuses this. Nobody changes a file there, either.
        files.set_modified(descriptor, now_ns - _SET_BACK_NS)
        status = files.stat(descriptor)
    return Stamp.of(status)
