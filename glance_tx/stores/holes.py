"""
Finding the zeros that a file need not hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from glance_tx.streaming.units import KiB

__all__ = ["BLOCK_BYTES", "filled_runs"]

BLOCK_BYTES: Final = 64 * KiB
"""
What is left out is whole blocks of this size, as in stock Glance; a cluster of qcow2 has it, too. Smaller ones would
cut files into more pieces than they save room.
"""

_ZEROS: Final = bytes(BLOCK_BYTES)


def filled_runs(data: bytes, offset: int) -> Iterator[tuple[int, int]]:
    """
    Find those parts of a piece of a file that are not whole blocks of zeros. Neighbors make one part.

    Blocks are counted from the beginning of the file; what the piece has of its first and its last block counts as
    a block.

    :param offset: Where in the file the piece lies.
    :return: From and to, counted in the piece.
    """
    begun: int | None = None
    start = 0
    while start < len(data):
        end = min(start + BLOCK_BYTES - (offset + start) % BLOCK_BYTES, len(data))
        # Compares in place, and stops at the first byte that differs.
        if data.startswith(_ZEROS[: end - start], start):
            if begun is not None:
                yield begun, start
            begun = None
        elif begun is None:
            begun = start
        start = end
    if begun is not None:
        yield begun, len(data)
