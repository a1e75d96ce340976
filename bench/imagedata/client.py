"""
The load client: `discard.c`, compiled when it is needed, or `discard.py` where there is no compiler.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

__all__ = ["ClientFailed", "Load", "LoadClient", "Outcome", "parse_load"]

_SOURCE = Path(__file__).with_name("discard.c")
_FALLBACK = Path(__file__).with_name("discard.py")

BUSY = 0.9
"""The part of a round that the client computes from which on it is what was measured: it has one thread."""


class ClientFailed(Exception):
    """
    Requests were not answered as they should be.
    """


@frozen
class Outcome:
    """
    What became of one client.

    :param status: Of its last answer; below 0 where there was none, or not a whole one.
    :param bytes: Of all bodies that it got.
    :param requests: That were answered to the end.
    :param first: When the first byte of a body came, 0 where none did; as `time.monotonic` counts.
    :param last: When it was done, 0 where it was not.
    :param cache: What the last answer's ``X-Cache`` said.
    """

    status: int
    bytes: int
    requests: int
    first: float
    last: float
    cache: str


@frozen
class Load:
    """
    One run of the client.
    """

    began: float
    ended: float
    cpu_seconds: float
    clients: Sequence[Outcome]

    @property
    def seconds(self) -> float:
        """
        How long it took.
        """
        return self.ended - self.began

    @property
    def bytes(self) -> int:
        """
        Of all bodies.
        """
        return sum(each.bytes for each in self.clients)

    @property
    def requests(self) -> int:
        """
        Of all clients.
        """
        return sum(each.requests for each in self.clients)

    @property
    def first_byte_seconds(self) -> float:
        """
        When the last of the clients got its first byte.
        """
        return max(each.first for each in self.clients) - self.began

    @property
    def last_byte_seconds(self) -> float:
        """
        When the last of the clients got its last byte.
        """
        return max(each.last for each in self.clients) - self.began

    @property
    def busy(self) -> float:
        """
        The part of the time in which the client computed.
        """
        return self.cpu_seconds / self.seconds if self.seconds else 0.0

    def require(self, statuses: Sequence[int], size_bytes: int | None = None, cache: str | None = None) -> Load:
        """
        See that every client got what it should.

        :param size_bytes: Of each client's bodies together.
        :param cache: What ``X-Cache`` must have said, in capitals or not.
        :raises ClientFailed: One did not.
        """
        for each in self.clients:
            wrong = each.status not in statuses or (size_bytes is not None and each.bytes != size_bytes)
            if wrong or (cache is not None and each.cache.lower() != cache):
                raise ClientFailed(f"expected {list(statuses)}, {size_bytes} bytes, X-Cache {cache}; got {each}")
        return self


def parse_load(text: str) -> Load:
    """
    Read what the client prints.
    """
    found = json.loads(text)
    return Load(found["began"], found["ended"], found["cpu_seconds"], [Outcome(**each) for each in found["clients"]])


@frozen
class LoadClient:
    """
    A client that can be run.

    :param command: How.
    :param is_compiled: Whether it is the one in C.
    """

    command: Sequence[str]
    is_compiled: bool

    @classmethod
    def make(cls, folder: Path) -> LoadClient:
        """
        Compile it into a folder; where that does not work, take the one in Python.
        """
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        program = folder / "discard"
        if compiler is not None:
            run = subprocess.run([compiler, "-O2", "-o", program, _SOURCE], check=False, capture_output=True)
            if run.returncode == 0:
                return cls([str(program)], is_compiled=True)
        return cls([sys.executable, str(_FALLBACK)], is_compiled=False)

    def run(self, words: Sequence[object]) -> Load:
        """
        Run it to its end.

        :param words: As the head of `discard.c` says.
        :raises ClientFailed: It did not understand them.
        """
        with self.started(words) as running:
            output, _ = running.communicate()
        return self.read(running, output)

    @contextmanager
    def started(self, words: Sequence[object]) -> Iterator[subprocess.Popen[str]]:
        """
        Run it beside other things; it is ended with the block.
        """
        command = [*self.command, *map(str, words)]
        running = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        try:
            yield running
        finally:
            running.kill()
            running.wait()

    @staticmethod
    def read(running: subprocess.Popen[str], output: str) -> Load:
        """
        Read what an ended client printed.
        """
        if running.returncode or not output:
            raise ClientFailed(f"the load client ended with status {running.returncode}")
        return parse_load(output)
