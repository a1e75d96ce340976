"""
What it costs to tell the format of image data: processor time for one GiB in pieces of a MiB, as an upload shows them.

Two kinds of data: raw ones, of which the first MiB is enough, and a VMDK with a footer, which has to be looked at to
its end.
"""

from __future__ import annotations

import argparse
import statistics
import struct
import time

from glance_tx.inspection.detector import FormatDetector
from glance_tx.streaming.units import MiB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--mib", type=int, default=1024, help="size of the data (default 1024)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default 5)")
    options = parser.parse_args()
    heads = {"raw": b"", "vmdk with footer": _vmdk()}
    times: dict[str, list[float]] = {name: [] for name in heads}
    for _ in range(options.rounds):
        for name, head in heads.items():
            times[name].append(_measure(head, options.mib))
    for name, found in times.items():
        print(
            f"{name:18} {1000 * statistics.median(found):8.2f} ms for {options.mib} MiB"
            f"   ({1000 * min(found):.2f} to {1000 * max(found):.2f})"
        )


def _measure(head: bytes, mib: int) -> float:
    first, rest = head.ljust(MiB, b"\0"), bytes(MiB)
    begun = time.thread_time()
    detector = FormatDetector()
    detector.feed(first)
    for _ in range(mib - 1):
        if detector.settled():  # as `glance_tx.domain.inspection` does
            break
        detector.feed(rest)
    detector.finish()
    return time.thread_time() - begun


def _vmdk() -> bytes:
    header = struct.pack("<4sIIQQQQIQQ", b"KDMV", 3, 3, 2048, 128, 1, 20, 512, 0, 2**64 - 1)
    return header.ljust(512, b"\0") + b'# Disk DescriptorFile\nversion=1\ncreateType="streamOptimized"\n'


if __name__ == "__main__":
    main()
