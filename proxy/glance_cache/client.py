"""
Requests to whichever upstream answers, and the answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, cast

from attrs import field, frozen
from OpenSSL.SSL import Error as TLSError
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.interfaces import IReactorTime
from twisted.web._newclient import RequestNotSent
from twisted.web.client import RequestGenerationFailed, RequestTransmissionFailed, ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IResponse
from zope.interface import implementer

from glance_cache.attempt import Attempt, Discard, Silent, Upload
from glance_cache.errors import UpstreamBrokeOff, UpstreamUnavailable
from glance_cache.headers import retry_after_seconds
from glance_cache.interfaces import IUpstreamData
from glance_cache.progress import ProgressWatch
from glance_cache.turns import UpstreamState, UpstreamTurns
from glance_tx.streaming.errors import StreamingError
from glance_tx.streaming.interfaces import IBodyReader
from glance_tx.streaming.relay import ReaderBody
from glance_tx.streaming.responses import ResponseReader
from glance_tx.telemetry.redact import redact_url

__all__ = ["IN_TROUBLE", "AnswerBody", "Exchange", "UpstreamClient", "UpstreamTimes"]

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing (RFC 9110 section 9.2.1): they may be tried at one upstream after the other."""

IN_TROUBLE: Final = frozenset({502, 503, 504})
"""What an upstream says that cannot work now, while another one perhaps can."""

_HEALTH: Final = "/healthcheck"
"""Whoever does not know it says so, which is an answer, too."""

_DISTRUST_SECONDS: Final = float("inf")
"""As long as any rest may be: who sends wrong data answers well otherwise."""

_NOT_SENT: Final = (ConnectError, DNSLookupError, RequestNotSent)
"""What the agent raises where nothing of a request went out."""

_NO_ANSWER: Final = (
    Silent,
    ConnectionClosed,
    RequestGenerationFailed,
    RequestTransmissionFailed,
    ResponseFailed,
    TLSError,
)
"""What it raises, or what there is, where a server breaks off before the head of its answer."""


@frozen
class UpstreamTimes:
    """
    How long the upstream may take, in seconds.

    :param head: From the request to the head of the answer.
    :param stall: Between two pieces of a body.
    :param window: In which a watched body has to make progress.
    :param progress_bytes: How much; 0 for any at all.
    :param longest_rest: For how long one that failed is left alone at most.
    """

    head: float = 60.0
    stall: float = 60.0
    window: float = 60.0
    progress_bytes: int = 0
    longest_rest: float = 60.0


@frozen
class Exchange:
    """
    The head of one answer, with its body still to be read.

    :param base: The URL of the upstream that answered.
    :param redirected: Another server than that answered in its name.
    """

    base: str
    response: IResponse = field(repr=False)
    redirected: bool = False

    @property
    def status(self) -> int:
        """
        The status code.
        """
        return cast(int, self.response.code)

    @property
    def length(self) -> int | None:
        """
        Bytes of the body, where the upstream said.
        """
        length = self.response.length
        return None if length is UNKNOWN_LENGTH else cast(int, length)

    def header(self, name: str) -> str | None:
        """
        One header of the answer; its last line where it came more than once.

        Content-Length is among them in an answer to HEAD only.
        """
        lines = self.response.headers.getRawHeaders(name.encode())
        return lines[-1].decode("latin-1").strip() if lines else None

    def abandon(self) -> None:
        """
        Close the connection without reading the body.
        """
        self.response.deliverBody(Discard())


