"""
One connection to an upstream, between its socket and Twisted's HTTP client.

Note [Early answers]

A server may answer an upload before it has all of it: 409, 413. Twisted's client gives such an answer out only when it
is whole, and yet stops reading after its head; so an answer whose body comes a moment later would wait until the
upload is over, which a server that has answered no longer takes. The connection therefore goes on reading a short
answer while a request is being sent. And where the client closes a connection whose request is not all sent, a plain
close would wait for the rest of it, which nobody produces any more: this one cuts the connection.
"""

# Twisted left the methods of its protocols untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, cast

from twisted.internet.interfaces import IProducer, IProtocol, ISSLTransport, ITCPTransport
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory

from glance_tx.streaming.units import KiB, MiB

__all__ = ["ConnectionFactory", "UpstreamConnection", "clean_head"]

_EARLY_BYTES: Final = 1 * MiB
"""The most of an early answer that is taken into memory. Error pages are shorter by far."""

_HEAD_BYTES: Final = 64 * KiB
"""A head that is longer is handed on as it is; the client has limits of its own."""

_LINE_END: Final = re.compile(rb"\r?\n")
_END_OF_HEAD: Final = re.compile(rb"\r?\n\r?\n")
_INTERIM: Final = re.compile(rb"HTTP/1\.[0-9] +1[0-9][0-9]\b")
# What frames a message stays, whatever Connection says of it.
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})


class UpstreamConnection(ProtocolWrapper):
    """
    A connection that does what its HTTP client leaves undone.

    See Note [Early answers]. Besides that it removes from an answer the header lines that its Connection header names:
    the client keeps that header to itself, so that nobody behind it can.
    """

    transport: Any
    wrappedProtocol: IProtocol

    def __init__(self, factory: WrappingFactory[UpstreamConnection], wrapped: IProtocol) -> None:
        super().__init__(factory, wrapped)
        self._upload: IProducer | None = None
        self._held = False
        self._early_bytes = 0
        # What has come of an answer's head; None within a body.
        self._head: bytes | None = None

    # What comes in.

    def dataReceived(self, data: bytes) -> None:
        """
        Take in a part of an answer.
        """
        if self._held:
            self._early_bytes += len(data)
            if self._early_bytes > _EARLY_BYTES:
                self._held = False
                self.transport.pauseProducing()
        if self._head is not None:
            data = self._take_head(self._head + data)
        if data:
            self.wrappedProtocol.dataReceived(data)

    def _take_head(self, data: bytes) -> bytes:
        """
        Look for the end of a head.

        :return: What the client may see by now.
        """
        clean = b""
        while (end := _END_OF_HEAD.search(data)) is not None:
            head, data = data[: end.end()], data[end.end() :]
            clean += clean_head(head)
            if _INTERIM.match(head) is None:
                self._head = None
                return clean + data
        if len(data) > _HEAD_BYTES:
            self._head = None
            return clean + data
        self._head = data
        return clean

    # For the client.

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """
        Send some bytes.
        """
        # The head of a request goes out by this call, and before its body is announced.
        if self._upload is None:
            self._head = b""
            self._early_bytes = 0
        super().writeSequence(data)

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """
        Begin to send a request's body.
        """
        self._upload = producer
        super().registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """
        Note that a request's body is all sent.
        """
        self._upload = None
        super().unregisterProducer()

    def pauseProducing(self) -> None:
        """
        Read no more; unless that could keep an early answer back: then no more than a little.
        """
        if self._upload is not None and self._early_bytes <= _EARLY_BYTES:
            self._held = True
        else:
            self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """
        Read on.
        """
        self._held = False
        self.transport.resumeProducing()

    def loseConnection(self) -> None:
        """
        Close the connection.
        """
        # A TLS connection would go on taking data until its peer agrees to the end.
        if self._upload is not None or ISSLTransport.providedBy(self.transport):
            self.abortConnection()
        else:
            super().loseConnection()

    def abortConnection(self) -> None:
        """
        Cut the connection.
        """
        self.disconnecting = 1
        cast(ITCPTransport, self.transport).abortConnection()


class ConnectionFactory(WrappingFactory[UpstreamConnection]):
    """
    Puts an `UpstreamConnection` around each connection of an HTTP client.
    """

    protocol = UpstreamConnection
    noisy = False

    def __init__(self, wrapped: Any) -> None:
        super().__init__(wrapped)
        # Those of Twisted's client log that they start and stop, with every connection.
        wrapped.noisy = False


def clean_head(head: bytes) -> bytes:
    """
    Leave out of an answer's head what is for this connection alone (RFC 9110 section 7.6.1), but for the framing.

    :param head: With the empty line at its end.
    """
    first, *lines = _LINE_END.split(head)
    options = set(_connection_options(lines))
    hidden = (options | {b"connection"}) - _FRAMING
    kept = [first]
    keep = True
    for line in lines[:-2]:
        if line[:1] not in {b" ", b"\t"}:  # else it goes on with the line before
            keep = line.partition(b":")[0].strip().lower() not in hidden
        if keep:
            kept.append(line)
    # The client looks for this very spelling. Of HTTP/1.0 it thinks as of 1.1.
    if b"close" in options or (first.startswith(b"HTTP/1.0") and b"keep-alive" not in options):
        kept.append(b"Connection: close")
    return b"\r\n".join([*kept, b"", b""])


def _connection_options(lines: Iterable[bytes]) -> Iterable[bytes]:
    for line in lines:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"connection":
            yield from (option.strip().lower() for option in value.split(b","))
