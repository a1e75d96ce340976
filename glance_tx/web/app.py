"""
The application: a route table, and what is the same for every route.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.resource import IResource

from glance_tx.telemetry.access import AccessRecord, AccessSink
from glance_tx.telemetry.transfers import TransferMetrics
from glance_tx.web.compression import JsonCompression
from glance_tx.web.cors import Cors
from glance_tx.web.errors import BadRequest, DeadlineExceeded, MethodNotAllowed, RouteNotFound, WebError
from glance_tx.web.exchange import Exchange, Finish, Respond
from glance_tx.web.faults import FaultTable
from glance_tx.web.forwarded import ProxyTrust
from glance_tx.web.jsonbody import JSON_LIMIT_BYTES, JsonDocument, read_json
from glance_tx.web.request import Request
from glance_tx.web.resource import ApplicationResource
from glance_tx.web.response import Response
from glance_tx.web.routing import BodyRule, Handler, Route, Router, decode_path

__all__ = ["App", "BodyRule", "Handler", "Rewrite", "request_json"]

Rewrite = Callable[[str, str | None], str]
"""From a decoded path, and the Accept header, to the path that routes know."""

_PREFLIGHT: Final = "preflight"
_FALLBACK: Final = "fallback"


class App:
    """
    Answers requests by its routes, and everything else by the rules that hold for all of them.

    A handler is ``async (request, **arguments of the path) -> Response``. It raises what it cannot do; the fault
    table makes the answer. It is cancelled when the client leaves.

    :param faults: What becomes of the daemon's exceptions.
    :param note: Told of every request when it ended.
    :param deadline_seconds: Time for a handler to come up with its response, unless its route says otherwise or
        streams the request's body. Sending the response is not counted.
    :param stall_seconds: A client that accepts no byte of a body for that long is dropped.
    :param rewrite: Changes a decoded path before the routes are asked, knowing the Accept header: for prefixes that
        mean the same.
    :param cors: Speaks for pages of other sites, in every answer.
    :param compression: Compresses what is worth it.
    :param trust: Whom to believe who the client is, besides the connection.
    :param transfers: Told of transfers of image data.
    """

    def __init__(
        self,
        clock: IReactorTime,
        faults: FaultTable,
        note: AccessSink,
        *,
        deadline_seconds: float = 60.0,
        stall_seconds: float = 60.0,
        rewrite: Rewrite | None = None,
        cors: Cors | None = None,
        compression: JsonCompression | None = None,
        trust: ProxyTrust | None = None,
        transfers: TransferMetrics | None = None,
    ) -> None:
        self._clock = clock
        self._faults = faults
        self._note = note
        self._deadline_seconds = deadline_seconds
        self._stall_seconds = stall_seconds
        self._rewrite = rewrite
        self._cors = cors
        self._finish = Finish(cors, compression)
        self._trust = trust
        self._transfers = transfers
        self._router = Router()
        self._fallback: Handler | None = None
        self._in_progress = 0

    @property
    def in_progress(self) -> int:
        """
        How many requests are not over yet.
        """
        return self._in_progress

    @property
    def routes(self) -> Sequence[str]:
        """
        The routes that were added, each as its method and its path.
        """
        return self._router.labels

    def add(
        self,
        method: str,
        path: str,
        handler: Handler,
        body: BodyRule = BodyRule.NONE,
        *,
        deadline_seconds: float | None = None,
    ) -> None:
        """
        Add a route.

        :param method: In upper case. HEAD and OPTIONS are answered only where they were added.
        :param path: With converters as Klein has them: ``/v2/images/<image_id>``. A trailing slash is part of it.
        :param body: What the route does with a request body.
        :param deadline_seconds: Instead of the application's; also for a route that streams, which has none else.
        :raises ValueError: There is such a route already.
        """
        if deadline_seconds is None and body is not BodyRule.STREAM:
            deadline_seconds = self._deadline_seconds
        self._router.add(method, path, handler, body, deadline_seconds)

    def fallback(self, handler: Handler) -> None:
        """
        Let a handler answer everything that has no route: any method, any path, with the body as it comes.

        It finds the target as it was sent in ``request.uri``; that has a leading slash, always.
        """
        self._fallback = handler

    def resource(self) -> IResource:
        """
        Make what a site serves.
        """
        return ApplicationResource(self.handle)

    def handle(self, request: Request) -> None:
        """
        Take a request over, once its head is in.
        """
        self._start(request, self._respond)

    def refuse(self, request: Request, error: WebError) -> None:
        """
        Answer a request that no route can be asked about, as its head is malformed or too late: what a site is to do
        with such a one.
        """

        async def respond(exchange: Exchange) -> Response:
            raise error

        self._start(request, respond)

    def _start(self, request: Request, respond: Respond) -> None:
        self._in_progress += 1
        request.notes.meter = self._transfers
        if self._trust is not None:
            request.notes.client_host = self._trust.client(request)
        Exchange(request, self._clock, self._faults, self._ended, self._stall_seconds, self._finish).start(respond)

    def _ended(self, record: AccessRecord) -> None:
        self._in_progress -= 1
        if record.transfer is not None and self._transfers is not None:
            self._transfers.ended(record.transfer, record)
        self._note(record)

    async def _respond(self, exchange: Exchange) -> Response:
        request = exchange.request
        if self._cors is not None and self._cors.is_preflight(request):
            exchange.route = _PREFLIGHT
            return Response(200)
        try:
            route, arguments = self._find(request)
        except (BadRequest, RouteNotFound, MethodNotAllowed):
            if self._fallback is None:
                raise
            exchange.route = _FALLBACK
            return await self._fallback(request)
        exchange.route = route.label
        if route.body is BodyRule.NONE:
            await _refuse_body(request)
        answering = route.handler(request, **arguments)
        if route.deadline_seconds is None:
            return await answering
        work = Deferred.fromCoroutine(answering)
        # Most answers that need nothing from elsewhere are there by now.
        if not work.called:
            work.addTimeout(route.deadline_seconds, self._clock, _deadline_passed)
        return await work

    def _find(self, request: Request) -> tuple[Route, Mapping[str, Any]]:
        path = decode_path(request.path)
        if self._rewrite is not None:
            path = self._rewrite(path, request.header("Accept"))
        return self._router.find(request.method.decode("latin-1"), path)


async def request_json(request: Request, limit_bytes: int = JSON_LIMIT_BYTES) -> JsonDocument:
    """
    Take in the JSON document that a request brings.

    :raises PayloadTooLarge: It is longer than the limit.
    :raises BadRequest: There is none, or it is not to be read (`glance_tx.web.jsonbody.parse_json`).
    """
    return await read_json(request.body, limit_bytes)


async def _refuse_body(request: Request) -> None:
    # Only a chunked body has to be looked at: it may turn out to be empty.
    if request.body.length != 0 and (request.body.length is not None or await request.body.read(1)):
        raise BadRequest("this resource does not take a request body")


def _deadline_passed(result: object, seconds: float) -> object:
    # A handler that came up with something better than its own cancellation has the last word.
    if isinstance(result, Failure) and result.check(CancelledError):
        raise DeadlineExceeded(seconds)
    return result
