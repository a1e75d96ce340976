"""
Which header lines a proxy passes on, and which it keeps to itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from twisted.web.http import stringToDatetime
from twisted.web.http_headers import Headers

__all__ = ["HOP_BY_HOP", "STALE", "end_to_end", "retry_after_seconds"]

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

STALE: Final = ("Warning", '110 - "Response is Stale"')
"""Says that nobody could be asked whether an answer still holds (RFC 7234 section 5.5.1)."""


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


def retry_after_seconds(lines: Iterable[tuple[bytes, bytes]], now: float) -> float | None:
    """
    Read from an answer's header lines for how long its sender wants to be left alone.

    :param now: Seconds since the epoch: the header may name a moment.
    :return: ``None`` where it does not say.
    """
    for name, value in lines:
        if name.lower() == b"retry-after":
            text = value.strip()
            if text.isdigit():
                return float(text[:9])
            try:
                return max(0.0, float(stringToDatetime(text)) - now)
            except (ValueError, IndexError, KeyError):
                return None
    return None
