"""
A line of limited speed to an upstream, and a count of what goes over it.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from attrs import define, field

from processes import HOST, free_port

__all__ = ["Relay", "relay"]

_PIECE_BYTES = 256 * 1024
_HEAD_BYTES = 64 * 1024


@define
class Relay:
    """
    Passes requests on, one for each connection, and the answers back at a common speed.

    :param port: Where it listens.
    :param upstream_port: Where the requests go.
    :param bytes_per_second: Of all answers together.
    :ivar transfers: GET requests of image data since `forget`.
    :ivar data_bytes: Of their answers, heads included.
    :ivar first_byte: When the first byte of a body came from the upstream, as `time.monotonic` counts; 0 for never.
    """

    port: int
    upstream_port: int
    bytes_per_second: float
    transfers: int = 0
    data_bytes: int = 0
    first_byte: float = 0.0
    _due: float = 0.0
    _lock: threading.Lock = field(factory=threading.Lock)

    def forget(self) -> None:
        """
        Count from zero.
        """
        with self._lock:
            self.transfers, self.data_bytes, self.first_byte = 0, 0, 0.0

    def serve(self, listening: socket.socket) -> None:
        """
        Take connections until the socket is shut down.
        """
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=self._connection, args=(client,), daemon=True).start()

    def _connection(self, client: socket.socket) -> None:
        # Either side may leave at any time; that the other one then finds its connection closed is all it takes.
        with client, suppress(OSError):
            head = _read_head(client)
            if not head:
                return
            with socket.create_connection((HOST, self.upstream_port)) as upstream:
                upstream.sendall(_closing(head))
                is_data = head.startswith(b"GET ") and b"/file" in head.split(b"\r\n", 1)[0]
                self._answer(upstream, client, is_data)

    def _answer(self, upstream: socket.socket, client: socket.socket, is_data: bool) -> None:
        if is_data:
            with self._lock:
                self.transfers += 1
        head = _read_head(upstream)
        self._note(len(head), is_data, body=not head.endswith(b"\r\n\r\n"))
        client.sendall(head)
        read_end, write_end = os.pipe()
        try:
            # Without copying, for this must not be what is slow.
            while count := os.splice(upstream.fileno(), write_end, _PIECE_BYTES):
                self._note(count, is_data, body=True)
                while count:
                    count -= os.splice(read_end, client.fileno(), count)
        finally:
            os.close(read_end)
            os.close(write_end)

    def _note(self, count: int, is_data: bool, body: bool) -> None:
        with self._lock:
            now = time.monotonic()
            if is_data:
                self.data_bytes += count
                if body and not self.first_byte:
                    self.first_byte = now
            self._due = max(self._due, now) + count / self.bytes_per_second
            wait = self._due - now
        time.sleep(wait)


def _read_head(connection: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _HEAD_BYTES:
        more = connection.recv(4096)
        if not more:
            break
        head += more
    return head


def _closing(head: bytes) -> bytes:
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([lines[0], b"Connection: close", *lines[1:]])


@contextmanager
def relay(upstream_port: int, bytes_per_second: float) -> Iterator[Relay]:
    """
    Run one until the block is left.
    """
    port = free_port()
    running = Relay(port, upstream_port, bytes_per_second)
    with socket.create_server((HOST, port), backlog=128) as listening:
        thread = threading.Thread(target=running.serve, args=(listening,), daemon=True)
        thread.start()
        try:
            yield running
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()
