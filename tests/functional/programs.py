"""
Programs written in Python, run many times without paying for their start each time.

The command lines of OpenStack take a second or more of CPU to import what they need. Here one process imports them,
and each command runs in a fork of it, by the same function that the installed script calls, with arguments,
environment, standard streams and exit status of its own. `tests.functional.test_clients` runs the scripts themselves.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any, Final

from attrs import frozen

__all__ = ["GLANCE", "OPENSTACK", "Outcome", "Program", "Runner"]

TIMEOUT_SECONDS: Final = 120.0


@frozen
class Program:
    """
    One program.

    :param module: Where its ``main`` is.
    :param imports: What else it will need, so that it is imported once.
    """

    name: str
    module: str
    imports: tuple[str, ...] = ()


# Not its v2.shell: that makes its options, when it is imported, of the schema in the user's home.
GLANCE: Final = Program("glance", "glanceclient.shell", ("glanceclient.v2.client",))
OPENSTACK: Final = Program(
    "openstack",
    "openstackclient.shell",
    ("openstackclient.image.v2.image", "openstackclient.image.v2.cache", "openstackclient.image.client", "openstack"),
)


@frozen
class Outcome:
    """
    What a command came to.
    """

    status: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        """
        What it printed.
        """
        return self.out.decode()


class Runner:
    """
    Runs programs.

    :param folder: Where they run, find their home, and leave what they print.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._context: ForkServerContext = multiprocessing.get_context("forkserver")
        # Only the first preload of a test run counts: so all programs are in each of them.
        modules = [module for program in (GLANCE, OPENSTACK) for module in (program.module, *program.imports)]
        self._context.set_forkserver_preload([*modules, "tests.functional.preloaded"])

    def run(
        self,
        program: Program,
        arguments: Sequence[str | Path],
        environment: Mapping[str, str],
        stdin: bytes | None = None,
    ) -> Outcome:
        """
        Run one command.

        :param environment: In addition to that of the tests.
        :param stdin: What it reads; these clients upload what they find there. Without it, they are at a terminal.
        """
        own = {"HOME": str(self._folder), "PYTHONWARNINGS": "ignore", "COLUMNS": "200"}
        streams = [self._folder / name for name in ("stdin", "stdout", "stderr")]
        streams[0].write_bytes(stdin or b"")
        argv = [program.name, *map(str, arguments)]
        process = self._context.Process(
            target=_become,
            args=(program.module, argv, {**os.environ, **own, **environment}, streams, stdin is not None),
        )
        process.start()
        process.join(TIMEOUT_SECONDS)
        if process.exitcode is None:
            process.kill()
            process.join()
        assert process.exitcode is not None
        return Outcome(process.exitcode, streams[1].read_bytes(), streams[2].read_text(errors="replace"))


def _become(module: str, argv: list[str], environment: dict[str, str], streams: list[Path], reads: bool) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(streams[1].parent)
    # A terminal that nobody types at, where there is nothing to read.
    os.dup2(os.open(streams[0], os.O_RDONLY) if reads else os.openpty()[1], 0)
    for number in (1, 2):
        os.dup2(os.open(streams[number], os.O_WRONLY | os.O_TRUNC | os.O_CREAT, 0o600), number)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", closefd=False)
    sys.argv = argv
    main: Any = importlib.import_module(module).main
    sys.exit(main())
