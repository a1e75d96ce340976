"""
What hashing alone costs: nobody who computes these hashes can be faster.
"""

from __future__ import annotations

import hashlib
import resource
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from imagedata.rows import Figures
from imagedata.site import GIB, MIB
from imagedata.transfers import CPU, LAST_BYTE, RATE

__all__ = ["HASHES", "hash_fill", "hash_upload"]

HASHES = "hashes"

_PIECE_BYTES = 1 * MIB
_SAMPLE_BYTES = 64 * MIB


def hash_upload(source: Path) -> Figures:
    """
    Compute what an image service has to know of an upload, each hash in a thread of its own.
    """
    return _hash(source, ("md5", "sha512"))


def hash_fill(source: Path) -> Figures:
    """
    Compute what a cache of ours has to know of a fill: the hash of the image, and that of every chunk.
    """
    return _hash(source, ("sha512", "sha256"))


def _hash(source: Path, algorithms: Sequence[str]) -> Figures:
    size = source.stat().st_size
    with source.open("rb") as data:
        sample = data.read(_SAMPLE_BYTES)  # a part, again and again: reading is not what is measured
    before, began = _cpu_seconds(), time.monotonic()
    threads = [threading.Thread(target=_digest, args=(sample, size, algorithm)) for algorithm in algorithms]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds, cpu_seconds = time.monotonic() - began, _cpu_seconds() - before
    return {RATE: size / MIB / seconds, CPU: cpu_seconds / (size / GIB), LAST_BYTE: seconds}


def _digest(sample: bytes, size: int, algorithm: str) -> None:
    digest = hashlib.new(algorithm, usedforsecurity=False)
    pieces = memoryview(sample)
    for done in range(0, size, _PIECE_BYTES):
        at = done % len(sample)
        digest.update(pieces[at : at + min(_PIECE_BYTES, size - done)])


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