@implementer(IUpstreamData)
class AnswerBody:
    """
    The body of an answer. Whatever is wrong with it is the upstream's doing, and said to be.

    :param broke: Called when it turns out to be broken, with what is wrong, and with how many seconds its upstream is
        to rest at least.
    :param watch: Told of its progress, where a slow one counts as broken.
    """

    def __init__(
        self, reader: ResponseReader, base: str, broke: Callable[[str, float], None], watch: ProgressWatch | None = None
    ) -> None:
        self.length = reader.length
        self._reader = reader
        self._base = base
        self._broke = broke
        self._watch = watch
        self._received = 0

    async def read(self, at_least: int) -> bytes:
        """
        See `IBodyReader.read`.

        :raises UpstreamBrokeOff: The body broke off, came to a standstill, is too slow, or not as long as it should be.
        """
        if self._watch is not None and self._watch.too_slow:
            self._broke(self._watch.reason, 0.0)
            self.cancel()
            raise UpstreamBrokeOff(f"{redact_url(self._base)}: {self._watch.reason}")
        try:
            piece = await self._read(at_least)
        except StreamingError as error:
            self._broke(str(error), 0.0)
            raise UpstreamBrokeOff(f"{redact_url(self._base)}: {error}") from error
        self._received += len(piece)
        if self.length is not None and self._received > self.length:
            self.cancel()
            raise UpstreamBrokeOff(f"{redact_url(self._base)}: the body is longer than {self.length} bytes")
        return piece

    async def _read(self, at_least: int) -> bytes:
        if self._watch is None:
            return await self._reader.read(at_least)
        self._watch.begin()
        piece = await self._reader.read(at_least)
        self._watch.end(len(piece))
        return piece

    def cancel(self) -> None:
        """
        See `IBodySource.cancel`.
        """
        self._reader.cancel()

    def distrust(self) -> None:
        """
        See `IUpstreamData.distrust`.
        """
        self._broke("its data was not the image", _DISTRUST_SECONDS)


