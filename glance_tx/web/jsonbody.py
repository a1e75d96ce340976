"""
A JSON document out of a request body, read with suspicion.
"""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

from glance_tx.streaming.interfaces import IBodyReader
from glance_tx.streaming.units import KiB
from glance_tx.web.errors import BadRequest, PayloadTooLarge

__all__ = ["JSON_LIMIT_BYTES", "JsonDocument", "parse_json", "read_json"]

JSON_LIMIT_BYTES: Final = 112 * KiB
"""
The longest JSON body, unless a route says otherwise: the default of the middleware that OpenStack services share.
"""

# Deeper documents than this have no meaning in the API, and would take later code over Python's recursion limit.
_MAX_NESTING: Final = 64

# An odd number of backslashes: with an even one it is a backslash and four digits. No other way leads to a NUL.
_NUL_ESCAPE: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")

JsonDocument = dict[str, Any] | list[Any]


async def read_json(body: IBodyReader, limit_bytes: int = JSON_LIMIT_BYTES) -> JsonDocument:
    """
    Take in a request body whole and parse it.

    :param limit_bytes: What the body may have at most; nothing beyond it is read.
    :raises PayloadTooLarge: It has more.
    :raises BadRequest: As `parse_json`.
    """
    if body.length is not None and body.length > limit_bytes:
        raise PayloadTooLarge(limit_bytes)
    pieces: list[bytes] = []
    received = 0
    while piece := await body.read(limit_bytes + 1 - received):
        received += len(piece)
        if received > limit_bytes:
            raise PayloadTooLarge(limit_bytes)
        pieces.append(piece)
    return parse_json(b"".join(pieces))


def parse_json(data: bytes) -> JsonDocument:
    """
    Parse a JSON object or array.

    Strictly as RFC 8259 has it: UTF-8, no byte order mark, no NaN or infinite numbers, no halves of surrogate
    pairs. And no NUL in any text, which no database would take. Of a name that is there twice in one object the last
    counts, as it does in stock Glance.

    :raises BadRequest: There is no document, or it is something else, or nested more than 64 deep.
    """
    if not data.strip():
        raise BadRequest("a JSON body is required")
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as exc:
        raise BadRequest(f"Malformed JSON in request body: {exc}") from exc
    if not isinstance(document, dict | list):
        raise BadRequest("Malformed JSON in request body: an object or an array is required")
    if _NUL_ESCAPE.search(data):
        raise BadRequest("Malformed JSON in request body: a text has a NUL character")
    # Each level costs an opening bracket, so most documents need no walk.
    if data.count(b"{") + data.count(b"[") > _MAX_NESTING and _is_deep(document):
        raise BadRequest(f"Malformed JSON in request body: nested more than {_MAX_NESTING} levels deep")
    return document


def _is_deep(document: JsonDocument) -> bool:
    level: list[JsonDocument] = [document]
    for _ in range(_MAX_NESTING):
        below: list[JsonDocument] = []
        for container in level:
            children = container.values() if isinstance(container, dict) else container
            below.extend(child for child in children if isinstance(child, dict | list))
        if not below:
            return False
        level = below
    return True
