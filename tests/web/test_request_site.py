"""
Tests for `glance_tx.web.request`: what a request says of itself, and the site that makes it.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport, StringTransportWithDisconnection
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface.verify import verifyObject

from glance_tx.streaming.interfaces import IBodyReader
from glance_tx.web.errors import BadRequest
from glance_tx.web.limits import EdgeLimits
from glance_tx.web.request import EdgeSite, Request, RequestNotes, make_site


class Keeping(Resource):
    """
    Keeps its requests and answers none.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Request] = []

    def render(self, request: Request) -> int:
        self.requests.append(request)
        return NOT_DONE_YET


class RequestTests(SynchronousTestCase):
    """
    What a handler finds on a request.
    """

    def setUp(self) -> None:
        self.resource = Keeping()
        self.site = make_site(self.resource, Clock())

    def request(self, *lines: bytes, target: bytes = b"/") -> Request:
        channel = self.site.buildProtocol(None)
        transport = StringTransportWithDisconnection()
        transport.protocol = channel
        channel.makeConnection(transport)
        channel.dataReceived(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n" + b"\r\n".join((*lines, b"", b"")))
        self.addCleanup(transport.loseConnection)
        return self.resource.requests[-1]

    def test_header(self) -> None:
        """
        A header is text, whatever its bytes; a repeated one is a list; an absent one is nothing.
        """
        request = self.request(b"X-A: gr\xc3\xbcn", b"X-B: gr\xfcn", b"X-C: 1", b"x-c: 2", b"X-D:")
        self.assertEqual(
            [request.header(name) for name in ("x-a", "X-B", "X-C", "X-D", "X-E")], ["grün", "grün", "1, 2", "", None]
        )

    def test_single_header(self) -> None:
        """
        A header that must be single is refused when it comes twice, even with the same value.
        """
        request = self.request(b"X-A: 1", b"X-B: 1", b"X-B: 1")
        self.assertEqual((request.single_header("X-A"), request.single_header("X-C")), ("1", None))
        self.assertRaises(BadRequest, request.single_header, "X-B")

    def test_target(self) -> None:
        """
        Path and query come apart, and only the query makes arguments.
        """
        request = self.request(target=b"/v2/images?limit=1&name=")
        self.assertEqual((request.path, request.args), (b"/v2/images", {b"limit": [b"1"], b"name": [b""]}))
        self.assertEqual(self.request(target=b"/v2").args, {})

    def test_names_of_a_request(self) -> None:
        """
        Every request has a name of its own, or the one its client gave it.
        """
        self.assertNotEqual(self.request().request_id, self.request().request_id)
        self.assertTrue(self.request().request_id.startswith("req-"))
        self.assertEqual(self.request(b"X-OpenStack-Request-ID: req-mine").request_id, "req-mine")

    def test_notes(self) -> None:
        """
        The notes start empty, and are the request's own.
        """
        first, second = self.request(), self.request()
        self.assertEqual(first.notes, RequestNotes(project_id=None, cache_state=None))
        first.notes.project_id = "p"
        self.assertIsNone(second.notes.project_id)

    def test_body(self) -> None:
        """
        The body is a reader, also where there is none.
        """
        verifyObject(IBodyReader, self.request().body)
        self.assertEqual(self.request().body.length, 0)

    def test_after_the_answer(self) -> None:
        """
        An answered request has no channel, and may be asked for it.
        """
        request = self.request()
        request.finish()
        self.assertIsNone(request.channel)


class ChannelTests(SynchronousTestCase):
    """
    What a connection does that no client can see.
    """

    def test_one_deadline_after_the_end(self) -> None:
        """
        A connection told to close has no deadline left but that for closing, and lets the transport go at its end.
        """
        clock = Clock()
        channel = make_site(Keeping(), clock, EdgeLimits(close_seconds=15)).buildProtocol(None)
        transport = StringTransport()
        channel.makeConnection(transport)
        channel.dataReceived(b"GET / HT")
        channel.loseConnection()
        self.assertEqual(len(clock.getDelayedCalls()), 1)
        channel.dataReceived(b"TP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual(transport.value(), b"")
        clock.pump([3.75] * 3)
        self.assertFalse(transport.disconnected)
        clock.advance(3.75)
        self.assertTrue(transport.disconnected)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_addresses(self) -> None:
        """
        Every request of a connection has the addresses of its two ends, and asks the transport for them once.
        """
        asked: list[str] = []
        local, remote = IPv4Address("TCP", "192.0.2.1", 80), IPv4Address("TCP", "192.0.2.2", 1234)

        class Transport(StringTransport):
            def getPeer(self) -> IPv4Address:
                asked.append("peer")
                return remote

            def getHost(self) -> IPv4Address:
                asked.append("host")
                return local

        class Answering(Keeping):
            def render(self, request: Request) -> Any:
                super().render(request)
                return b"here"

        answering = Answering()
        for _ in range(2):
            channel = make_site(answering, Clock()).buildProtocol(None)
            channel.makeConnection(Transport())
            channel.dataReceived(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            channel.dataReceived(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual([(r.getHost(), r.getClientAddress()) for r in answering.requests], [(local, remote)] * 4)
        self.assertEqual(asked, ["peer", "host"] * 2)


class ProcessTests(SynchronousTestCase):
    """
    How a request gets to the site's resource.
    """

    def answer(self, line: bytes, resource: Resource) -> bytes:
        channel = make_site(resource, Clock()).buildProtocol(None)
        transport = StringTransportWithDisconnection()
        transport.protocol = channel
        channel.makeConnection(transport)
        channel.dataReceived(line + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        return transport.value()

    def test_head(self) -> None:
        """
        An answer says when it was made, and by what.
        """

        class Answering(Keeping):
            def render(self, request: Request) -> Any:
                return b"here"

        head, _, body = self.answer(b"GET /", Answering()).partition(b"\r\n\r\n")
        self.assertEqual(body, b"here")
        self.assertIn(b"\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n", head)
        self.assertIn(b"\r\nServer: TwistedWeb/", head)

    def test_star(self) -> None:
        """
        What is asked of the server as a whole is no resource's business.
        """
        kept = Keeping()
        self.assertEqual(self.answer(b"OPTIONS *", kept)[:12], b"HTTP/1.1 200")
        self.assertEqual(kept.requests, [])

    def test_broken(self) -> None:
        """
        A resource that fails is answered for by 500, without detail.
        """

        class Broken(Keeping):
            def render(self, request: Request) -> int:
                raise ZeroDivisionError("detail")

        answer = self.answer(b"GET /", Broken())
        self.assertEqual(answer[:12], b"HTTP/1.1 500")
        self.assertNotIn(b"detail", answer)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class SiteTests(SynchronousTestCase):
    """
    What the site offers.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.site: EdgeSite = make_site(Keeping(), self.clock)

    def test_no_http2(self) -> None:
        """
        HTTP/1.1 is the only protocol a TLS client can agree on.
        """
        self.assertEqual(self.site.acceptableProtocols(), [b"http/1.1"])

    def test_date(self) -> None:
        """
        The date is that of the clock, and goes on with it.
        """
        dates = []
        for seconds in (0, 0.5, 0.5, 3600 * 24 - 1):
            self.clock.advance(seconds)
            dates.append(self.site.date())
        self.assertEqual(dates[0], b"Thu, 01 Jan 1970 00:00:00 GMT")
        self.assertEqual(dates[1:], [dates[0], b"Thu, 01 Jan 1970 00:00:01 GMT", b"Fri, 02 Jan 1970 00:00:00 GMT"])

    def test_no_access_log(self) -> None:
        """
        The site itself keeps no log, and no clock ticks for one.
        """
        self.site.doStart()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.site.doStop()