class UpstreamClient:
    """
    One request to whichever configured upstream answers first, in turn (see `UpstreamTurns`).

    :param agent: Sends requests as they are.
    :param bases: URLs, without a slash at their end.
    :param told: Called when an upstream begins to rest, and when it is well again: its URL, and whether it is well.
    :param answered: Called for each answer of an upstream that is not in trouble.
    """

    def __init__(
        self,
        agent: IAgent,
        clock: IReactorTime,
        bases: Sequence[str],
        times: UpstreamTimes,
        told: Callable[[str, bool], object] = lambda _base, _well: None,
        answered: Callable[[], object] = lambda: None,
    ) -> None:
        self._agent = agent
        self._clock = clock
        self._times = times
        self._turns = UpstreamTurns(bases, clock, times.longest_rest, told)
        self._answered = answered

    @property
    def preferred(self) -> str:
        """
        The upstream that will be asked first.
        """
        return self._turns.first

    def states(self) -> Sequence[UpstreamState]:
        """
        Tell what is known of each upstream.
        """
        return self._turns.states()

    async def exchange(self, method: str, target: str, headers: Headers, body: IBodyReader | None = None) -> Exchange:
        """
        Send a request and wait for the head of its answer.

        Where an upstream cannot be connected to, the next one is asked. Where it breaks off, says nothing, or says
        that it cannot work now, so it is if the request changes nothing; any other one may have been carried out.

        :param target: Path and query, as on the request line.
        :param body: Ends with the exchange: what an answer came before is not read any more.
        :raises UpstreamUnavailable: No upstream answered.
        :raises StreamingError: The body broke off; what its reader raised.
        """
        upload = None if body is None else Upload(body)
        failures: list[str] = []
        harmless = method in _SAFE and upload is None
        bases = self._turns.order(trial=harmless)
        for base in bases:
            try:
                answer = Exchange(base, await self._send(method, base + target, headers, upload))
            except _NOT_SENT as error:
                failures.append(self._failed(base, error))
                continue
            except _NO_ANSWER as error:
                if upload is not None and upload.failure is not None:
                    raise upload.failure from error
                failures.append(self._failed(base, error))
                if harmless:
                    continue
                break
            if self._is_well(answer) or base == bases[-1] or not harmless:
                return answer
            answer.abandon()
        raise UpstreamUnavailable("; ".join(failures))

    def _is_well(self, answer: Exchange) -> bool:
        if answer.status not in IN_TROUBLE:
            self._turns.answered(answer.base)
            self._answered()
            return True
        lines = answer.response.headers.getAllRawHeaders()
        asked = retry_after_seconds(((name, line) for name, every in lines for line in every), self._clock.seconds())
        self._turns.failed(answer.base, f"it answered {answer.status}", asked or 0.0)
        return False

    async def probe(self, seconds: float) -> None:
        """
        Ask every upstream whether it works: ``answered`` is told of each one that does.

        :param seconds: What is not said by then is not waited for.
        """
        bases = self._turns.order(trial=False)
        # When it is cancelled, so is each of them.
        await DeferredList([Deferred.fromCoroutine(self._probe(base, seconds)) for base in bases])

    async def _probe(self, base: str, seconds: float) -> None:
        sending = self._agent.request(b"GET", f"{base}{_HEALTH}".encode("ascii"), Headers(), None)
        with suppress(CancelledError, *_NOT_SENT, *_NO_ANSWER):
            answer = Exchange(base, await Attempt(sending, self._clock, seconds, lambda: None).answer)
            answer.abandon()
            if answer.status not in IN_TROUBLE:
                self._turns.answered(base)
                self._answered()

    async def follow(self, base: str, url: str, headers: Headers) -> Exchange:
        """
        Get what an upstream said is at another address.

        :param base: The upstream that did.
        :param headers: What that address may know.
        :raises UpstreamUnavailable: There was no answer.
        """
        try:
            return Exchange(base, await self._send("GET", url, headers, None), redirected=True)
        except (*_NOT_SENT, *_NO_ANSWER) as error:
            # The query of such an address may be a credential.
            where = redact_url(url).partition("?")[0]
            self._turns.failed(base, f"{where}, where it led: {_reason(error)}")
            raise UpstreamUnavailable(f"{where}, where {redact_url(base)} led: {_reason(error)}") from error

    async def _send(self, method: str, url: str, headers: Headers, upload: Upload | None) -> IResponse:
        body = None if upload is None else ReaderBody(upload, upload.length)
        sending = self._agent.request(method.encode("ascii"), url.encode("ascii"), headers, body)
        progress = (lambda: None) if upload is None else upload.progress
        try:
            return await Attempt(sending, self._clock, self._times.head, progress).answer
        finally:
            # An early answer: the client is told in this very turn, and stops sending.
            if body is not None:
                body.stopProducing()

    def _failed(self, base: str, error: Exception) -> str:
        self._turns.failed(base, _reason(error))
        return f"{redact_url(base)}: {_reason(error)}"

    def reader(self, exchange: Exchange, expected_length: int | None = None, *, watched: bool = False) -> AnswerBody:
        """
        Begin to read the body of an answer.

        :param expected_length: What it must come to, where the upstream did not say.
        :param watched: One that makes too little progress counts as broken: it can be gone on with elsewhere.
        """
        reader = ResponseReader(
            exchange.response, self._clock, expected_length=expected_length, stall_seconds=self._times.stall
        )
        times = self._times
        watch = ProgressWatch(self._clock, times.window, times.progress_bytes) if watched else None
        return AnswerBody(reader, exchange.base, partial(self._turns.failed, exchange.base), watch)

    async def collect(self, exchange: Exchange, limit_bytes: int) -> bytes:
        """
        Read a short body whole.

        :return: Its first ``limit_bytes``.
        :raises UpstreamBrokeOff: It did not come.
        """
        reader = self.reader(exchange)
        pieces: list[bytes] = []
        size = 0
        try:
            while size < limit_bytes and (piece := await reader.read(1)):
                pieces.append(piece)
                size += len(piece)
        finally:
            reader.cancel()
        return b"".join(pieces)[:limit_bytes]


def _reason(error: BaseException) -> str:
    # Twisted wraps what happened once or twice. The text of anything but a lost connection may quote what came.
    for failure in getattr(error, "reasons", ()):
        return _reason(failure.value)
    if isinstance(error, Silent | ConnectError | ConnectionClosed | DNSLookupError):
        return str(error).rstrip(".")
    return type(error).__name__
