"""
Links in an upstream's answers, led back to the address that the client used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

import orjson

from glance_tx.web.endpoint import PublicEndpoint
from glance_tx.web.request import Request

__all__ = ["Links"]

# An absolute link into the Image API; whatever precedes the version belongs to the service's own address.
_API_LINK: Final = re.compile(r"https?://[^/?#]+(?:/[^?#]*?)?(/v[0-9]+(?:\.[0-9]+)?(?:[/?#].*)?)", re.IGNORECASE)

_EXTRA_VERSIONS: Final = ("v2.18", "v2.16", "v2.14")
"""Clients look for these, under these very ids, before they use ``/v2/cache``."""


class Links:
    """
    Leads links back.

    :param endpoint: Where clients reach this node.
    :param bases: The URLs of the upstreams.
    """

    def __init__(self, endpoint: PublicEndpoint, bases: Iterable[str]) -> None:
        self._endpoint = endpoint
        self._bases = tuple(spelling for base in bases for spelling in _spellings(base))
        self._prefixes = {path for base in self._bases if (path := urlsplit(base).path)}

    def check(self, request: Request) -> None:
        """
        Make sure that links can be led back to this client; to be asked while nothing has happened yet.

        :raises BadRequest: The Host header is no host.
        """
        self._endpoint.base(request)

    def lead_back(self, link: str, request: Request) -> str:
        """
        Turn a link to an upstream, as we know it, into one through this node; others stay as they are.

        This is for redirects, which may lead anywhere.
        """
        for base in self._bases:
            if _begins_with(link, base):
                return self._endpoint.base(request) + link[len(base) :]
        for prefix in self._prefixes:
            if _begins_with(link, prefix):
                return link[len(prefix) :]
        return link

    def lead_api_back(self, link: str, request: Request) -> str:
        """
        Turn any link into the Image API into one through this node.

        This is for links by which an image service names something of its own: they begin with the address that it
        takes for its public one, which need not be ours for it.
        """
        led_back = self.lead_back(link, request)
        if led_back != link:
            return led_back
        matched = _API_LINK.fullmatch(link)
        return link if matched is None else self._endpoint.base(request) + matched[1]

    def versions(self, document: bytes, request: Request) -> bytes:
        """
        Turn the links of a version document around, and add the versions that stand for cache management.

        A document of another shape stays as it is.
        """
        try:
            parsed = orjson.loads(document)
            versions = [self._version(version, request) for version in parsed["versions"]]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return document
        listed = {version.get("id") for version in versions}
        self_link = {"rel": "self", "href": f"{self._endpoint.base(request)}/v2/"}
        versions += [
            {"id": name, "status": "SUPPORTED", "links": [self_link]} for name in _EXTRA_VERSIONS if name not in listed
        ]
        return orjson.dumps({**parsed, "versions": versions})

    def _version(self, version: Mapping[str, object], request: Request) -> dict[str, object]:
        links = version["links"]
        if not isinstance(links, list):
            raise TypeError("links is not a list")
        return {**version, "links": [{**link, "href": self.lead_api_back(link["href"], request)} for link in links]}


def _spellings(base: str) -> Iterable[str]:
    # A server that is asked at its scheme's own port need not name it.
    yield base
    parts = urlsplit(base)
    port = {"http": ":80", "https": ":443"}[parts.scheme]
    if parts.netloc.endswith(port):
        yield parts._replace(netloc=parts.netloc.removesuffix(port)).geturl()


def _begins_with(link: str, start: str) -> bool:
    # Scheme and host have no case; that of a path counts, but no two services differ by it.
    return link[: len(start)].lower() == start.lower() and (len(link) == len(start) or link[len(start)] in "/?#")
