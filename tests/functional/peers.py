"""
Programs of others, from PyPI, each in an environment of its own.

They are installed once, into the folder that ``GLANCE_TX_TEST_PEERS`` names, or into one in the user's cache.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

__all__ = ["PeerMissing", "clean_environment", "installed", "made_once", "run"]

INSTALL_SECONDS = 900


class PeerMissing(Exception):
    """
    There is none to be had on this machine.
    """


@cache
def installed(name: str, requirements: tuple[str, ...]) -> Path:
    """
    Install packages, unless they are there; return the interpreter that has them.

    :param name: Of the environment.
    :raises PeerMissing: They cannot be installed.
    """
    place = Path(os.environ.get("GLANCE_TX_TEST_PEERS") or _user_cache())
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    wanted = hashlib.sha256(" ".join(requirements).encode()).hexdigest()[:8]
    folder = place / f"{name}-{version}-{wanted}"
    python = folder / "bin" / "python"

    def install(folder: Path) -> None:
        run([sys.executable, "-m", "venv", folder], clean_environment(), INSTALL_SECONDS, place)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
        run(pip, clean_environment(), INSTALL_SECONDS, place)

    made_once(folder, install)
    return python


def made_once(folder: Path, make: Callable[[Path], object]) -> None:
    """
    Make a folder and what is in it, unless that was done to the end before, by whatever process.
    """
    stamp = folder / "installed"
    with _locked(folder.with_name(f"{folder.name}.lock")):
        if not stamp.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            stamp.touch()


def clean_environment() -> Mapping[str, str]:
    """
    The environment without what would lead another interpreter, or a client of a cloud, astray.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "OS_")) and name != "VIRTUAL_ENV"
    }


def run(command: Sequence[str | Path], environment: Mapping[str, str], seconds: float, folder: Path) -> None:
    """
    Run a program to its end.

    :raises PeerMissing: It failed, or took longer than so many seconds.
    """
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, env=environment, cwd=folder, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerMissing(f"{command[0]}: {error}") from error
    if done.returncode:
        words = " ".join(str(word) for word in command)
        raise PeerMissing(f"{words} ended with {done.returncode}: {done.stderr[-2000:]}")


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "glance_tx-tests"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
