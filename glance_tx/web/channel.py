"""
One HTTP/1.1 connection: requests dispatched by their heads, bodies held back until they are pulled.

Note [Early dispatch]

A request is dispatched when its head is in, and its answer may be out before its body is. Such a client is still
sending. Were the socket closed at once, the kernel would answer the bytes under way with a reset, and a reset makes
the client's kernel throw away the answer that was not read yet. So the answer says ``Connection: close``, our
direction is closed, and what the client sends is thrown away for a short while.

Note [Private names of Twisted]

All that this package takes from behind Twisted's fence is here, each with a test in ``test_request_twisted``:

- ``HTTPChannel._handlingRequest``: while it is true, the channel's own pauseProducing and resumeProducing leave the
  reading side of the socket alone. It is always true here, because this class decides about reading.
- ``HTTPChannel._networkProducer``: the transport as a push producer, or a stand-in where it cannot be paused.
- ``http._ChunkedTransferDecoder``, its ``length`` and ``_trailerHeaders``, and ``http._MalformedChunkedDataError``: the
  chunked coding.

The parsing half of ``HTTPChannel`` (``lineReceived`` and what it calls) is not used at all.
"""

# Methods that Twisted left untyped are inherited here, so they do not count as Twisted's.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, Flag, auto
from typing import Any, Final, Protocol

from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime, ISSLTransport, ITCPTransport
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.http_headers import Headers

from glance_tx.streaming.stall import StallWatch, unsent_mark
from glance_tx.web.deadlines import StallTimer
from glance_tx.web.errors import BadRequest, RequestTimedOut, WebError
from glance_tx.web.head import HeadReader, RequestHead, RequestLine, parse_field
from glance_tx.web.incoming import IncomingBody
from glance_tx.web.limits import EdgeLimits

__all__ = ["Channel", "IDispatched"]

_UNKNOWN_LINE: Final = RequestLine(b"-", b"-", b"HTTP/1.1")
"""Stands in for the request line of a request that has none one can read."""

_LONGEST_CHUNK: Final = 2**63 - 1

_TURN_SECONDS: Final = 0.005
"""After as long, what a client sent at once lets other connections have their turn."""


class IDispatched(Protocol):
    """
    What the channel asks of a request.

    :ivar answered_at: When its answer began, by the clock.
    """

    answered_at: float | None

    def process(self) -> None:
        """
        Answer it.
        """

    def refuse(self, error: WebError) -> None:
        """
        Answer that it cannot be served.
        """

    def connectionLost(self, reason: Failure) -> None:
        """
        Give up on it.
        """


class _State(Enum):
    HEAD = auto()
    """Between requests, or in a head."""
    BODY = auto()
    """In the body of the current request, which may have been dispatched, and answered, already."""
    BUSY = auto()
    """The current request is whole. What comes belongs to the next."""
    BROKEN = auto()
    """What comes cannot be understood; the current request says so yet."""
    DRAIN = auto()
    """Everything was answered. What comes is thrown away for a while."""
    CLOSED = auto()


class _Hold(Flag):
    BODY = auto()
    """The handler has enough of the body for now."""
    NEXT_REQUEST = auto()
    """Enough of the next requests waits already."""
    UNSENT = auto()
    """The client does not take its answers."""
    TURN = auto()
    """What came before is gone on with after others had their turn."""


