"""
How often something was used, by a guess that is never too low.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Final

__all__ = ["MOST_USES", "FrequencySketch"]

MOST_USES: Final = 15
"""Counted no further: what was used that often is worth keeping, and would take longer to be forgotten."""

_ROWS: Final = 4
_INDEXES: Final = struct.Struct(f"<{_ROWS}I")
_HALVES: Final = bytes(count // 2 for count in range(256))


class FrequencySketch:
    """
    A count-min sketch: counts uses of any number of names in memory that does not grow.

    Names may share a counter, so that one seems to be used more often than it was. That matters where the number of
    names in use comes near the number of counters.

    :param width: Counters in each of four rows, a byte each.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._rows = [bytearray(width) for _ in range(_ROWS)]

    def add(self, name: str, uses: int = 1) -> int:
        """
        Count uses.

        :return: How many there were, these included; at most `MOST_USES`.
        """
        places = self._places(name)
        count = min(self._count(places) + uses, MOST_USES)
        # A counter that is higher already is so because of other names.
        for row, place in zip(self._rows, places, strict=True):
            row[place] = max(row[place], count)
        return count

    def estimate(self, name: str) -> int:
        """
        Tell how many uses there were, or more.
        """
        return self._count(self._places(name))

    def halve(self) -> None:
        """
        Let half of all uses be forgotten, so that what was worth much once makes way.
        """
        self._rows = [row.translate(_HALVES) for row in self._rows]

    def _count(self, places: list[int]) -> int:
        return min(row[place] for row, place in zip(self._rows, places, strict=True))

    def _places(self, name: str) -> list[int]:
        digest = hashlib.blake2b(name.encode(), digest_size=_INDEXES.size).digest()
        return [number % self._width for number in _INDEXES.unpack(digest)]
