"""
Requests to an upstream, and the heads of its answers.

Requests go out by Twisted's agent as they are: no cookie jar, no redirects followed, no bodies decoded, which treq's
client would all add.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, cast

from attrs import field, frozen
from OpenSSL.SSL import Error as TLSError
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.interfaces import IReactorTime, ITransport
from twisted.internet.protocol import Protocol
from twisted.web._newclient import RequestNotSent
from twisted.web.client import RequestTransmissionFailed, ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse

from glance_cache.errors import UpstreamUnavailable
from glance_tx.streaming.errors import StreamingError
from glance_tx.streaming.relay import ReaderBody
from glance_tx.streaming.responses import ResponseReader


@frozen
class UpstreamTimes:
    """
    How long the upstream may take, in seconds.

    :param head: From the request to the head of the answer.
    :param stall: Between two pieces of a body.
    """

    head: float = 60.0
    stall: float = 60.0


@frozen
class Exchange:
    """
    The head of one answer, with its body still to be read.

    :param base: The URL of the upstream that answered.
    """

    base: str
    response: IResponse = field(repr=False)

    @property
    def status(self) -> int:
        """
        The status code.
        """
        return cast(int, self.response.code)

    def header(self, name: str) -> str | None:
        """
        One header of the answer; its last line where it came more than once.
        """
        lines = self.response.headers.getRawHeaders(name.encode())
        return lines[-1].decode("latin-1").strip() if lines else None

    def abandon(self) -> None:
        """
        Close the connection without reading the body.
        """
        self.response.deliverBody(_Discard())


_NO_ANSWER: Final = (
    ConnectError,
    ConnectionClosed,
    DNSLookupError,
    RequestNotSent,
    RequestTransmissionFailed,
    ResponseFailed,
    TLSError,
)
"""What the agent raises when a server cannot be reached, or breaks off before the head of its answer."""


class _Silent(Exception):
    """
    A server that let its time pass.
    """


class _Discard(Protocol):
    """
    Takes the body of an answer that nobody wants: closes its connection, unless nothing is to come.
    """

    def connectionMade(self) -> None:
        transport = cast(ITransport, self.transport)
        transport.loseConnection()


class _Watchdog:
    """
    Calls out when nothing moves for a while.

    :param progress: Gives a number that grows while something moves.
    """

    def __init__(
        self,
        clock: IReactorTime,
        seconds: float,
        progress: Callable[[], int],
        bite: Callable[[], object],
    ) -> None:
        self.bit = False
        self._clock = clock
        self._seconds = seconds
        self._progress = progress
        self._bite = bite
        self._mark = progress()
        self._call = clock.callLater(seconds, self._look)

    def stop(self) -> None:
        """
        Watch no more.
        """
        if self._call.active():
            self._call.cancel()

    def _look(self) -> None:
        mark = self._progress()
        if mark == self._mark:
            self.bit = True
            self._bite()
            return
        self._mark = mark
        self._call = self._clock.callLater(self._seconds, self._look)


class UpstreamClient:
    """
    One request to whichever configured upstream answers first, in turn.

    :param bases: URLs, without a slash at their end. The one that answered last is asked first.
    """

    def __init__(self, agent: IAgent, clock: IReactorTime, bases: Sequence[str], times: UpstreamTimes) -> None:
        self._agent = agent
        self._clock = clock
        self._bases = list(bases)
        self._times = times

    @property
    def preferred(self) -> str:
        """
        The upstream that will be asked first.
        """
        return self._bases[0]

    async def exchange(self, method: str, target: str, headers: Headers, body: ReaderBody | None = None) -> Exchange:
        """
        Send a request and wait for the head of its answer.

        A request with a body is sent once; any other one goes to the next upstream when one does not answer.

        :param target: Path and query, as on the request line.
        :raises UpstreamUnavailable: No upstream answered.
        """
        failures = []
        for base in tuple(self._bases):
            try:
                response = await self._send(method, base + target, headers, body)
            except (_Silent, *_NO_ANSWER) as error:
                failures.append(f"{base}: {error}")
            else:
                self._prefer(base)
                return Exchange(base, response)
            if body is not None:
                break
        raise UpstreamUnavailable("; ".join(failures))

    async def _send(self, method: str, url: str, headers: Headers, body: ReaderBody | None) -> IResponse:
        sending: Deferred[IResponse] = self._agent.request(method.encode("ascii"), url.encode("ascii"), headers, body)
        watchdog = _Watchdog(self._clock, self._times.head, lambda: body.passed if body else 0, sending.cancel)
        try:
            return await sending
        except (CancelledError, *_NO_ANSWER) as error:
            if watchdog.bit:
                raise _Silent(f"no answer within {self._times.head:g} seconds") from error
            raise
        finally:
            watchdog.stop()

    def reader(self, exchange: Exchange, expected_length: int | None = None) -> ResponseReader:
        """
        Begin to read the body of an answer.
        """
        return ResponseReader(
            exchange.response, self._clock, expected_length=expected_length, stall_seconds=self._times.stall
        )

    async def collect(self, exchange: Exchange, limit_bytes: int) -> bytes:
        """
        Read a short body whole.

        :return: Its first ``limit_bytes``.
        :raises UpstreamUnavailable: It did not come.
        """
        reader = self.reader(exchange)
        pieces: list[bytes] = []
        size = 0
        try:
            while size < limit_bytes and (piece := await reader.read(1)):
                pieces.append(piece)
                size += len(piece)
        except StreamingError as error:
            raise UpstreamUnavailable(f"{exchange.base}: {error}") from error
        finally:
            reader.cancel()
        return b"".join(pieces)[:limit_bytes]

    def _prefer(self, base: str) -> None:
        if self._bases[0] != base:
            self._bases.remove(base)
            self._bases.insert(0, base)
