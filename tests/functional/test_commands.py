"""
``make demo``, as somebody meets it who has just cloned the repository.
"""

from __future__ import annotations

import http.client
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Timer

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.ports import free_port

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
END_SECONDS = 120.0
"""A demonstration that takes longer hangs."""


class DemoCase(SynchronousTestCase):
    """
    A demonstration with a folder and ports of its own.
    """

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.api_port, self.cache_port, self.dashboard_port = free_port(), free_port(), free_port()

    def begin(self, **environment: str) -> subprocess.Popen[str]:
        """
        Start a demonstration, which ends with the test.
        """
        process = subprocess.Popen(
            [sys.executable, "-m", "glance_tx.commands.demo"],
            cwd=self.folder,
            env={
                **os.environ,
                "GLANCE_API_PORT": str(self.api_port),
                "GLANCE_CACHE_PORT": str(self.cache_port),
                "DASHBOARD_PORT": str(self.dashboard_port),
                "PYTHONUNBUFFERED": "1",
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        watchdog = Timer(END_SECONDS, process.terminate)
        watchdog.start()
        self.addCleanup(watchdog.cancel)
        self.addCleanup(process.communicate)
        self.addCleanup(process.terminate)
        return process

    def demonstrate(self, **environment: str) -> tuple[int, str, str]:
        """
        Run a demonstration to its end.

        :return: Its exit status, and what it wrote to standard output and standard error.
        """
        process = self.begin(**environment)
        out, err = process.communicate()
        return process.returncode, out, err

    def wait_until_shown(self, process: subprocess.Popen[str]) -> str:
        """
        Wait until a demonstration has shown everything and stays up.

        :return: What it wrote by then.
        """
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "Ctrl-C" in line:
                return "".join(lines)
        raise AssertionError(f"it ended early:\n{''.join(lines)}")

    def assert_refused(self, outcome: tuple[int, str, str], *words: str) -> None:
        """
        See that a demonstration did not begin, and said why in one line.
        """
        status, out, err = outcome
        self.assertEqual((status, out), (1, ""), err)
        (line,) = err.splitlines()
        for word in ("demo: ", *words):
            self.assertIn(word, line)


class DemoTests(DemoCase):
    """
    The demonstration itself.
    """

    def test_once(self) -> None:
        """
        An image goes in and comes out twice, as a fill and as a hit; the hit is counted, and the demonstration ends.
        """
        status, out, err = self.demonstrate(DEMO_ONCE="1")
        self.assertEqual((status, err), (0, ""), out)
        self.assertLess(out.index("upload"), out.index("X-Cache: fill"))
        self.assertLess(out.index("X-Cache: fill"), out.index("X-Cache: hit"))
        self.assertLess(out.index("X-Cache: hit"), out.index("1 counted"))
        self.assertIn(f"http://127.0.0.1:{self.api_port}\n", out)
        self.assertIn(f"http://127.0.0.1:{self.cache_port}\n", out)
        self.assertIn(f"http://127.0.0.1:{self.dashboard_port}/dashboard\n", out)
        self.assertIn((self.folder / "demo-data" / "token").read_text(), out)

    def test_again(self) -> None:
        """
        A second demonstration finds what the first one left, and shows the same.
        """
        for _ in range(2):
            status, out, err = self.demonstrate(DEMO_ONCE="1")
            self.assertEqual((status, err), (0, ""), out)
        self.assertIn("X-Cache: fill", out)
        self.assertIn("1 counted", out)

    def test_end(self) -> None:
        """
        A demonstration stays up, with the page of its node. Ctrl-C ends it: without an error, and with all ports free
        again.
        """
        process = self.begin()
        self.wait_until_shown(process)
        connection = http.client.HTTPConnection("127.0.0.1", self.dashboard_port, timeout=60)
        connection.request("GET", "/dashboard", headers={"Connection": "close"})
        shown = connection.getresponse()
        self.assertEqual((shown.status, b"glance-cache" in shown.read()), (200, True))
        connection.close()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
        self.assertEqual((process.returncode, err), (0, ""))
        for port in (self.api_port, self.cache_port, self.dashboard_port):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))


