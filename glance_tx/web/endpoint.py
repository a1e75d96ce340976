"""
Under which address clients reach this server.
"""

# Methods that Twisted left untyped are inherited by our requests.
# mypy: allow-untyped-calls

from __future__ import annotations

import re
from typing import Final

from twisted.internet.address import IPv6Address

from glance_tx.web.errors import BadRequest
from glance_tx.web.forwarded import HOST, ProxyTrust
from glance_tx.web.request import Request

__all__ = ["PublicEndpoint"]

_HAS_PORT: Final = re.compile(r":[0-9]+$")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class PublicEndpoint:
    """
    The address that links in answers begin with.

    :param configured: It, where the operator named it; else it is what each request says in Host.
    :param trust: Whose word counts more than the request's own.
    """

    def __init__(self, configured: str | None, trust: ProxyTrust = ProxyTrust()) -> None:  # noqa: B008 - a frozen value
        self._configured = configured.rstrip("/") if configured else None
        self._trust = trust

    def base(self, request: Request) -> str:
        """
        Tell the address that a client used, without a slash at its end.

        :raises BadRequest: The Host header is no host, or a proxy says something that cannot be read.
        """
        if self._configured is not None:
            return self._configured
        origin = self._trust.origin(request)
        scheme = origin.scheme or ("https" if request.isSecure() else "http")
        host = origin.host or _host(request)
        if origin.port is not None and not _HAS_PORT.search(host) and int(origin.port) != _DEFAULT_PORTS[scheme]:
            host = f"{host}:{origin.port}"
        return f"{scheme}://{host}{origin.prefix}"


def _host(request: Request) -> str:
    host = request.requestHeaders.getRawHeaders(b"Host", [b""])[0].decode("latin-1")
    if not host:
        here = request.getHost()
        name = f"[{here.host}]" if isinstance(here, IPv6Address) else here.host
        return f"{name}:{here.port}"
    if HOST.fullmatch(host) is None:
        raise BadRequest("the Host header is not the name of a host")
    return host
