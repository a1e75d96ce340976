"""
What is installed from a wheel, where no checkout is at hand.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import IO

from twisted.trial.unittest import SynchronousTestCase

from glance_tx import __version__
from tests.functional.peers import made_once

ROOT = Path(__file__).parents[2]
PLUGINS = {"twisted/plugins/glance_tx_plugin.py", "twisted/plugins/glance_cache_plugin.py"}


def run(command: Sequence[str | Path], folder: Path) -> str:
    """
    Run a program in a folder, with nothing in its environment that leads back to the checkout.

    :return: What it wrote to standard output.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    if done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


@cache
def folder() -> Path:
    """
    Make a folder outside of the checkout, for as long as the tests run, which all processes of a test run share.
    """
    # They have the one parent. A shell, where the tests are a single process.
    path = Path(tempfile.gettempdir()) / f"glance-tx-wheel-{os.getppid()}"
    lock = path.with_suffix(".users").open("w")
    fcntl.flock(lock, fcntl.LOCK_SH)
    path.mkdir(mode=0o700, exist_ok=True)
    atexit.register(leave, path, lock)
    return path


def leave(path: Path, lock: IO[str]) -> None:
    """
    Remove the folder, if no other process uses it.
    """
    fcntl.flock(lock, fcntl.LOCK_UN)
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
        Path(lock.name).unlink(missing_ok=True)


@cache
def wheel() -> Path:
    """
    Build the wheel, once for all tests.
    """
    built = folder() / "built"
    made_once(built, lambda place: run([sys.executable, "-m", "build", "--wheel", "--outdir", place, ROOT], folder()))
    (found,) = built.glob("*.whl")
    return found


@cache
def programs() -> Path:
    """
    Install the wheel into an empty environment, with the dependencies it names, once for all tests.

    :return: The folder of the environment's programs.
    """
    environment = folder() / "environment"

    def install(place: Path) -> None:
        venv.create(place)
        # Most of what is installed is never imported, so none of it is compiled.
        run([*pip(place / "bin"), "install", "--quiet", "--no-compile", wheel()], folder())

    made_once(environment, install)
    return environment / "bin"


def pip(environment: Path) -> list[str | Path]:
    """
    Make the beginning of a command that manages an environment, which needs no pip of its own for it.
    """
    return [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", environment / "python"]


class WheelContentTests(SynchronousTestCase):
    """
    What lies in the wheel.
    """

    def setUp(self) -> None:
        with zipfile.ZipFile(wheel()) as archive:
            self.names = set(archive.namelist())
            metadata = next(name for name in self.names if name.endswith(".dist-info/METADATA"))
            self.metadata = archive.read(metadata).decode()

    def test_modules(self) -> None:
        """
        The wheel carries every module of both packages, and the migrations among them.
        """
        there = {
            path.relative_to(base).as_posix()
            for base, package in ((ROOT, "glance_tx"), (ROOT / "proxy", "glance_cache"))
            for path in (base / package).rglob("*.py")
        }
        carried = {name for name in self.names if name.startswith(("glance_tx/", "glance_cache/"))}
        self.assertEqual(there - carried, set())
        self.assertIn("glance_tx/db/migrations/env.py", carried)
        self.assertTrue(any(name.startswith("glance_tx/db/migrations/versions/v") for name in carried))

    def test_plugins(self) -> None:
        """
        Of ``twisted``, the wheel carries the two plugins and nothing that could hide Twisted itself.
        """
        self.assertEqual({name for name in self.names if name.startswith("twisted/")}, PLUGINS)

    def test_types(self) -> None:
        """
        Both packages say that they are typed.
        """
        self.assertLessEqual({"glance_tx/py.typed", "glance_cache/py.typed"}, self.names)

    def test_dashboard(self) -> None:
        """
        The wheel carries every part of the page on which a node is seen.
        """
        base = ROOT / "proxy"
        parts = {path.relative_to(base).as_posix() for path in (base / "glance_cache/dashboard/page").iterdir()}
        self.assertIn("glance_cache/dashboard/page/index.html", parts)
        self.assertLessEqual(parts, self.names)

    def test_license(self) -> None:
        """
        The license comes along, as a file and by its name.
        """
        self.assertTrue(any(name.endswith(".dist-info/licenses/LICENSE") for name in self.names))
        self.assertIn("License-Expression: Apache-2.0\n", self.metadata)

    def test_nothing_else(self) -> None:
        """
        Tests, benchmarks and documentation stay in the checkout.
        """
        folders = {name.partition("/")[0] for name in self.names}
        packages = {folder for folder in folders if not folder.endswith(".dist-info")}
        self.assertEqual(packages, {"glance_tx", "glance_cache", "twisted"})

    def test_version(self) -> None:
        """
        The wheel has the version that the package says it has.
        """
        self.assertIn(f"\nVersion: {__version__}\n", self.metadata)


class InstalledWheelTests(SynchronousTestCase):
    """
    The wheel, installed.
    """

    def test_twistd(self) -> None:
        """
        ``twistd`` knows both daemons by their names.
        """
        listed = [line.split(maxsplit=1) for line in run([programs() / "twistd", "--help"], folder()).splitlines()]
        commands = {words[0] for words in listed if words}
        self.assertLessEqual({"glance-api", "glance-cache"}, commands)

    def test_daemons(self) -> None:
        """
        Each daemon can be asked for its options, so its module and all that it needs are there.
        """
        for name in ("glance-api", "glance-cache"):
            self.assertIn("--config-file", run([programs() / "twistd", name, "--help"], folder()))

    def test_dashboard(self) -> None:
        """
        The page is found by what was installed.
        """
        script = "from glance_cache.dashboard.routes import DashboardRoutes; DashboardRoutes(None); print('found')"
        self.assertEqual(run([programs() / "python", "-c", script], folder()), "found\n")

    def test_migrations(self) -> None:
        """
        An empty database is migrated by what was installed.
        """
        url = f"sqlite:///{folder() / 'images.sqlite'}"
        script = f"from glance_tx.db.migrate import upgrade; upgrade({url!r}); print('migrated')"
        self.assertEqual(run([programs() / "python", "-c", script], folder()), "migrated\n")

    def test_dependencies(self) -> None:
        """
        Everything installed fits together.
        """
        run([*pip(programs()), "check"], folder())
