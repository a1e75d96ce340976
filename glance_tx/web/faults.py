"""
From exceptions to error answers, in the three forms stock Glance gives them.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import orjson
from attrs import Factory, field, frozen

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
from glance_tx.web.response import Response

__all__ = ["UNEXPECTED", "Fault", "FaultTable", "Rule", "render"]

# An explanation may quote what the client sent, which may be long.
_EXPLANATION_CHARACTERS: Final = 2000


def _reason_phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


@frozen
class Fault:
    """
    An error as a client is told of it.

    :param status: The status code, 400 or above.
    :param title: A short name; the reason phrase of the status where none is given.
    :param explanation: One or two sentences for a human. May quote what the client sent: every form escapes it.
    :param headers: Further header lines (Allow, Retry-After, WWW-Authenticate, Content-Range, ...).
    """

    status: int
    title: str = field(default=Factory(lambda self: _reason_phrase(self.status), takes_self=True))
    explanation: str = ""
    headers: tuple[tuple[str, str], ...] = ()


UNEXPECTED: Final = Fault(500, explanation="The server met an unexpected condition and could not answer the request.")

Rule = int | Callable[[Any], Fault | Response]
"""
What becomes of an exception: a status code, with the exception's own text as explanation, or a function of the
exception. A function may give a whole response, such as one that another server made.
"""


def _method_not_allowed(exc: MethodNotAllowed) -> Fault:
    return Fault(405, explanation=str(exc), headers=(("Allow", ", ".join(exc.allowed)),))


def _identity_unavailable(exc: IdentityUnavailable) -> Fault:
    return Fault(503, explanation=str(exc), headers=(("Retry-After", "5"),))


def _range_not_satisfiable(exc: RangeNotSatisfiable) -> Fault:
    return Fault(416, explanation=str(exc), headers=(("Content-Range", f"bytes */{exc.size}"),))


def _unsupported_media_type(exc: UnsupportedMediaType) -> Fault:
    supported = ", ".join(exc.supported)
    explanation = f"{exc}; use {supported}" if supported else str(exc)
    return Fault(415, explanation=explanation)


_EDGE: Final[Mapping[type[Exception], Rule]] = {
    BadRequest: 400,
    RequestTimedOut: 408,
    UriTooLong: 414,
    ExpectationUnknown: 417,
    HeadTooLarge: 431,
    RouteNotFound: 404,
    MethodNotAllowed: _method_not_allowed,
    PayloadTooLarge: 413,
    UnsupportedMediaType: _unsupported_media_type,
    DeadlineExceeded: 503,
    BodyLost: 400,
    BodyTooLong: 413,
    MultipleRanges: 400,
    RangeNotSatisfiable: _range_not_satisfiable,
    TransferStalled: 408,
    IdentityUnavailable: _identity_unavailable,
}


class FaultTable:
    """
    Which exception becomes which error answer. One for each daemon.

    The closest listed class in an exception's inheritance decides. What the HTTP edge itself refuses is listed
    already; an entry of the daemon's own takes its place.

    :param entries: The daemon's own exceptions.
    :param challenge: Goes with each 401 as ``WWW-Authenticate``, which RFC 9110 insists on.
    """

    def __init__(self, entries: Mapping[type[Exception], Rule], challenge: str = "Keystone") -> None:
        def not_authenticated(exc: NotAuthenticated) -> Fault:
            return Fault(401, explanation=str(exc), headers=(("WWW-Authenticate", challenge),))

        self._rules: dict[type, Rule] = {**_EDGE, NotAuthenticated: not_authenticated, **entries}

    def rule_of(self, kind: type[BaseException]) -> Rule | None:
        """
        Find what becomes of a type of exception.

        :return: ``None`` where nothing is listed for it or a base of it: such an exception is a defect.
        """
        return next((self._rules[base] for base in kind.__mro__ if base in self._rules), None)

    def answer(self, exc: BaseException, accept: str | None) -> Response | None:
        """
        Make the answer for an exception.

        :param accept: The request's Accept header, as `render` has it.
        :return: ``None`` for an exception that nobody foresaw; its text must not reach a client.
        """
        rule = self.rule_of(type(exc))
        if rule is None:
            return None
        outcome = Fault(rule, explanation=str(exc)) if isinstance(rule, int) else rule(exc)
        return render(accept, outcome) if isinstance(outcome, Fault) else outcome


def render(accept: str | None, fault: Fault) -> Response:
    """
    Write a fault out in the form that the client asks for, as stock Glance does (contract 1.3).

    A flat JSON object only where JSON is asked for by name: clients that accept everything (python-glanceclient)
    cannot read it. HTML where that is welcome; plain text to a client that sends no Accept, or names neither of the
    two. An empty one counts as ``*/*``: openstacksdk sends that with uploads, and shows no plain text.

    :param accept: The Accept header, lines joined by commas; ``None`` where there is none.
    """
    weights = parse_accept("*/*" if accept is not None and not accept.strip() else accept or "")
    html_weight = quality(weights, "text/html")
    json_weight = weights.get("application/json", 0.0)
    status = f"{fault.status} {fault.title}"
    # A lone surrogate (a file name's undecodable byte, say) has no place in UTF-8.
    explanation = fault.explanation[:_EXPLANATION_CHARACTERS].encode("utf-8", "replace").decode("utf-8")
    # Asked for by name, JSON wins a tie against an HTML that is only covered by a wildcard.
    if json_weight > html_weight or (json_weight == html_weight > 0 and "text/html" not in weights):
        media_type, body = "application/json", _as_json(status, fault.title, explanation)
    elif html_weight > 0:
        media_type, body = "text/html; charset=UTF-8", _as_html(status, explanation)
    else:
        media_type, body = "text/plain; charset=UTF-8", f"{status}\n\n{explanation}\n".encode()
    return Response(fault.status, (("Content-Type", media_type), *fault.headers), body)


def _as_json(status: str, title: str, explanation: str) -> bytes:
    return orjson.dumps({"message": explanation, "code": status, "title": title})


def _as_html(status: str, explanation: str) -> bytes:
    # Clients cut the tags and show what is left: quotes, which are harmless between tags, stay readable.
    title, text = html.escape(status, quote=False), html.escape(explanation, quote=False)
    page = (
        f"<html>\n <head>\n  <title>{title}</title>\n </head>\n"
        f" <body>\n  <h1>{title}</h1>\n  {text}<br /><br />\n </body>\n</html>\n"
    )
    return page.encode()
