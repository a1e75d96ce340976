"""
Version discovery, and the prefixes that lead to the same API.

Note [Announced versions]
-------------------------
A version number switches nothing on. It only announces, and clients look for the number that a feature came with
before they use it (python-glanceclient: v2.12, v2.14 and v2.17), so a number is announced once its feature is there:

- v2.0 to v2.2: the base of the API (tasks and metadata definitions are still to come), the newer patch, and schemas.
  openstacksdk and Nova look for some v2, and for no more.
- v2.3: deactivate and reactivate. v2.4: locations in patches, in the statuses that allow them. v2.5: sharing with
  members, and visibilities.
- v2.7: ``os_hidden`` and ``os_hash_value``. It is the current one, as the newest whose own features all work.
- Not v2.6 (import), v2.8 to v2.11, v2.13 and v2.15 (several stores), v2.12 (tasks of an image), v2.17 (the locations
  API). v2.14, v2.16 and v2.18 stand for a cache, which is glance-cache's.

As a prefix of paths, a version is accepted announced or not, as by a stock Glance with one store and no cache.
"""

from __future__ import annotations

import re
from typing import Final

from glance_tx.web.accept import accepted_version
from glance_tx.web.app import App, BodyRule
from glance_tx.web.endpoint import PublicEndpoint
from glance_tx.web.request import Request
from glance_tx.web.response import Response, json_response

__all__ = ["CURRENT_VERSION", "SUPPORTED_VERSIONS", "VersionRoutes", "without_version"]

# See Note [Announced versions].
CURRENT_VERSION: Final = "v2.7"
SUPPORTED_VERSIONS: Final = ("v2.5", "v2.4", "v2.3", "v2.2", "v2.1", "v2.0")

# Always accepted, whatever is announced (contract section 1.1).
_PREFIXES: Final = frozenset({"v2", *(f"v2.{minor}" for minor in (0, 1, 2, 3, 4, 5, 6, 7, 9, 15, 17))})
_VERSION: Final = re.compile(r"v[0-9]+(?:\.[0-9]+)?")
# They are of no version.
_OUTSIDE: Final = frozenset({"", "versions", "healthcheck"})
_UNKNOWN: Final = "/unknown-version"
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def without_version(path: str, accept: str | None = None) -> str:
    """
    Make all spellings of the API's prefix one, and of every version that is not known one path.

    :param accept: The Accept header. For a path without a version it may name one, by a media type.
    """
    _, first, *rest = path.split("/", 2) if path.startswith("/") else ("", "")
    if _VERSION.fullmatch(first) is not None:
        return "/".join(("/v2", *rest)) if first in _PREFIXES else _UNKNOWN
    accepted = None if first in _OUTSIDE else accepted_version(accept)
    if accepted is None:
        return path
    return f"/v2{path}" if accepted in _PREFIXES else _UNKNOWN


class VersionRoutes:
    """
    ``/``, ``/versions`` and every path of an unknown version: which versions there are. No token is needed.
    """

    def __init__(self, endpoint: PublicEndpoint) -> None:
        self._endpoint = endpoint

    def mount(self, app: App) -> None:
        """
        Add the routes to an application.
        """
        app.add("GET", "/versions", self.versions)
        app.add("GET", "/v2", self.add_slash)
        for path in ("/", _UNKNOWN):
            for method in _METHODS:
                app.add(method, path, self.choices, BodyRule.STREAM)

    async def versions(self, request: Request) -> Response:
        """
        ``GET /versions``.
        """
        return json_response(self._document(request))

    async def choices(self, request: Request) -> Response:
        """
        The same document, as the answer to a request that names no version, or one that is not there.
        """
        return json_response(self._document(request), 300)

    async def add_slash(self, request: Request) -> Response:
        """
        ``GET /v2``: stock sends clients on to the path with a slash.
        """
        return Response(302, (("Location", f"{self._endpoint.base(request)}/v2/"),))

    def _document(self, request: Request) -> dict[str, object]:
        links = [{"rel": "self", "href": f"{self._endpoint.base(request)}/v2/"}]
        announced = [(CURRENT_VERSION, "CURRENT"), *((name, "SUPPORTED") for name in SUPPORTED_VERSIONS)]
        return {"versions": [{"id": name, "status": status, "links": links} for name, status in announced]}
