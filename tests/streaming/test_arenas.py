"""
Tests of how many heaps a process has.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

_PROGRAM = """
import ctypes, hashlib, sys, threading
from glance_tx.streaming.arenas import bound_arenas
if sys.argv[1] == "bounded":
    bound_arenas()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
together = threading.Barrier(16)

def allocate():
    together.wait()
    for _ in range(200):
        libc.malloc(4096)  # without the interpreter's lock
    together.wait()

threads = [threading.Thread(target=allocate) for _ in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc.fdopen.restype = ctypes.c_void_p
libc.malloc_info(0, ctypes.c_void_p(libc.fdopen(1, b"w")))
libc.fflush(None)
"""


class ArenaTests(SynchronousTestCase):
    """
    `bound_arenas` keeps threads from getting heaps of their own.
    """

    def heaps(self, how: str, environment: dict[str, str] | None = None) -> int:
        inherited = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
        root = str(Path(__file__).parents[2])
        run = subprocess.run(
            [sys.executable, "-c", _PROGRAM, how],
            check=True,
            capture_output=True,
            text=True,
            env={**inherited, "PYTHONPATH": root, **(environment or {})},
        )
        return run.stdout.count("<heap nr=")

    def setUp(self) -> None:
        if not hasattr(ctypes.CDLL(None), "malloc_info"):
            raise SkipTest("this C library does not tell")
        if self.heaps("free") <= 2:
            raise SkipTest("threads share heaps here anyway")

    def test_bounded(self) -> None:
        """
        There are two at most.
        """
        self.assertLessEqual(self.heaps("bounded"), 2)

    def test_operator(self) -> None:
        """
        The number that stands in the environment is left as it is.
        """
        self.assertGreater(self.heaps("bounded", {"MALLOC_ARENA_MAX": "6"}), 2)
