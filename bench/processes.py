"""
Servers under measurement: started in a session of their own, timed by the kernel.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

__all__ = ["HOST", "ServerFailed", "ServerProcess", "free_port", "server"]

HOST = "127.0.0.1"
START_SECONDS = 60
STOP_SECONDS = 15

_TICKS = os.sysconf("SC_CLK_TCK")
# Of /proc/<pid>/stat, counted from behind the program's name, which may have blanks.
_SESSION, _USER_TICKS, _SYSTEM_TICKS = 3, 11, 12


class ServerFailed(Exception):
    """
    A server did not start, or not in time.
    """


@frozen
class ServerProcess:
    """
    A server with all its processes.

    :param name: What tables call it.
    :param port: Where it answers, at `HOST`.
    :param pid: Of the process that was started: the leader of a session that all its children are in.
    """

    name: str
    port: int
    pid: int

    def cpu_seconds(self) -> float:
        """
        Add up what its living processes have used of processors, in user and in kernel mode, to 10 ms.
        """
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                facts = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it ended meanwhile
            if int(facts[_SESSION]) == self.pid:
                ticks += int(facts[_USER_TICKS]) + int(facts[_SYSTEM_TICKS])
        return ticks / _TICKS


def free_port() -> int:
    """
    Find a port that nobody listens on.
    """
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def server(
    name: str,
    command: Sequence[str | Path],
    port: int,
    log: Path,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Iterator[ServerProcess]:
    """
    Run a server until the block is left.

    :param log: What it says is added to this file.
    :param folder: In which it is started; ours by default.
    :raises ServerFailed: It does not answer.
    """
    with log.open("ab") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**os.environ, **(environment or {})},
            cwd=folder,
            start_new_session=True,
        )
    try:
        _wait_until_up(process, name, port, log)
        yield ServerProcess(name, port, process.pid)
    finally:
        _stop(process)


def _wait_until_up(process: subprocess.Popen[bytes], name: str, port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection(HOST, port, timeout=START_SECONDS)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
            return
        except (OSError, http.client.HTTPException):
            time.sleep(0.1)
        finally:
            connection.close()
    said = (log.read_text(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
    raise ServerFailed(f"{name} does not answer: {said} (see {log})")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
