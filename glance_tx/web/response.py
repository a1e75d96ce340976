"""
What a route answers, as a value: the application writes it out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import orjson
from attrs import field, frozen

from glance_tx.streaming.interfaces import IBodyProducer

__all__ = ["Response", "json_response"]


@frozen
class Response:
    """
    One answer.

    Whoever takes a response takes its body with it: the body is either sent, or let go unsent (`close` of an
    `IFileBody`, `stopProducing` of any other producer).

    :param status: The status code.
    :param headers: Further header lines, in order; names may repeat. Content-Length and the headers of one
        connection (Transfer-Encoding, Connection) are not among them: they come from the body. A value is sent as
        Latin-1 where that can hold it, so that a value received as such goes out as it came, and as UTF-8 elsewhere.
    :param body: Bytes in memory, or a producer whose length is exact. ``None`` means no body at all, and no
        Content-Type. A producer of unknown length (an answer passed on from a server that did not say) is sent
        chunked.
    :param announced_length: Content-Length of an answer to HEAD, or of a 304, where it differs from the body's.
    :param on_end: Called exactly once when the answer is over, with whether its last byte was handed to the
        connection: the place to count what was delivered whole, and to release what stood behind the body.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | IBodyProducer | None = field(default=None, repr=False)
    announced_length: int | None = None
    on_end: Callable[[bool], None] | None = field(default=None, repr=False)


def json_response(document: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """
    Make an answer of a JSON document: UTF-8, not escaped to ASCII (contract 1.3).
    """
    lines = (("Content-Type", "application/json"), *(headers or {}).items())
    return Response(status, lines, orjson.dumps(document))
