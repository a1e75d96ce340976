"""
Secrets, kept out of whatever people read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

__all__ = ["REDACTED", "SECRET_HEADERS", "printable", "redact_headers", "redact_text", "redact_url"]

REDACTED: Final = "***"

SECRET_HEADERS: Final = frozenset(
    {
        "authorization",
        "cookie",
        "proxy-authorization",
        "set-cookie",
        "x-auth-key",
        "x-auth-token",
        "x-service-token",
        "x-storage-token",
        "x-subject-token",
    }
)
"""Header names, in lower case, whose values are credentials."""

# Up to the last "@" of the authority: a password may itself contain one. Or a slash that should have been escaped, but
# is taken by those who read database URLs; what looks like a port is none. Bounded, as clients choose these texts too.
_USERINFO: Final = re.compile(r"(?<=://)(?:[^/?#\s]*|[^/?#\s:@[]{0,256}:(?!\d{1,5}[/?#])[^\s@]{0,256})@")
_SECRET_PARAMETERS: Final = re.compile(
    r"([?&;](?:[\w.-]*(?:password|passwd|secret|signature|token)|sig|key)=)[^&;#\s]+", re.IGNORECASE
)
_HIDDEN: Final = rf"\g<1>{REDACTED}"
_SECRET_LINES: Final = re.compile(
    rf"\b((?:{'|'.join(re.escape(name) for name in sorted(SECRET_HEADERS))})['\"]?\s*[:=]\s*)[^\r\n]+", re.IGNORECASE
)


def _keep_user(found: re.Match[str]) -> str:
    user, colon, _ = found.group().partition(":")
    return f"{user}:{REDACTED}@" if colon and user else f"{REDACTED}@"


def redact_url(url: str) -> str:
    """
    Take the secrets out of a URL: the password of its authority and parameters such as ``token``.

    A user name stays where a password follows it; alone it may be a token and goes too.
    """
    # Most have neither, and a search for a text costs next to nothing.
    if "://" in url:
        url = _USERINFO.sub(_keep_user, url)
    return _SECRET_PARAMETERS.sub(_HIDDEN, url) if "=" in url else url


def redact_text(text: str) -> str:
    """
    Take the secrets out of running text: those of URLs in it, and the values of credential headers.

    Meant as the last line of defense. Whoever writes a message leaves the secrets out of it.
    """
    if "://" in text:
        text = redact_url(text)
    return _SECRET_LINES.sub(_HIDDEN, text)


def redact_headers(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """
    Copy header lines with the values of credential headers replaced.
    """
    return tuple((name, REDACTED if name.lower() in SECRET_HEADERS else value) for name, value in headers)


def printable(text: str, limit: int) -> str:
    """
    Make a client's words safe for one line of a log: bounded, with control and unprintable characters escaped.

    :param limit: Most characters of ``text`` to keep; a cut is marked by ``...``.
    """
    kept = text[:limit]
    if not kept.isprintable():
        kept = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in kept)
    return kept if len(text) <= limit else f"{kept}..."
