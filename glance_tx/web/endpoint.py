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
from glance_tx.web.request import Request

__all__ = ["PublicEndpoint"]

# A host as RFC 3986 section 3.2.2 has it, and a port.
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._~-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


class PublicEndpoint:
    """
    The address that links in answers begin with.

    :param configured: It, where the operator named it; else it is what each request says in Host.
    """

    def __init__(self, configured: str | None) -> None:
        self._configured = configured.rstrip("/") if configured else None

    def base(self, request: Request) -> str:
        """
        Tell the address that a client used, without a slash at its end.

        :raises BadRequest: The Host header is no host.
        """
        if self._configured is not None:
            return self._configured
        scheme = "https" if request.isSecure() else "http"
        host = request.requestHeaders.getRawHeaders(b"Host", [b""])[0].decode("latin-1")
        if not host:
            here = request.getHost()
            name = f"[{here.host}]" if isinstance(here, IPv6Address) else here.host
            host = f"{name}:{here.port}"
        elif _HOST.fullmatch(host) is None:
            raise BadRequest("the Host header is not the name of a host")
        return f"{scheme}://{host}"
