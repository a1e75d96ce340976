"""
Links in an upstream's answers, led back to the address that the client used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import orjson

from glance_tx.web.endpoint import PublicEndpoint
from glance_tx.web.request import Request

__all__ = ["Links"]

# An absolute link into the Image API; whatever precedes the version belongs to the upstream's own address.
_API_LINK: Final = re.compile(r"https?://[^/?#]+(?:/[^?#]*?)?(/v[0-9](?:\.[0-9]+)?(?:[/?#].*)?)")

_EXTRA_VERSIONS: Final = ("v2.16", "v2.14")
"""Clients look for these, under these very ids, before they use ``/v2/cache``."""


class Links:
    """
    Leads links back.

    :param endpoint: Where clients reach this node.
    """

    def __init__(self, endpoint: PublicEndpoint) -> None:
        self._endpoint = endpoint

    def lead_back(self, link: str, request: Request) -> str:
        """
        Turn a link into the upstream's API into one through this node; others stay as they are.
        """
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
        return {**version, "links": [{**link, "href": self.lead_back(link["href"], request)} for link in links]}
