"""
Exceptions become error answers in the three forms of stock Glance.
"""

from __future__ import annotations

import orjson
from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from glance_cache.faults import cache_faults
from glance_tx.api.faults import api_faults
from glance_tx.domain.errors import ImageNotFound
from glance_tx.errors import FactualError
from glance_tx.identity.errors import IdentityUnavailable, NotAuthenticated
from glance_tx.streaming.errors import BodyLost, BodyTooLong, MultipleRanges, RangeNotSatisfiable, TransferStalled
from glance_tx.web.accept import parse_accept, quality
from glance_tx.web.errors import (
    BadRequest,
    DeadlineExceeded,
    ExpectationUnknown,
    HeadTooLarge,
    MethodNotAllowed,
    PayloadTooLarge,
    RequestTimedOut,
    RouteNotFound,
    UnsupportedMediaType,
    UriTooLong,
)
from glance_tx.web.faults import UNEXPECTED, Fault, FaultTable, render
from glance_tx.web.response import Response

PLAIN = "text/plain; charset=UTF-8"
HTML = "text/html; charset=UTF-8"
JSON = "application/json"

# Accept header, and the Content-Type of the error that answers it.
NEGOTIATION = [
    (None, PLAIN),
    ("", HTML),  # openstacksdk, when it uploads: it shows nothing of plain text
    (" ", HTML),
    ("*/*", HTML),  # python-glanceclient, curl
    ("text/html", HTML),
    ("text/*", HTML),
    ("application/json", JSON),  # openstackclient
    ("Application/JSON; charset=utf-8", JSON),
    ("application/json, text/plain, */*", JSON),
    ("*/*, application/json", JSON),
    ("text/html, application/json", HTML),
    ("application/json, text/html", HTML),
    ("text/html;q=0.5, application/json", JSON),
    ("application/json;q=0.5, text/html", HTML),
    ("application/json;q=0.5, */*", HTML),
    ("application/json;q=0, */*", HTML),
    ("application/json;q=0", PLAIN),
    ("text/html;q=0, */*", PLAIN),
    ("application/*", PLAIN),
    ("application/octet-stream", PLAIN),
    ("application/vnd.openstack.images-v2.17", PLAIN),
    ("text/html;q=nonsense", PLAIN),
    ("text/html;q=nan", PLAIN),
    (",;=/,,", PLAIN),
    ("json", PLAIN),
]


def content_type(response: Response) -> str:
    return dict(response.headers)["Content-Type"]


@frozen
class Base(FactualError):
    message = "base {self.fact}"
    fact: str


@frozen
class Derived(Base):
    pass


class RenderTests(SynchronousTestCase):
    """
    `render` writes a fault in the form that the client asks for.
    """

    def test_negotiation(self) -> None:
        """
        The Accept header chooses the form, and JSON is sent only to those who name it.
        """
        chosen = [(accept, content_type(render(accept, Fault(404)))) for accept, _ in NEGOTIATION]
        self.assertEqual(chosen, NEGOTIATION)

    def test_json(self) -> None:
        """
        The JSON form is one flat object.
        """
        response = render("application/json", Fault(404, explanation="no such thing"))
        assert isinstance(response.body, bytes)
        self.assertEqual(
            orjson.loads(response.body),
            {"message": "no such thing", "code": "404 Not Found", "title": "Not Found"},
        )
        self.assertEqual(response.status, 404)

    def test_plain(self) -> None:
        """
        The plain form is the status, an empty line, and the explanation.
        """
        response = render(None, Fault(404, explanation="no such thing"))
        self.assertEqual(response.body, b"404 Not Found\n\nno such thing\n")

    def test_html_is_escaped(self) -> None:
        """
        Whatever a client sent cannot become markup.
        """
        response = render("*/*", Fault(404, explanation="<script>alert('x' & \"y\")</script>", title="<b>"))
        assert isinstance(response.body, bytes)
        self.assertIn(b"<title>404 &lt;b&gt;</title>", response.body)
        self.assertIn(b"<h1>404 &lt;b&gt;</h1>", response.body)
        self.assertIn(b"&lt;script&gt;alert('x' &amp; \"y\")&lt;/script&gt;", response.body)
        self.assertNotIn(b"<script>", response.body)

    def test_headers(self) -> None:
        """
        A fault's headers go out in every form.
        """
        fault = Fault(503, headers=(("Retry-After", "5"),))
        for accept in (None, "*/*", "application/json"):
            self.assertEqual(dict(render(accept, fault).headers)["Retry-After"], "5")

    def test_text_beyond_unicode(self) -> None:
        """
        A lone surrogate in an explanation does not break any form.
        """
        for accept in (None, "*/*", "application/json"):
            self.assertIn(b"name ?", render(accept, Fault(400, explanation="name \udc80")).body)

    def test_long_explanation(self) -> None:
        """
        An explanation is cut where it gets longer than anyone reads.
        """
        body = render(None, Fault(400, explanation="x" * 100_000)).body
        assert isinstance(body, bytes)
        self.assertLess(len(body), 3000)

    def test_unknown_status(self) -> None:
        """
        A status code without a registered phrase still has a title.
        """
        self.assertEqual(Fault(499).title, "Error")

    def test_quality(self) -> None:
        """
        The most specific media range decides.
        """
        weights = parse_accept("*/*;q=0.1, text/*;q=0.5, text/html;q=0.9, text/html;q=0.7")
        self.assertEqual(quality(weights, "text/html"), 0.9)
        self.assertEqual(quality(weights, "text/plain"), 0.5)
        self.assertEqual(quality(weights, "image/png"), 0.1)
        self.assertEqual(quality({}, "image/png"), 0.0)


