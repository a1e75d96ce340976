"""
Servers under measurement: started in a session of their own, timed by the kernel.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from attrs import frozen

from usage import Family

__all__ = ["HOST", "ServerFailed", "ServerProcess", "free_port", "server"]

HOST = "127.0.0.1"
START_SECONDS = 60
STOP_SECONDS = 15

_ANSWER_POLL_SECONDS = 0.02

# A checkout is compiled at its first start, as packages are when they are installed: starts are compared.
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


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
    :param start_seconds: From its start to its first answer, to `_ANSWER_POLL_SECONDS`.
    """

    name: str
    port: int
    pid: int
    start_seconds: float = 0.0

    @property
    def family(self) -> Family:
        """
        All its processes.
        """
        return Family(self.pid)

    def cpu_seconds(self) -> float:
        """
        Add up what its living processes have used of processors, in user and in kernel mode, to 10 ms.
        """
        return self.family.cpu_seconds()


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
    *,
    tls: bool = False,
) -> Iterator[ServerProcess]:
    """
    Run a server until the block is left.

    :param log: What it says is added to this file.
    :param folder: In which it is started; ours by default.
    :param tls: Whether it speaks TLS; its certificate may be anything.
    :raises ServerFailed: It does not answer.
    """
    began = time.monotonic()
    with log.open("ab") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**_ENVIRONMENT, **(environment or {})},
            cwd=folder,
            start_new_session=True,
        )
    try:
        _wait_until_up(process, name, partial(_connection, port, tls=tls), log)
        yield ServerProcess(name, port, process.pid, time.monotonic() - began)
    finally:
        _stop(process)


def _connection(port: int, *, tls: bool) -> http.client.HTTPConnection:
    if not tls:
        return http.client.HTTPConnection(HOST, port, timeout=START_SECONDS)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection(HOST, port, timeout=START_SECONDS, context=context)


def _wait_until_up(
    process: subprocess.Popen[bytes], name: str, connect: Callable[[], http.client.HTTPConnection], log: Path
) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        connection = connect()
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
            return
        except (OSError, http.client.HTTPException):
            time.sleep(_ANSWER_POLL_SECONDS)
        finally:
            connection.close()
    said = (log.read_text(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
    raise ServerFailed(f"{name} does not answer: {said} (see {log})")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    finally:
        # Children that did not end with it; none, as a rule.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
