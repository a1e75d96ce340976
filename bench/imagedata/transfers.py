"""
One transfer, measured: what the client saw of it, and what it cost its server.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from imagedata.client import Load
from imagedata.rows import BUSY, Figures
from imagedata.site import GIB, MIB
from processes import ServerProcess

__all__ = ["CPU", "CPU_REQUEST", "LAST_BYTE", "PEAK", "RATE", "REQUESTS", "costs", "settle"]

RATE, CPU, PEAK = "mib_per_second", "cpu_seconds_per_gib", "peak_mib"
REQUESTS, CPU_REQUEST = "requests_per_second", "cpu_ms_per_request"
LAST_BYTE = "last_byte_seconds"

_STILL_SECONDS = 0.1
_SETTLE_SECONDS = 10.0


def settle(target: ServerProcess) -> None:
    """
    Wait until a server computes no more: what it still does after the last byte is part of the transfer.
    """
    deadline = time.monotonic() + _SETTLE_SECONDS
    before = target.cpu_seconds()
    while time.monotonic() < deadline:
        time.sleep(_STILL_SECONDS)
        after = target.cpu_seconds()
        if after - before < _STILL_SECONDS / 5:
            return
        before = after


def costs(target: ServerProcess, transfer: Callable[[], Load], moved_bytes: int | None = None) -> tuple[Load, Figures]:
    """
    Run a transfer, and see what its server used for it.

    :param moved_bytes: What is divided by; the bodies that the client got where it is not said.
    """
    family = target.family
    family.forget_peak()
    before = family.cpu_seconds()
    load = transfer()
    settle(target)
    cpu_seconds = family.cpu_seconds() - before
    moved = load.bytes if moved_bytes is None else moved_bytes
    return load, {
        RATE: moved / MIB / load.seconds,
        CPU: cpu_seconds / (moved / GIB),
        PEAK: family.peak_bytes() / MIB,
        BUSY: load.busy,
    }
