"""
Upstreams that do what a test says, step by step: one behind the interface, and one behind a socket.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field, frozen
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred, DeferredQueue, maybeDeferred
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import ServerFactory
from twisted.internet.task import deferLater
from twisted.web.http_headers import Headers
from zope.interface import implementer

from glance_cache.errors import UpstreamRefused
from glance_cache.interfaces import ImageFacts, IUpstream, IUpstreamData, UpstreamCredentials
from glance_tx.streaming.buffer import BodyBuffer
from tests.web.raw import RawClient

reactor: Any = global_reactor


@implementer(IUpstreamData)
class ScriptedSource:
    """
    A body that comes as the test says.

    :ivar cancelled: Nobody wants the rest.
    :ivar distrusted: It was found to be wrong.
    :ivar held: The sender is asked to wait.
    """

    def __init__(self, length: int | None) -> None:
        self.length = length
        self.cancelled = False
        self.distrusted = False
        self._buffer = BodyBuffer(length, hold=lambda: None, release=lambda: None)

    @property
    def held(self) -> bool:
        return self._buffer.held

    @property
    def reading(self) -> bool:
        return self._buffer.reading

    async def read(self, at_least: int) -> bytes:
        return await self._buffer.read(at_least)

    def cancel(self) -> None:
        self.cancelled = True

    def distrust(self) -> None:
        self.distrusted = True

    def send(self, data: bytes) -> None:
        self._buffer.write(data)

    def end(self) -> None:
        self._buffer.finish()

    def fail(self, reason: Exception) -> None:
        self._buffer.fail(reason)


@implementer(IUpstream)
@define
class ScriptedUpstream:
    """
    An upstream behind the interface.

    :ivar facts: What it says of each image it lets anybody read.
    :ivar admitted: The one token it takes, or ``None`` where it takes any.
    :ivar says_length: Whether bodies have a length.
    :ivar outcomes: What becomes of the next calls of `open_data`: an exception is raised, a Deferred waited for
        first, a number is the length that the body claims; ``None`` lets it go well, as does an empty list.
    :ivar ready: Data that comes all at once.
    :ivar asked: Calls of `open_data`: credentials and offset.
    :ivar sources: What they returned.
    """

    facts: dict[str, ImageFacts | Exception | None] = field(factory=dict)
    admitted: str | None = None
    records: dict[str, Mapping[str, object] | Exception] = field(factory=dict)
    says_length: bool = True
    outcomes: list[Exception | Deferred[None] | int | None] = field(factory=list)
    ready: dict[str, bytes] = field(factory=dict)
    asked: list[tuple[str | None, int]] = field(factory=list)
    authorized: list[str] = field(factory=list)
    sources: list[ScriptedSource] = field(factory=list)

    async def authorize(self, image_id: str, credentials: UpstreamCredentials) -> ImageFacts | None:
        self.authorized.append(image_id)
        if self.admitted not in {None, credentials.auth_token}:
            raise UpstreamRefused(401, (), b"")
        outcome = self.facts[image_id]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def open_data(
        self, image_id: str, credentials: UpstreamCredentials, offset: int = 0, length: int | None = None
    ) -> IUpstreamData:
        self.asked.append((credentials.auth_token, offset))
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if isinstance(outcome, Deferred):
            await outcome
        if isinstance(outcome, Exception):
            raise outcome
        facts = self.facts[image_id]
        assert isinstance(facts, ImageFacts)
        length = outcome if isinstance(outcome, int) else facts.size - offset
        self.sources.append(ScriptedSource(length if self.says_length else None))
        if image_id in self.ready:
            self.sources[-1].send(self.ready[image_id][offset:])
            self.sources[-1].end()
        return self.sources[-1]

    async def find(
        self, query: Sequence[tuple[str, str]], credentials: UpstreamCredentials, most: int
    ) -> Sequence[str]:
        return list(self.facts)[:most]

    async def show(self, image_id: str, credentials: UpstreamCredentials) -> Mapping[str, object]:
        outcome = self.records[image_id]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@frozen
class RawRequest:
    """
    One request, as it stood on the wire.
    """

    method: str
    target: str
    headers: Headers

    def header(self, name: str) -> str | None:
        lines = self.headers.getRawHeaders(name)
        return None if lines is None else ", ".join(lines)


class RawConnection(RawClient):
    """
    One connection to the upstream: the test reads what came by it, and says what goes back.
    """

    async def request(self) -> RawRequest:
        """
        Take the head of a request.
        """
        head = (await self.bytes_until(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")[:-2]
        method, target, _ = first.split(" ")
        headers = Headers()
        for line in lines:
            name, _, value = line.partition(":")
            headers.addRawHeader(name, value.strip())
        return RawRequest(method, target, headers)

    async def body(self, size: int) -> bytes:
        """
        Take so many bytes.
        """
        while len(self.received) < size:
            await self._change()
        taken, self.received = self.received[:size], self.received[size:]
        return taken

    async def chunked_body(self) -> bytes:
        """
        Take a chunked body, to its end.
        """
        data = b""
        while size := int(await self.bytes_until(b"\r\n"), 16):
            data += await self.body(size)
            await self.bytes_until(b"\r\n")
        await self.bytes_until(b"\r\n")
        return data

    def reply(self, status: int, body: bytes = b"", *lines: str) -> None:
        """
        Send an answer of known length.
        """
        text = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *lines]
        self.send("".join(f"{line}\r\n" for line in [*text, ""]).encode("latin-1") + body)

    def head(self, *lines: str) -> None:
        """
        Send the head of an answer: its status line, and what follows.
        """
        self.send("".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1"))


class RawUpstream(ServerFactory):
    """
    A server whose every byte is the test's.

    :ivar connections: All there were.
    """

    def __init__(self) -> None:
        self.connections: list[RawConnection] = []
        self._accepted: DeferredQueue[RawConnection] = DeferredQueue()
        self._port: IListeningPort = reactor.listenTCP(0, self, interface="127.0.0.1")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port.getHost().port}"  # type: ignore[attr-defined]

    def buildProtocol(self, addr: IAddress | None) -> RawConnection:
        connection = RawConnection()
        self.connections.append(connection)
        self._accepted.put(connection)
        return connection

    def connection(self) -> Deferred[RawConnection]:
        """
        Wait for the next connection.
        """
        return self._accepted.get().addTimeout(10, reactor)

    async def exchange(self) -> tuple[RawConnection, RawRequest]:
        """
        Wait for the next connection, and for the request that it brings.
        """
        connection = await self.connection()
        return connection, await connection.request()

    async def stop(self) -> None:
        """
        Cut everything, and listen no more. Harmless when repeated.
        """
        await maybeDeferred(self._port.stopListening)
        for connection in self.connections:
            if connection.lost is None:
                connection.close()
                await connection.gone()


def byte_range(request: RawRequest) -> tuple[int, int | None]:
    """
    Take a Range header apart.
    """
    matched = re.fullmatch(r"bytes=(\d+)-(\d*)", request.header("Range") or "")
    assert matched is not None, request
    return int(matched[1]), int(matched[2]) if matched[2] else None


async def turns(count: int) -> None:
    """
    Let the reactor turn so many times: for what is not to happen.
    """
    for _ in range(count):
        await deferLater(reactor, 0, lambda: None)
