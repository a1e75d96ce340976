"""
All cases, in the order in which they are measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from imagedata import cold, downloads, encrypted, fills, idle, ranges, slow, sparse, uploads
from imagedata.rows import Row
from imagedata.site import Site

__all__ = ["CASES", "UnknownCase", "choose"]

CASES: Mapping[str, Callable[[Site], Iterator[Row]]] = {
    "download": downloads.rows,
    "range": ranges.rows,
    "herd": fills.herd,
    "fill": fills.rows,
    "upload": uploads.rows,
    "slow": slow.rows,
    "cold": cold.rows,
    "idle": idle.rows,
    "tls": encrypted.rows,
    "sparse": sparse.rows,
}


class UnknownCase(Exception):
    """
    There is no such case.
    """


def choose(words: str) -> Sequence[str]:
    """
    Read a list of cases as the command line has it, with commas; all of them where it is empty.

    :raises UnknownCase: One of them does not exist.
    """
    wanted = [word.strip() for word in words.split(",") if word.strip()]
    for word in wanted:
        if word not in CASES:
            raise UnknownCase(f"there is no case {word!r}; there are {', '.join(CASES)}")
    return [name for name in CASES if name in wanted] if wanted else list(CASES)
