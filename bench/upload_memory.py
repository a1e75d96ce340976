"""
How much a long upload into a slow store makes the process grow.

A server process takes an upload in at the pace of a store; a client process sends it as fast as the server lets it.
The server's resident memory is read from /proc: before the upload, at its peak (the kernel's own high-water mark, so
nothing is missed between two samples), and meanwhile for the progress line.

Exit status 1 where the growth is not below the limit.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.web.resource import IResource

from glance_tx.streaming.units import GiB, MiB
from glance_tx.web.request import Request, make_site
from glance_tx.web.resource import ApplicationResource

_PIECE_BYTES = 1 * MiB
_WARM_UP_BYTES = 1


def main() -> int:
    options = _parse_options()
    if options.serve:
        _serve(options.sink_mib_per_second)
        return 0
    if options.send:
        _send(options.send, options.size_bytes)
        return 0
    return _measure(options)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--gib", type=float, default=2.0, help="size of the upload (default 2)")
    parser.add_argument("--sink-mib-per-second", type=float, default=200.0, help="pace of the store (default 200)")
    parser.add_argument("--limit-mib", type=float, default=64.0, help="growth that is too much (default 64)")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--send", type=int, metavar="PORT", help=argparse.SUPPRESS)
    parser.add_argument("--size-bytes", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


# The server process.


def _serve(sink_mib_per_second: float) -> None:
    site = make_site(_SlowStore(reactor, sink_mib_per_second * MiB).resource(), reactor)
    port = reactor.listenTCP(0, site, interface="127.0.0.1")
    print(port.getHost().port, flush=True)
    reactor.run()


class _SlowStore:
    """
    Takes uploads in, each at the same pace, and forgets them.
    """

    def __init__(self, reactor: Any, bytes_per_second: float) -> None:
        self._reactor = reactor
        self._bytes_per_second = bytes_per_second

    def resource(self) -> IResource:
        return ApplicationResource(self._start)

    def _start(self, request: Request) -> None:
        work = Deferred.fromCoroutine(self._take(request))
        request.notifyFinish().addErrback(lambda _: work.cancel())

    async def _take(self, request: Request) -> None:
        started, received = self._reactor.seconds(), 0
        while piece := await request.body.read(_PIECE_BYTES):
            received += len(piece)
            ahead = started + received / self._bytes_per_second - self._reactor.seconds()
            if ahead > 0:
                await deferLater(self._reactor, ahead)
        answer = b"%d" % received
        request.setHeader(b"Content-Length", b"%d" % len(answer))
        request.write(answer)
        request.finish()


# The client process.


def _send(port: int, size_bytes: int) -> None:
    piece = memoryview(bytes(_PIECE_BYTES))
    with socket.create_connection(("127.0.0.1", port)) as connection:
        head = f"PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size_bytes}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode())
        left = size_bytes
        while left:
            connection.sendall(piece[:left])
            left -= min(left, len(piece))
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    if not answer.startswith(b"HTTP/1.1 200 ") or not answer.endswith(b"%d" % size_bytes):
        raise SystemExit(f"the upload was answered with {answer!r}")


# The measuring process.


def _measure(options: argparse.Namespace) -> int:
    script = [sys.executable, str(Path(__file__).resolve())]
    server = subprocess.Popen(
        [*script, "--serve", "--sink-mib-per-second", str(options.sink_mib_per_second)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        port = server.stdout.readline().strip()
        if not port:
            raise SystemExit("the server did not start")
        # The first request loads what every process loads once; growth is what comes on top of that.
        subprocess.run([*script, "--send", port, "--size-bytes", str(_WARM_UP_BYTES)], check=True)
        idle = _memory(server.pid, "VmRSS")
        _forget_peak(server.pid)
        size_bytes = int(options.gib * GiB)
        client = subprocess.Popen([*script, "--send", port, "--size-bytes", str(size_bytes)])
        seconds = _watch(client, server.pid)
        peak = _memory(server.pid, "VmHWM")
    finally:
        server.terminate()
        server.wait()
    growth = peak - idle
    small_enough = growth < options.limit_mib * MiB and client.returncode == 0
    print(
        f"uploaded {options.gib:g} GiB in {seconds:.1f} s ({size_bytes / MiB / seconds:.0f} MiB/s)\n"
        f"resident memory: idle {idle / MiB:.1f} MiB, peak {peak / MiB:.1f} MiB, growth {growth / MiB:.1f} MiB\n"
        f"growth below {options.limit_mib:g} MiB: {'yes' if small_enough else 'NO'}"
    )
    return 0 if small_enough else 1


def _watch(client: subprocess.Popen[bytes], server_pid: int) -> float:
    started = time.monotonic()
    while True:
        try:
            client.wait(timeout=2)
        except subprocess.TimeoutExpired:
            resident = _memory(server_pid, "VmRSS") / MiB
            print(f"  after {time.monotonic() - started:5.1f} s: {resident:.1f} MiB resident", flush=True)
        else:
            return time.monotonic() - started


def _memory(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"/proc has no {field} for process {pid}")


def _forget_peak(pid: int) -> None:
    descriptor = os.open(f"/proc/{pid}/clear_refs", os.O_WRONLY)
    try:
        os.write(descriptor, b"5")
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
