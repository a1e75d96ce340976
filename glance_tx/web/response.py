"""
What a route answers, as a value: the application writes it out.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from attrs import field, frozen

from glance_tx.streaming.interfaces import IBodyProducer

__all__ = ["Response", "json_response"]


@frozen
class Response:
    """
    One answer.

    :param status: The status code.
    :param headers: Further header lines, in order; names may repeat. Content-Length is not among them: it comes
        from the body.
    :param body: Bytes in memory, or a producer whose length is exact. ``None`` means no body at all, and no
        Content-Type.
    :param announced_length: Content-Length of an answer to HEAD, where it differs from the (empty) body's.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | IBodyProducer | None = field(default=None, repr=False)
    announced_length: int | None = None


def json_response(document: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """
    Make an answer of a JSON document: UTF-8, not escaped to ASCII (contract 1.3).
    """
    lines = (("Content-Type", "application/json"), *(headers or {}).items())
    return Response(status, lines, orjson.dumps(document))