class DemoRefusalTests(DemoCase):
    """
    What is in the way of a demonstration.
    """

    def test_taken_port(self) -> None:
        """
        Where somebody else has a port, one line names the port, its daemon, and the variable for another one.
        """
        for port, variable in (
            (self.api_port, "GLANCE_API_PORT"),
            (self.cache_port, "GLANCE_CACHE_PORT"),
            (self.dashboard_port, "DASHBOARD_PORT"),
        ):
            with socket.socket() as taken:
                taken.bind(("127.0.0.1", port))
                taken.listen()
                outcome = self.demonstrate(DEMO_ONCE="1")
            self.assert_refused(outcome, f"port {port}", "taken", f"{variable}=")

    def test_bad_port(self) -> None:
        """
        A port that is none is named in one line, with the variable it came from.
        """
        for text in ("none", "0", "65536", "-1", "9292 ", "٣"):
            self.assert_refused(self.demonstrate(DEMO_ONCE="1", GLANCE_CACHE_PORT=text), "GLANCE_CACHE_PORT")

    def test_same_port(self) -> None:
        """
        Both daemons cannot have the same port.
        """
        outcome = self.demonstrate(DEMO_ONCE="1", GLANCE_CACHE_PORT=str(self.api_port))
        self.assert_refused(outcome, "GLANCE_API_PORT", "GLANCE_CACHE_PORT", str(self.api_port))

    def test_bad_folder(self) -> None:
        """
        A folder that cannot be made is named in one line.
        """
        self.assert_refused(self.demonstrate(DEMO_ONCE="1", DEMO_DIR="missing/folder"), "missing/folder")


class PrintedCommandTests(DemoCase):
    """
    The commands that a demonstration offers.
    """

    def test_commands(self) -> None:
        """
        Each printed command works as it is printed, with the clients that it names.
        """
        process = self.begin()
        shown = self.wait_until_shown(process)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OS_")},
            "HOME": str(self.folder),
            "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
        }
        commands = [shlex.split(line) for line in shown.splitlines() if line.startswith("  ")]
        tried = [
            self.try_command(words, environment) for words in commands if words[0] in {"curl", "glance", "openstack"}
        ]
        self.assertEqual(tried, ["curl"] * 3 + ["glance"] * 2 + ["openstack"])
        self.assertEqual((self.folder / "image").stat().st_size, 64 * 1024 * 1024)

    def try_command(self, words: Sequence[str], environment: Mapping[str, str]) -> str:
        program = words[0]
        if shutil.which(program, path=environment["PATH"]) is None:
            raise SkipTest(f"{program} is not installed")
        done = subprocess.run(
            [*words[:1], *(("--fail",) if program == "curl" else ()), *words[1:]],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            check=False,
            timeout=60,
        )
        self.assertEqual(done.returncode, 0, f"{words}\n{done.stdout}\n{done.stderr}")
        return program


class MakeTests(SynchronousTestCase):
    """
    What ``make`` finds out before anything is installed.
    """

    def setUp(self) -> None:
        self.make = shutil.which("make")
        if self.make is None or not (ROOT / "Makefile").exists():
            raise SkipTest("there is no make, or no Makefile")
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def interpreter(self, script: str) -> Path:
        """
        Make something that passes for an interpreter.
        """
        path = self.folder / "python"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    def refusal(self, python: str | Path, path: str | None = None) -> str:
        """
        Ask ``make`` for a demonstration that it has to refuse.

        :return: What it said, less its own last line.
        """
        assert self.make is not None
        done = subprocess.run(
            [
                self.make,
                "-f",
                ROOT / "Makefile",
                "demo",
                f"VENV={self.folder / 'venv'}",
                *([f"PYTHON={python}"] * bool(python)),
            ],
            cwd=self.folder,
            env={"PATH": path or os.environ["PATH"]},
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(done.stdout, "")
        self.assertFalse((self.folder / "venv").exists())
        said, last = done.stderr.splitlines()
        self.assertIn("Error 1", last)
        return said

    def test_old_python(self) -> None:
        """
        An interpreter that is too old is refused, by its name.
        """
        # One that fails at what an old one fails at.
        python = self.interpreter('case "$*" in *version_info*) exit 1;; esac')
        self.assertEqual(self.refusal(python), f"make: {python} is not Python 3.11 or newer")

    def test_no_venv_module(self) -> None:
        """
        An interpreter without the venv module is refused, with what to install.
        """
        python = self.interpreter('case "$*" in *venv*) echo No module named ensurepip >&2; exit 1;; esac')
        said = self.refusal(python)
        self.assertIn(f"{python} lacks the venv module", said)
        self.assertIn("python3-venv", said)

    def test_missing_python(self) -> None:
        """
        An interpreter that is not there is refused, by its name.
        """
        self.assertEqual(self.refusal("python-of-nobody"), "make: there is no program python-of-nobody")

    def test_no_python_at_all(self) -> None:
        """
        Where there is no Python, that is what is said.
        """
        said = self.refusal("", path=str(self.folder))
        self.assertEqual(said, "make: Python 3.11 or newer is needed, and none was found")
