"""
What the HTTP edge refuses before any route has a say, or on behalf of all of them.
"""

from __future__ import annotations

from attrs import frozen

from glance_tx.errors import FactualError


class WebError(FactualError):
    """
    A request that the edge does not serve.
    """


@frozen
class BadRequest(WebError):
    """
    The request is malformed.
    """

    message = "{self.reason}"
    reason: str


@frozen
class UriTooLong(WebError):
    """
    The request target is longer than the edge takes.
    """

    message = "the request target is longer than the {self.limit_bytes} bytes allowed"
    limit_bytes: int


@frozen
class HeadTooLarge(WebError):
    """
    The header lines are too long or too many.
    """

    message = "{self.subject} exceed the limit of {self.limit}"
    subject: str
    limit: int


@frozen
class ExpectationUnknown(WebError):
    """
    The client expects something other than 100-continue.
    """

    message = "the expectation {self.expectation!r} cannot be met"
    expectation: str


@frozen
class RequestTimedOut(WebError):
    """
    The client began a request and did not finish it in time.
    """

    message = "the request did not arrive within {self.seconds} seconds"
    seconds: float


@frozen
class RouteNotFound(WebError):
    """
    No route has this path.
    """

    message = "there is nothing at {self.path}"
    path: str


@frozen
class MethodNotAllowed(WebError):
    """
    The path exists, but not for this method.

    :param allowed: The methods it does have, for the Allow header.
    """

    message = "{self.method} is not allowed here"
    method: str
    allowed: tuple[str, ...]


@frozen
class UnsupportedMediaType(WebError):
    """
    The body is of a kind that the route does not take.

    :param supported: The kinds it does take.
    """

    message = "the media type {self.media_type!r} is not supported here"
    media_type: str
    supported: tuple[str, ...] = ()


@frozen
class PayloadTooLarge(WebError):
    """
    The body is longer than the route takes.
    """

    message = "the body is longer than the {self.limit_bytes} bytes allowed"
    limit_bytes: int


@frozen
class DeadlineExceeded(WebError):
    """
    A handler took longer than it may.
    """

    message = "the request could not be answered within {self.seconds} seconds"
    seconds: float


@frozen
class ListenFailed(WebError):
    """
    An address cannot be listened on.
    """

    message = "cannot listen on {self.address}: {self.reason}"
    address: str
    reason: str
