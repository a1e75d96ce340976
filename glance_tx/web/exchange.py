"""
One request and its answer, from the head of the one to the last byte of the other.
"""

# Twisted left the methods of its requests untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from glance_tx.errors import FactualError
from glance_tx.streaming.errors import ReceiverLost
from glance_tx.streaming.interfaces import IBodyProducer, IFileBody
from glance_tx.telemetry.access import AccessRecord, AccessSink
from glance_tx.web.bodies import send_body
from glance_tx.web.compression import JsonCompression
from glance_tx.web.cors import Cors
from glance_tx.web.faults import UNEXPECTED, FaultTable, render
from glance_tx.web.request import Request
from glance_tx.web.response import Response

__all__ = ["Exchange", "Finish", "Respond"]

_NO_CONTENT: Final = 204
_NOT_MODIFIED: Final = 304
_NOBODY_ASKS: Final = Response(499)
"""Stands in for an answer where the client left before there was one. It is never sent."""


@frozen
class Finish:
    """
    What is done to every answer before it goes out, whoever made it.

    :param cors: Marks it for pages of other sites.
    :param compression: Compresses its body.
    """

    cors: Cors | None = None
    compression: JsonCompression | None = None


class Exchange:
    """
    Gets an answer for one request, sends it, and notes how it went.

    :param request: Its head is in.
    :param faults: What becomes of exceptions.
    :param note: Told once, at the end, whatever the end is.
    :param stall_seconds: A client that accepts no byte for that long is dropped.
    :param finish: Done to the answer.
    """

    log = Logger()

    def __init__(
        self,
        request: Request,
        clock: IReactorTime,
        faults: FaultTable,
        note: AccessSink,
        stall_seconds: float,
        finish: Finish,
    ) -> None:
        self.request = request
        self.route: str | None = None
        """Label of the route that answers, once it is known."""
        self._clock = clock
        self._faults = faults
        self._note = note
        self._stall_seconds = stall_seconds
        self._finish = finish
        self._began = clock.seconds()
        # The handler may rewrite these; the record has them as they were sent.
        self._method = request.method.decode("latin-1")
        self._target = request.uri.decode("latin-1")
        self._client_left = False

    def start(self, respond: Respond) -> None:
        """
        Let it run. It ends by itself, at the latest when the connection does.

        :param respond: Makes the answer. Cancelled when the client leaves.
        """
        over = self.request.notifyFinish()
        work = Deferred.fromCoroutine(self._run(respond))
        # Errback: the connection is lost. Callback: the answer is out, and there is nothing to do.
        over.addErrback(lambda _: self._lost(work))
        work.addErrback(self._broken)

    def _lost(self, work: Deferred[None]) -> None:
        self._client_left = True
        work.cancel()

    def _broken(self, reason: Failure) -> None:
        # Only a defect in this module, or in a rule of the fault table, comes here.
        self.log.failure("the answer to {request_id} broke off", reason, request_id=self.request.request_id)
        self._abort()

    async def _run(self, respond: Respond) -> None:
        complete = False
        try:
            complete = await self._deliver(await self._compressed(await self._answer(respond)))
        finally:
            self._note(self._record(complete))

    async def _answer(self, respond: Respond) -> Response:
        try:
            return _checked(await respond(self))
        except Exception as exc:
            return self._refusal(exc)

    async def _compressed(self, response: Response) -> Response:
        compression = self._finish.compression
        if compression is None:
            return response
        try:
            return await compression.encode(self.request, response)
        except CancelledError:
            # The client left meanwhile. The answer still has to be let go of.
            return response

    def _refusal(self, exc: Exception) -> Response:
        """
        Make an answer of what went wrong before there was another, and log what operators should know of.
        """
        if self._client_left and isinstance(exc, CancelledError):
            return _NOBODY_ASKS
        facts: dict[str, Any] = {
            "request_id": self.request.request_id,
            "method": self._method,
            "path": self._target.partition("?")[0],
        }
        accept = self._accept()
        response = self._faults.answer(exc, accept)
        if response is None:
            self.log.failure("unexpected error in {method} {path} ({request_id})", Failure(exc), **facts)
            return render(accept, UNEXPECTED)
        if response.status >= UNEXPECTED.status and not self._client_left:
            text = "{method} {path} ({request_id}) is answered {status}: {reason}"
            self.log.warn(text, status=response.status, reason=str(exc), **facts)
        return response

    def _accept(self) -> str | None:
        lines = self.request.requestHeaders.getRawHeaders(b"Accept")
        return None if lines is None else b",".join(lines).decode("latin-1")

    async def _deliver(self, response: Response) -> bool:
        """
        Send the answer; if that fails before its first byte, an answer that says so.

        :return: Whether the last byte of the answer was handed to the connection.
        """
        complete = False
        try:
            if self._client_left:
                _let_go(response)
            else:
                await self._send(response)
                complete = not self._client_left
                if complete:
                    self.request.finish()
        except Exception as exc:
            if not self._client_left and not self.request.startedWriting:
                self._forget(response)
                # Bytes in memory: this cannot come here again for the same reason.
                return await self._deliver(self._refusal(exc))
            self._report_break(exc)
            self._abort()
        finally:
            if response.on_end is not None:
                response.on_end(complete)
        return complete

    def _forget(self, response: Response) -> None:
        for name, _ in response.headers:
            self.request.responseHeaders.removeHeader(name)

    def _report_break(self, exc: Exception) -> None:
        # A client that leaves is no news; the access record tells.
        if isinstance(exc, ReceiverLost) or (self._client_left and isinstance(exc, CancelledError)):
            return
        text = "the answer to {request_id} broke off after {sent} bytes: {reason}"
        facts: dict[str, Any] = {
            "request_id": self.request.request_id,
            "sent": self.request.sentLength,
            "reason": str(exc) or type(exc).__name__,
        }
        if isinstance(exc, FactualError):
            self.log.warn(text, **facts)
        else:
            self.log.failure(text, Failure(exc), **facts)

    async def _send(self, response: Response) -> None:
        request, body = self.request, response.body
        bodiless = request.method == b"HEAD" or response.status in (_NO_CONTENT, _NOT_MODIFIED)
        self._set_head(response, _content_length(response, bodiless=bodiless))
        if bodiless:
            _let_go(response)
            request.write(b"")
        elif body is None or isinstance(body, bytes):
            request.write(body or b"")
        else:
            await send_body(request, body, clock=self._clock, stall_seconds=self._stall_seconds)

    def _set_head(self, response: Response, content_length: int | None) -> None:
        request = self.request
        request.setResponseCode(response.status)
        lines: dict[str, list[bytes]] = {}
        cors, headers = self._finish.cors, response.headers
        for name, value in headers if cors is None else cors.mark(request, headers):
            lines.setdefault(name.lower(), []).append(_encoded(value))
        for name, values in lines.items():
            request.responseHeaders.setRawHeaders(name.encode("ascii"), values)
        request.responseHeaders.setRawHeaders(b"X-OpenStack-Request-ID", [request.request_id.encode("ascii")])
        request.responseHeaders.removeHeader(b"Transfer-Encoding")
        if content_length is None:
            request.responseHeaders.removeHeader(b"Content-Length")
        else:
            request.responseHeaders.setRawHeaders(b"Content-Length", [b"%d" % content_length])

    def _abort(self) -> None:
        # Not a tidy close: the client must see that the body is not whole.
        if self.request.channel is not None:
            self.request.channel.transport.abortConnection()

    def _record(self, complete: bool) -> AccessRecord:
        request = self.request
        return AccessRecord(
            method=self._method,
            path=self._target,
            status=request.code if request.startedWriting else 0,
            sent_bytes=request.sentLength,
            received_bytes=request.body.received,
            seconds=self._clock.seconds() - self._began,
            request_id=request.request_id,
            complete=complete,
            route=self.route,
            client=request.client_host,
            project_id=request.notes.project_id,
            cache_state=request.notes.cache_state,
            transfer=request.notes.transfer,
            first_byte_seconds=None if request.answered_at is None else request.answered_at - self._began,
        )


Respond = Callable[[Exchange], Awaitable[Response]]
"""Makes the answer of an exchange, and names its route in passing."""


def _checked(response: object) -> Response:
    # Handlers come through Klein, which knows no types.
    if not isinstance(response, Response):
        raise TypeError(f"a handler answered {response!r}")
    return response


def _content_length(response: Response, *, bodiless: bool) -> int | None:
    """
    Find the Content-Length of an answer.

    :param bodiless: Whether no body follows its head.
    :return: ``None`` for an answer that has none (RFC 9110 section 8.6).
    """
    if response.status == _NO_CONTENT:
        return None
    body = response.body
    if bodiless and response.announced_length is not None:
        return response.announced_length
    if body is None:
        # An answer to HEAD without a length says nothing; a 0 would say that GET brings nothing.
        return None if bodiless else 0
    if isinstance(body, bytes):
        return len(body)
    # A producer that cannot tell has the string UNKNOWN_LENGTH here.
    return body.length if isinstance(body.length, int) else None


def _let_go(response: Response) -> None:
    body = response.body
    if IFileBody.providedBy(body):
        body.close()
    elif IBodyProducer.providedBy(body):
        body.stopProducing()


def _encoded(value: str) -> bytes:
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode("utf-8")