class Channel(http.HTTPChannel):
    """
    One connection.

    See Note [Early dispatch] and Note [Private names of Twisted].
    """

    transport: Any
    _networkProducer: Any

    def __init__(self, clock: IReactorTime, limits: EdgeLimits) -> None:
        super().__init__()
        self._handlingRequest = True
        self.persistent = True
        self._clock = clock
        self._limits = limits
        self._state = _State.HEAD
        self._head = HeadReader(limits)
        self._body = self._no_body()
        self._chunks: http._ChunkedTransferDecoder | None = None
        self._collecting: IDispatched | None = None
        """A request that is dispatched when its small body is in."""
        self._answering = False
        self._addresses: tuple[IAddress, IAddress] | None = None
        self._read_bytes: int | None = None
        """What the transport reads at once of its own accord, where it says."""
        self._unsent = False
        self._holds = _Hold(0)
        self._unparsed = b""
        self._parsing = False
        self._next_turn: IDelayedCall | None = None
        self._drained = 0
        self._idle = StallTimer(clock, limits.timeout_seconds, self._timed_out)
        self._lingering = StallTimer(clock, limits.linger_seconds, self.loseConnection)
        self._closing = StallWatch(clock, limits.close_seconds, self._untaken, self.drop)
        self._untaken_before: object = None
        """What the client had not taken of its answers when it was last found not to send."""
        self._steps: dict[_State, Callable[[], bool]] = {
            _State.HEAD: self._read_head,
            _State.BODY: self._read_body,
            _State.BUSY: self._keep_for_later,
            _State.BROKEN: self._throw_away,
            _State.DRAIN: self._drain,
            _State.CLOSED: self._throw_away,
        }

    # What comes in.

    def connectionMade(self) -> None:
        """
        Begin to wait for the first request.
        """
        super().connectionMade()
        self._read_bytes = getattr(self.transport, "bufferSize", None)
        self._idle.start()

    def getPeer(self) -> IAddress:
        """
        Tell the address at the other end.
        """
        return self._both_addresses()[0]

    def getHost(self) -> IAddress:
        """
        Tell the address at this end.
        """
        return self._both_addresses()[1]

    def _both_addresses(self) -> tuple[IAddress, IAddress]:
        # Every request asks for both, and the transport asks the kernel. Not known before the first request where
        # a proxy's word on them comes first.
        if self._addresses is None:
            self._addresses = self.transport.getPeer(), self.transport.getHost()
        return self._addresses

    def dataReceived(self, data: bytes) -> None:
        """
        Take in what came.
        """
        self._unparsed += data
        self._parse()

    def _parse(self) -> None:
        # A step may answer a request, which makes the next one due; this loop comes to it, not the step.
        if self._parsing or self._next_turn is not None:
            return
        self._parsing = True
        turn_ends = self._clock.seconds() + _TURN_SECONDS
        try:
            while self._unparsed and self._steps[self._state]():
                if self._unparsed and self._clock.seconds() >= turn_ends:
                    self._hold(_Hold.TURN)
                    self._next_turn = self._clock.callLater(0, self._take_turn)
                    break
        finally:
            self._parsing = False

    def _take_turn(self) -> None:
        self._next_turn = None
        self._parse()
        if self._next_turn is None:
            self._release(_Hold.TURN)

    def _next_piece(self) -> bytes:
        piece, self._unparsed = self._unparsed, b""
        return piece

    def _read_head(self) -> bool:
        if self._unsent:
            # A client that sends requests and takes no answers would fill our memory with them.
            self._hold(_Hold.UNSENT)
            return False
        if not self._head.begun:
            self._idle.start()
        try:
            found = self._head.feed(self._next_piece())
        except WebError as error:
            self._refuse(error)
            return True
        if found is not None:
            head, self._unparsed = found
            self._head_received(head)
        return True

    def _head_received(self, head: RequestHead) -> None:
        self._head = HeadReader(self._limits)
        self.persistent = head.persistent
        self._body = IncomingBody(self, self._clock, self._limits, head.length, expects_continue=head.expects_continue)
        request = self._make_request(head)
        if head.length == 0:
            self._state = _State.BUSY
            self._dispatch(request)
            return
        self._state = _State.BODY
        self._chunks = None
        if head.length is None:
            self._chunks = http._ChunkedTransferDecoder(self._body.deliver, self._chunks_ended)  # noqa: SLF001
        if head.length is None or head.length > self._limits.small_body_bytes or head.expects_continue:
            self._set_read_bytes(self._limits.upload_read_bytes)
            self._dispatch(request)
        else:
            self._collecting = request
            self._idle.start()

    def _make_request(self, head: RequestHead) -> IDispatched:
        self._answering = False
        request: IDispatched = self.requestFactory(self, head, self._body)  # type: ignore[arg-type, assignment]
        self.requests.append(request)
        return request

    def _dispatch(self, request: IDispatched) -> None:
        self._collecting = None
        self._idle.rest()
        request.process()

    def _no_body(self) -> IncomingBody:
        return IncomingBody(self, self._clock, self._limits, 0)

    # The body.

    def _read_body(self) -> bool:
        self._idle.moved()
        if self._chunks is None:
            self._read_fixed_body()
            return True
        try:
            self._chunks.dataReceived(self._next_piece())
            self._check_chunks(self._chunks)
        except (http._MalformedChunkedDataError, BadRequest) as exc:  # noqa: SLF001
            if self._state is _State.BODY:
                self._break_off(f"malformed chunk: {exc}")
        return True

    @staticmethod
    def _check_chunks(chunks: http._ChunkedTransferDecoder) -> None:
        # A number of 64 bits or fewer is one number to everybody; a longer one may be cut off by somebody.
        if chunks.state == "BODY" and chunks.length > _LONGEST_CHUNK:
            raise BadRequest("a chunk is too long")

    def _read_fixed_body(self) -> None:
        left = (self._body.length or 0) - self._body.received
        piece = self._next_piece()
        if len(piece) < left:
            self._body.deliver(piece)
        else:
            self._unparsed = piece[left:]
            self._body_ended(piece[:left])

    def _chunks_ended(self, rest: bytes) -> None:
        if self._state is _State.BODY:  # and not answered and done with, in the middle of these chunks
            assert self._chunks is not None  # noqa: S101  # it is what calls this
            for line in self._chunks._trailerHeaders:  # noqa: SLF001
                parse_field(bytes(line))  # nobody wants to know what it says, but where it ends
            self._unparsed = rest
            self._body_ended(b"")

    def _body_ended(self, last_piece: bytes) -> None:
        self._state = _State.BUSY
        self._set_read_bytes(self._read_bytes)
        self._release(_Hold.BODY)  # or nobody would see the client leave
        self._body.deliver(last_piece, last=True)
        if self._collecting is not None:
            self._dispatch(self._collecting)

    def _break_off(self, reason: str) -> None:
        self._state = _State.BROKEN
        self._hold(_Hold.BODY)
        self._body.lose(reason)

    def _set_read_bytes(self, size_bytes: int | None) -> None:
        # Long bodies cost about half with long reads; short requests would pay for the allocation.
        if size_bytes is not None and ITCPTransport.providedBy(self.transport):
            self.transport.bufferSize = size_bytes  # type: ignore[attr-defined]

    # For the body: `BodySource`.

    def hold_body(self) -> None:
        """
        Read nothing until `release_body`.
        """
        if self._state is _State.BODY:
            self._hold(_Hold.BODY)

    def release_body(self) -> None:
        """
        Read on.
        """
        if self._state is _State.BODY:
            self._release(_Hold.BODY)

    def send_continue(self) -> None:
        """
        Ask the client for the body, unless it has its answer already.
        """
        if not self._answering:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def drop(self) -> None:
        """
        Cut the connection.
        """
        self._state = _State.CLOSED
        self.transport.abortConnection()

    # Between and after requests.

    def _keep_for_later(self) -> bool:
        if len(self._unparsed) > self._limits.max_pipelined_bytes:
            self._hold(_Hold.NEXT_REQUEST)
        return False

    def _throw_away(self) -> bool:
        self._unparsed = b""
        return False

    def _drain(self) -> bool:
        self._drained += len(self._next_piece())
        if self._drained > self._limits.linger_bytes:
            self.loseConnection()
        return False

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """
        Send the head of an answer, with word of what becomes of the connection.
        """
        self._answering = True
        self.requests[0].answered_at = self._clock.seconds()
        if not self._body.complete:
            self.persistent = False
        if not self.persistent:
            headers.setRawHeaders(b"Connection", [b"close"])
        super().writeHeaders(version, code, reason, headers)

    def requestDone(self, request: Any) -> None:
        """
        Go on after an answer: with the next request, or towards the end of the connection.
        """
        self.requests.remove(request)
        if self._state in {_State.BODY, _State.BROKEN}:
            self._linger()
        elif self._state is _State.BUSY and not self.persistent:
            self.loseConnection()
        elif self._state is _State.BUSY:
            self._state = _State.HEAD
            self._release(_Hold.NEXT_REQUEST)
            self._idle.start()
            self._parse()

    def _linger(self) -> None:
        # See Note [Early dispatch].
        self._state = _State.DRAIN
        self._body.lose("its request was answered before its end")
        self._lingering.start()
        self._networkProducer.unregisterProducer()
        if ITCPTransport.providedBy(self.transport) and not ISSLTransport.providedBy(self.transport):
            self.transport.loseWriteConnection()
        self._release(self._holds)

    def _refuse(self, error: WebError) -> None:
        request = self._collecting
        self._collecting = None
        if request is None:
            line = self._head.line or _UNKNOWN_LINE
            self._body = self._no_body()
            request = self._make_request(RequestHead(line, Headers(), 0, expects_continue=False, persistent=False))
        self._idle.stop()
        self.persistent = False
        self._break_off("its request was refused")
        request.refuse(error)

    def _untaken(self) -> object:
        return unsent_mark(self.transport)

    def _timed_out(self) -> None:
        untaken = self._untaken() if self._unsent else None
        if untaken != self._untaken_before:
            # It is busy with taking an answer, as slowly as it may be.
            self._untaken_before = untaken
            self._idle.start()
        elif self._head.begun or self._collecting is not None:
            self._refuse(RequestTimedOut(self._limits.timeout_seconds))
        else:
            self.loseConnection()

    def loseConnection(self) -> None:
        """
        Close the connection when what was written is out, or has not gone out for too long.
        """
        self._state = _State.CLOSED
        self._unparsed = b""
        self._idle.stop()
        self._lingering.stop()
        self._closing.start()
        super().loseConnection()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """
        Give up on what was under way.
        """
        self._state = _State.CLOSED
        for timer in (self._idle, self._lingering, self._closing):
            timer.stop()
        if self._next_turn is not None:
            self._next_turn.cancel()
            self._next_turn = None
        # The requests come first: a handler is cancelled, if it is of the kind that is, before its read fails.
        super().connectionLost(reason)
        self._body.lose("its sender went away")

    # Back pressure.

    def pauseProducing(self) -> None:
        """
        Note that the client is behind with its answers.
        """
        self._unsent = True
        super().pauseProducing()

    def resumeProducing(self) -> None:
        """
        Note that the client has taken what was sent.
        """
        self._unsent = False
        super().resumeProducing()
        self._release(_Hold.UNSENT)
        if self._state is _State.HEAD:
            self._idle.moved()
            self._parse()

    def _hold(self, reason: _Hold) -> None:
        if not self._holds:
            self._networkProducer.pauseProducing()
        self._holds |= reason

    def _release(self, reason: _Hold) -> None:
        if self._holds and not self._holds & ~reason:
            self._networkProducer.resumeProducing()
        self._holds &= ~reason
