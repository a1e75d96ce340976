"""
What `discard.c` does, where there is no compiler: the same words, the same answer, a thread for every client.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import socket
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

_PIECE_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 16
_PACE_SECONDS = 0.02
_HEAD_BYTES = 16 << 10


class Client:
    """
    One client.

    :param options: As the head of `discard.c` says.
    """

    def __init__(self, options: argparse.Namespace, url: str) -> None:
        self.status = -1
        self.bytes = self.requests = 0
        self.first = self.last = 0.0
        self.cache = ""
        self._options = options
        self._url = urlsplit(url)
        self._began = time.monotonic()
        self._buffer = bytearray(_PIECE_BYTES)

    def run(self) -> None:
        """
        Do everything, and remember how it went.
        """
        try:
            self._requests()
        except OSError as error:
            self.status = -(error.errno or 1)
        self.last = time.monotonic()

    def facts(self) -> dict[str, object]:
        """
        Tell how it went.
        """
        names = ("status", "bytes", "requests", "first", "last", "cache")
        return {name: getattr(self, name) for name in names}

    def _requests(self) -> None:
        connection: socket.socket | None = None
        try:
            while True:
                connection = connection or self._connect()
                if not self._request(connection):
                    connection.close()
                    connection = None
                over = time.monotonic() - self._began >= self._options.seconds
                if self._options.mode != "ranges" or self.status != 206 or over:
                    return
        finally:
            if connection is not None:
                connection.close()

    def _connect(self) -> socket.socket:
        connection = socket.socket()
        buffer = 128 << 10 if self._options.pace else 4 << 20
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        connection.settimeout(self._options.limit)
        connection.connect((str(self._url.hostname), self._url.port or 80))
        return connection

    def _request(self, connection: socket.socket) -> bool:
        connection.sendall(self._head())
        if self._options.mode == "put":
            self._send(connection)
        head, rest = _read_head(connection)
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
        self.status = int(head[0].split()[1])
        self.cache = headers.get("x-cache", "").split()[0] if headers.get("x-cache") else ""
        length = 0 if self.status == 204 else int(headers.get("content-length", -1))
        self._count(len(rest))
        if self._receive(connection, length, len(rest)) or length < 0:
            self.requests += 1
        else:
            self.status = -1
        return length >= 0 and headers.get("connection", "").lower() != "close"

    def _head(self) -> bytes:
        options, lines = self._options, list(self._options.header)
        if options.mode == "ranges":
            at = random.randrange(options.size - options.span)
            lines.append(f"Range: bytes={at}-{at + options.span - 1}")
        else:
            lines.append("Connection: close")
        if options.mode == "put":
            size = options.file.stat().st_size
            lines.append("Transfer-Encoding: chunked" if options.chunked else f"Content-Length: {size}")
            lines.append("Content-Type: application/octet-stream")
        method = "PUT" if options.mode == "put" else "GET"
        target = self._url.path + (f"?{self._url.query}" if self._url.query else "")
        return "\r\n".join([f"{method} {target} HTTP/1.1", f"Host: {self._url.netloc}", *lines, "", ""]).encode()

    def _send(self, connection: socket.socket) -> None:
        with self._options.file.open("rb") as data:
            if not self._options.chunked:
                connection.sendfile(data)
                return
            while piece := data.read(_CHUNK_BYTES):
                connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            connection.sendall(b"0\r\n\r\n")

    def _receive(self, connection: socket.socket, length: int, got: int) -> bool:
        while got != length:
            if self._options.pace:
                time.sleep(max(_PACE_SECONDS, self._began + self.bytes / self._options.pace - time.monotonic()))
            most = min(_PIECE_BYTES, length - got) if length > 0 else _PIECE_BYTES
            count = connection.recv_into(self._buffer, most, socket.MSG_TRUNC)
            if not count:
                return False
            got += count
            self._count(count)
        return True

    def _count(self, count: int) -> None:
        if count and not self.first:
            self.first = time.monotonic()
        self.bytes += count


def _read_head(connection: socket.socket) -> tuple[list[str], bytes]:
    head = b""
    while b"\r\n\r\n" not in head:
        more = connection.recv(_HEAD_BYTES)
        if not more:
            raise ConnectionResetError(1, "no whole answer")
        head += more
    lines, _, rest = head.partition(b"\r\n\r\n")
    return lines.decode("latin-1").split("\r\n"), rest


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mode", choices=("get", "ranges", "put"))
    parser.add_argument("-n", dest="count", type=int, default=1)
    parser.add_argument("-p", dest="pace", type=int, default=0)
    parser.add_argument("-t", dest="limit", type=float, default=600)
    parser.add_argument("-l", dest="span", type=int, default=1 << 16)
    parser.add_argument("-z", dest="size", type=int, default=0)
    parser.add_argument("-s", dest="seconds", type=float, default=0)
    parser.add_argument("-c", dest="chunked", action="store_true")
    parser.add_argument("-f", dest="file", type=Path)
    parser.add_argument("-H", dest="header", action="append", default=[])
    parser.add_argument("urls", nargs="+")
    return parser.parse_args()


def main() -> int:
    """
    Run all clients.
    """
    options = parse_options()
    began = time.monotonic()
    clients = [Client(options, options.urls[number % len(options.urls)]) for number in range(options.count)]
    threads = [threading.Thread(target=client.run, daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, began + options.limit - time.monotonic()))
    ended, used = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
    found = {"began": began, "ended": ended, "cpu_seconds": used.ru_utime + used.ru_stime}
    print(json.dumps({**found, "clients": [client.facts() for client in clients]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