class FaultTableTests(SynchronousTestCase):
    """
    `FaultTable` knows what becomes of an exception.
    """

    def answer(self, table: FaultTable, exc: Exception) -> Response:
        response = table.answer(exc, None)
        assert response is not None
        return response

    def test_edge(self) -> None:
        """
        What the HTTP edge refuses is listed in every table.
        """
        statuses = {
            BadRequest("x"): 400,
            RouteNotFound("/x"): 404,
            MethodNotAllowed("PUT", ("GET",)): 405,
            PayloadTooLarge(1): 413,
            UnsupportedMediaType("text/plain"): 415,
            RequestTimedOut(1.0): 408,
            UriTooLong(1): 414,
            ExpectationUnknown("x"): 417,
            HeadTooLarge("x", 1): 431,
            DeadlineExceeded(1.0): 503,
            BodyLost(1, "x"): 400,
            BodyTooLong(1): 413,
            TransferStalled(1.0): 408,
            MultipleRanges("x"): 400,
            RangeNotSatisfiable("x", 10): 416,
            NotAuthenticated("x"): 401,
            IdentityUnavailable("x"): 503,
        }
        table = FaultTable({})
        self.assertEqual({exc: self.answer(table, exc).status for exc in statuses}, statuses)

    def test_edge_headers(self) -> None:
        """
        Refusals carry the headers that RFC 9110 wants with them.
        """
        table = FaultTable({})
        self.assertIn(("Allow", "GET, PUT"), self.answer(table, MethodNotAllowed("POST", ("GET", "PUT"))).headers)
        self.assertIn(("Content-Range", "bytes */10"), self.answer(table, RangeNotSatisfiable("x", 10)).headers)
        self.assertIn("WWW-Authenticate", dict(self.answer(table, NotAuthenticated("x")).headers))
        self.assertEqual(dict(self.answer(table, IdentityUnavailable("x")).headers)["Retry-After"], "5")

    def test_challenge(self) -> None:
        """
        Every daemon says with a 401 where tokens come from.
        """
        for table in (FaultTable({}, "Keystone uri=x"), api_faults("Keystone uri=x"), cache_faults("Keystone uri=x")):
            answer = self.answer(table, NotAuthenticated("x"))
            self.assertEqual(dict(answer.headers)["WWW-Authenticate"], "Keystone uri=x")

    def test_status(self) -> None:
        """
        A status code alone explains itself by the exception's text.
        """
        response = self.answer(FaultTable({ImageNotFound: 404}), ImageNotFound("abc"))
        self.assertEqual(response.body, b"404 Not Found\n\nno image with id 'abc' was found\n")

    def test_closest_class(self) -> None:
        """
        The closest class that is listed decides, in whatever order they are listed.
        """
        table = FaultTable({Base: 400, Derived: 409})
        self.assertEqual(self.answer(table, Derived("x")).status, 409)
        self.assertEqual(self.answer(table, Base("x")).status, 400)
        self.assertEqual(self.answer(FaultTable({Base: 400}), Derived("x")).status, 400)

    def test_function(self) -> None:
        """
        A function of the exception makes a fault, or the whole response.
        """
        response = Response(502, body=b"as it came")
        table = FaultTable(
            {
                Base: lambda exc: Fault(409, explanation=exc.fact, headers=(("X-Fact", exc.fact),)),
                Derived: lambda _: response,
            }
        )
        self.assertIn(("X-Fact", "f"), self.answer(table, Base("f")).headers)
        self.assertIs(self.answer(table, Derived("f")), response)

    def test_unlisted(self) -> None:
        """
        An exception that nobody listed has no answer of its own.
        """
        table = FaultTable({Base: 400})
        self.assertIsNone(table.answer(RuntimeError("secret"), None))
        self.assertIsNone(table.rule_of(FactualError))
        self.assertEqual(table.rule_of(Derived), 400)
        self.assertEqual(UNEXPECTED.status, 500)

    def test_own_entry_wins(self) -> None:
        """
        A daemon's own entry takes the place of the edge's.
        """
        self.assertEqual(self.answer(FaultTable({BodyLost: 503}), BodyLost(1, "x")).status, 503)
