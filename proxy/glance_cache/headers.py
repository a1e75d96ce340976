"""
Which header lines a proxy passes on, and which it keeps to itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from twisted.web.http_headers import Headers

__all__ = ["HOP_BY_HOP", "end_to_end"]

HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Names that concern one connection only (RFC 9110 section 7.6.1)."""


def end_to_end(headers: Headers) -> Iterator[tuple[bytes, bytes]]:
    """
    List the lines that are for the other end: neither hop-by-hop, nor named by Connection, nor about the framing
    of the message, which each connection has of its own.

    A server behind may not tell underscores from dashes, as one of WSGI cannot: it is not to find a second length.
    """
    named = {name.strip().lower() for line in headers.getRawHeaders(b"connection", []) for name in line.split(b",")}
    for name, lines in headers.getAllRawHeaders():
        lowered = name.lower()
        dashed = lowered.replace(b"_", b"-")
        if dashed in HOP_BY_HOP or dashed == b"content-length" or lowered in named:
            continue
        for line in lines:
            yield name, line
