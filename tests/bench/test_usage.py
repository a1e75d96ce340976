"""
Tests for `usage`.
"""

import os
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from usage import Family, ProcessStat, parse_stat, parse_status

TICKS = os.sysconf("SC_CLK_TCK")
MIB = 1 << 20


class ParseTests(SynchronousTestCase):
    """
    What the kernel writes is read.
    """

    def test_stat(self) -> None:
        """
        A program's name may have blanks and parentheses; time is that of user and kernel mode together.
        """
        line = f"42 (a b) (c)) S 7 42 9 0 -1 4194304 100 0 0 0 {3 * TICKS} {TICKS // 2} 77 88 20 0 1 0 100 0 0"
        self.assertEqual(ProcessStat(42, 7, 9, 3.5), parse_stat(line))

    def test_status(self) -> None:
        """
        Sizes are in KiB; a process that has just ended has none.
        """
        text = "Name:\tVmHWM\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n"
        self.assertEqual((2 * MIB, MIB, 0), tuple(parse_status(text, key) for key in ("VmHWM", "VmRSS", "VmData")))


class FamilyTests(SynchronousTestCase):
    """
    A server is all of its processes.
    """

    def start(self, program: str) -> subprocess.Popen[str]:
        running = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.addCleanup(running.communicate)
        assert running.stdout is not None
        running.stdout.readline()
        return running

    def test_members(self) -> None:
        """
        Children count, also those that began a session of their own; strangers do not.
        """
        running = self.start(
            "import subprocess, sys\n"
            "child = subprocess.Popen([sys.executable, '-c', 'import sys; sys.stdin.read()'], stdin=subprocess.PIPE,"
            " start_new_session=True)\n"
            "print(child.pid, flush=True)\n"
            "sys.stdin.read()\n"
            "child.communicate()\n"
        )
        members = Family(running.pid).members()
        self.assertEqual(2, len(members))
        self.assertIn(running.pid, {each.pid for each in members})
        self.assertNotIn(os.getpid(), {each.pid for each in members})

    def test_peak(self) -> None:
        """
        The peak tells of memory that was given back, until it is forgotten.
        """
        running = self.start("import sys\nheld = b'x' * (64 << 20)\ndel held\nprint(flush=True)\nsys.stdin.read()\n")
        family = Family(running.pid)
        self.assertGreater(family.peak_bytes() - family.resident_bytes(), 48 * MIB)
        family.forget_peak()
        self.assertLess(family.peak_bytes() - family.resident_bytes(), 16 * MIB)

    def test_cpu(self) -> None:
        """
        Processor time is seen.
        """
        running = self.start(
            "import sys, time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\nsys.stdin.read()\n"
        )
        self.assertGreaterEqual(Family(running.pid).cpu_seconds(), 0.28)
