"""
A minute of everything at once, on real daemons and a real Redis: ``bench/soak.py``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.services import own_redis

SOAK = Path(__file__).parents[2] / "bench" / "soak.py"
SECONDS = 45
SLOPE_MIB = 90
"""A minute tells little of memory: buffers of transfers come and go. The long run is the one to trust."""


class SoakTests(SynchronousTestCase):
    """
    Both daemons under full load.
    """

    timeout = 300

    def test_short(self) -> None:
        """
        Uploads, downloads, ranges, clients that leave, and deletions at the same time: no wrong byte, nothing left
        over, and no error in a log.
        """
        folder = Path(self.mktemp()).absolute()
        options = {"--seconds": SECONDS, "--slope-mib": SLOPE_MIB, "--redis": own_redis(self).url, "--folder": folder}
        command = [sys.executable, SOAK, *(str(word) for option in options.items() for word in option)]
        run = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        self.assertEqual(run.returncode, 0, f"{run.stdout}\n{run.stderr}")
