"""
Keeping memory that threads gave back from piling up.

The GNU C library gives threads heaps of their own, as many as eight for each processor. What one thread takes another
one gives back, pieces of a MiB at that, and every heap keeps what it once had: a process that hashes and writes with a
dozen threads comes to hold, and slowly goes on to gather, much more than it uses. Two heaps are enough here: the
interpreter lets one thread at a time allocate, but for what hashing and compressing need.
"""

from __future__ import annotations

import ctypes
import os
from typing import Final

__all__ = ["bound_arenas"]

_M_ARENA_MAX: Final = -8
_MOST: Final = 2


def bound_arenas() -> None:
    """
    Have this process keep few heaps, from now on: to be called before it has threads.

    Does nothing where an operator has decided (the environment variable ``MALLOC_ARENA_MAX``), nor with another C
    library.
    """
    if "MALLOC_ARENA_MAX" in os.environ:
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, _MOST)
