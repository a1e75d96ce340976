"""
Where an upstream sends us for image data, and what goes along.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

from glance_cache.client import Exchange

__all__ = ["MOST_REDIRECTS", "REDIRECTS", "redirect_target", "same_origin"]

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})

MOST_REDIRECTS: Final = 5
"""One is enough for a store that hands out signed addresses. More than these are taken for a circle."""

_PRINTABLE: Final = re.compile(r"[\x21-\x7e]{1,8192}")
_PORTS: Final = {"http": 80, "https": 443}


def redirect_target(answer: Exchange, url: str) -> str | None:
    """
    Tell where an answer sends us.

    :param url: What was asked for.
    :return: ``None`` where it is no redirect, or one that is not followed: to an address that is none or names a
        user, or from https to http.
    """
    location = answer.header("Location")
    if answer.status not in REDIRECTS or location is None or _PRINTABLE.fullmatch(location) is None:
        return None
    try:
        target = urlsplit(urljoin(url, location))
        usable = target.scheme in _PORTS and target.hostname and target.username is None and target.port != 0
    except ValueError:  # brackets, or a port that is none
        return None
    if not usable or (target.scheme == "http" and urlsplit(url).scheme == "https"):
        return None
    return target._replace(path=target.path or "/", fragment="").geturl()


def same_origin(url: str, other: str) -> bool:
    """
    Tell whether two addresses are of one server, so that what one is told the other one may know.
    """
    return _origin(urlsplit(url)) == _origin(urlsplit(other))


def _origin(url: SplitResult) -> tuple[str, str | None, int]:
    return url.scheme, url.hostname, url.port or _PORTS[url.scheme]
