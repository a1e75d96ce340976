"""
A client that sends what it is told, byte for byte, and takes answers at the pace it is told.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from glance_tx.streaming.units import KiB


@frozen
class Answer:
    """One answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes


class WireClient(Protocol):
    """
    Keeps what it receives; waits for conditions on it.

    :ivar received: Everything that came and was not taken out by `answer`.
    :ivar total: Bytes that came.
    :ivar lost: Why the connection ended, once it did.
    """

    def __init__(self) -> None:
        self.received = bytearray()
        self.total = 0
        self.lost: Failure | None = None
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []
        self._pause_at: int | None = None

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self.total += len(data)
        if self._pause_at is not None and self.total >= self._pause_at:
            self.pause()
        self._look()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason
        self._look()

    def _look(self) -> None:
        for entry in [entry for entry in self._waiting if entry[0]()]:
            self._waiting.remove(entry)
            entry[1].callback(None)

    def send(self, *lines: bytes) -> None:
        """Send a head: these lines, and an empty one."""
        self.transport.write(b"\r\n".join((*lines, b"", b"")))

    def get(self, path: bytes, *headers: bytes, method: bytes = b"GET") -> None:
        """Send a request without a body."""
        self.send(method + b" " + path + b" HTTP/1.1", b"Host: test", *headers)

    def take_little(self) -> None:
        """Let the kernel take little more than the client itself does."""
        with socket.socket(fileno=os.dup(self.transport.fileno())) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * KiB)

    def pause(self) -> None:
        """Take nothing from the socket."""
        self._pause_at = None
        self.transport.pauseProducing()

    def resume(self, up_to: int | None = None) -> None:
        """Take what comes, or pause again after so many more bytes, and what came with them."""
        self._pause_at = None if up_to is None else self.total + up_to
        self.transport.resumeProducing()

    def abort(self) -> None:
        """Break the connection, if there still is one."""
        if self.lost is None:
            self.transport.abortConnection()

    def until(self, condition: Callable[[], bool]) -> Deferred[None]:
        """Wait for a condition, looked at whenever something comes."""
        done: Deferred[None] = Deferred()
        self._waiting.append((condition, done))
        self._look()
        return done

    async def closed(self) -> BaseException:
        """Wait for the end of the connection, and tell the reason."""
        await self.until(lambda: self.lost is not None)
        assert self.lost is not None
        return self.lost.value

    async def head(self) -> tuple[int, dict[str, str]]:
        """Wait for the head of the next answer, and take it out."""
        await self.until(lambda: b"\r\n\r\n" in self.received or self.lost is not None)
        head, found, rest = bytes(self.received).partition(b"\r\n\r\n")
        assert found, f"the connection ended in the head: {head!r}"
        self.received = bytearray(rest)
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return int(status.split(" ")[1]), headers

    async def answer(self, *, to_head: bool = False) -> Answer:
        """Wait for the next answer with a Content-Length, and take it out."""
        status, headers = await self.head()
        size = 0 if to_head else int(headers["content-length"])
        await self.until(lambda: len(self.received) >= size or self.lost is not None)
        assert len(self.received) >= size, f"the connection ended after {len(self.received)} of {size} bytes"
        body = bytes(self.received[:size])
        del self.received[:size]
        return Answer(status, headers, body)
