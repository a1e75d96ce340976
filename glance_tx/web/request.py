"""
Requests whose handlers pull the body, and the site that makes them.
"""

# Methods that Twisted left untyped are inherited here, so they do not count as Twisted's.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from attrs import define
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web import http, server
from twisted.web.resource import IResource

from glance_tx.telemetry.request_ids import request_ids
from glance_tx.telemetry.transfers import TransferMetrics
from glance_tx.web.channel import Channel
from glance_tx.web.errors import BadRequest, ExpectationUnknown, HeadTooLarge, RequestTimedOut, UriTooLong, WebError
from glance_tx.web.head import RequestHead
from glance_tx.web.incoming import IncomingBody
from glance_tx.web.limits import EdgeLimits

__all__ = ["Channel", "EdgeLimits", "EdgeSite", "Refuse", "Request", "RequestNotes", "make_site", "plain_refusal"]

_REFUSALS: Final[dict[type[WebError], tuple[int, bytes]]] = {
    BadRequest: (400, b"Bad Request"),
    RequestTimedOut: (408, b"Request Timeout"),
    UriTooLong: (414, b"URI Too Long"),
    ExpectationUnknown: (417, b"Expectation Failed"),
    HeadTooLarge: (431, b"Request Header Fields Too Large"),
}


@define
class RequestNotes:
    """
    What becomes known of a request on its way, for its line in the access log.

    :param project_id: The caller's project.
    :param cache_state: The value of ``X-Cache``.
    :param client_host: The client's address, where a proxy says it and is believed.
    :param transfer: The kind of transfer of image data that this is (`Request.begin_transfer`).
    :param meter: Told of that.
    """

    project_id: str | None = None
    cache_state: str | None = None
    client_host: str | None = None
    transfer: str | None = None
    meter: TransferMetrics | None = None


class Request(server.Request):
    """
    A request, dispatched when its head is in.

    No body is parsed as a form, whatever its type.

    :ivar body: The body, pulled by whoever wants it.
    :ivar request_id: What the request is called in its answer and in the log.
    :ivar notes: For the access log.
    :ivar answered_at: When the head of its answer went out, by the reactor's clock.
    """

    # An answer without a body has no type, and one with a body is given one where it is made.
    defaultContentType = None
    channel: Any = None  # and so after the answer as well, when Twisted deletes it from the instance

    def __init__(self, channel: Channel, head: RequestHead, body: IncomingBody) -> None:
        super().__init__(channel, parsePOSTFormSubmission=False)
        self.requestHeaders = head.headers
        self.method = head.line.method
        self.uri = head.line.target
        self.clientproto = head.line.version
        self.path, _, query = self.uri.partition(b"?")
        self.args = http.parse_qs(query, 1) if query else {}
        self.body = body
        self.notes = RequestNotes()
        self.answered_at: float | None = None
        self.request_id = request_ids(self.header("X-OpenStack-Request-ID")).request_id

    def process(self) -> None:
        """
        Hand the request to the site's resource.

        Twisted's own way also looks for the resource by the path's segments, of which ours has none.
        """
        site = self.channel.site
        if not site.resource.isLeaf or self.path == b"*":
            super().process()
            return
        self.site = site
        self.responseHeaders.setRawHeaders(b"Server", [server.version])
        self.responseHeaders.setRawHeaders(b"Date", [site.date()])
        try:
            self.render(site.resource)
        except BaseException:
            self.processingFailed(Failure())

    @property
    def client_host(self) -> str | None:
        """
        The client's address, where it has one.
        """
        return self.notes.client_host or self.peer_host

    @property
    def peer_host(self) -> str | None:
        """
        The address at the other end of the connection, which may be a proxy's.
        """
        return getattr(self.getClientAddress(), "host", None)

    def begin_transfer(self, kind: str) -> None:
        """
        Say that this is a transfer of image data, for the metrics. The first word counts.

        :param kind: One of few.
        """
        notes = self.notes
        if notes.transfer is None:
            notes.transfer = kind
            if notes.meter is not None:
                notes.meter.began(kind)

    def refuse(self, error: WebError) -> None:
        """
        Answer that the request cannot be served: the way its site does that.
        """
        self.site = self.channel.site
        self.setHeader(b"Date", http.datetimeToString())
        self.channel.site.refuse(self, error)

    def header(self, name: str) -> str | None:
        """
        Look up a header.

        :return: Its value as text: UTF-8, or else Latin-1. Values of a repeated header stand in one list, as RFC 9110
            section 5.3 has it.
        """
        values = self.requestHeaders.getRawHeaders(name.encode("ascii"))
        return None if values is None else ", ".join(map(_text, values))

    def single_header(self, name: str) -> str | None:
        """
        Look up a header that two servers could read in two ways if it came twice.

        :raises BadRequest: It did.
        """
        values = self.requestHeaders.getRawHeaders(name.encode("ascii"))
        if values is None:
            return None
        if len(values) > 1:
            raise BadRequest(f"the header {name} must not be repeated")
        return _text(values[0])


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def plain_refusal(request: Request, error: WebError) -> None:
    """
    Answer a request that never reaches the application, in plain text.
    """
    status, phrase = _REFUSALS.get(type(error), _REFUSALS[BadRequest])
    body = f"{error}\n".encode()
    request.setResponseCode(status, phrase)
    request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
    request.setHeader(b"Content-Length", b"%d" % len(body))
    request.setHeader(b"X-OpenStack-Request-ID", request.request_id.encode("ascii"))
    request.write(body)
    request.finish()


Refuse = Callable[[Request, WebError], object]
"""Answers a request whose head is so bad, or so late, that no resource can be asked."""


class EdgeSite(server.Site):
    """
    A site whose connections are `Channel`s and whose requests are `Request`s.

    It writes no access log: the application knows more than a site does.
    """

    def __init__(self, resource: IResource, reactor: IReactorTime, limits: EdgeLimits, refuse: Refuse) -> None:
        super().__init__(resource, requestFactory=Request, reactor=reactor, timeout=None, parsePOSTFormSubmission=False)
        self.protocol = partial(Channel, reactor, limits)  # type: ignore[assignment]
        self.refuse = refuse
        self._clock = reactor
        self._date = (-1, b"")

    def date(self) -> bytes:
        """
        Tell the time as HTTP does.
        """
        now = int(self._clock.seconds())
        if self._date[0] != now:
            self._date = now, http.datetimeToString(now)
        return self._date[1]

    def startFactory(self) -> None:
        """
        Open no log, and keep no clock for one.
        """

    def acceptableProtocols(self) -> list[bytes]:
        """
        Offer HTTP/1.1 alone: Twisted's HTTP/2 costs four times as much for image data.
        """
        return [b"http/1.1"]


def make_site(
    resource: IResource,
    reactor: IReactorTime,
    limits: EdgeLimits = EdgeLimits(),  # noqa: B008 - a frozen value
    refuse: Refuse = plain_refusal,
) -> EdgeSite:
    """
    Make a site that serves a resource with bodies pulled by their handlers.

    :param resource: Gets `Request`s.
    :param reactor: The clock of all deadlines.
    :param refuse: Answers what does not get as far as the resource.
    """
    return EdgeSite(resource, reactor, limits, refuse)
