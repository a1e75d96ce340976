"""
What proxies before this daemon say of the requests that they pass on.

Note [Forwarded requests]

Whoever connects can send ``X-Forwarded-For`` and its kin, or ``Forwarded`` (RFC 7239), so they count only where the
peer of the connection is a proxy that the operator trusts. Each proxy appends what it saw, so such a list is read from
its end: the last entry is our peer's, the one before it counts if that names a proxy that is trusted, too, and so on;
the first address that is not trusted is the client's. Of the other ``X-Forwarded-`` headers the last value counts.
``Forwarded`` goes before ``X-Forwarded-``, as in a stock Glance.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from attrs import frozen

from glance_tx.web.errors import BadRequest
from glance_tx.web.request import Request

__all__ = ["HOST", "Network", "Origin", "ProxyTrust"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# From 0 to 65535; what goes beyond cannot be a port.
_PORT_NUMBER: Final = r"(?:[0-5]?[0-9]{1,4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"

# A host as RFC 3986 section 3.2.2 has it, and a port.
HOST: Final = re.compile(rf"(?:[A-Za-z0-9._~-]{{1,255}}|\[[0-9A-Fa-f:.]{{2,45}}\])(?::{_PORT_NUMBER})?")

_HOPS: Final = 16
"""As many proxies may stand in line."""

_PORT: Final = re.compile(_PORT_NUMBER)
_PREFIX: Final = re.compile(r"(?:/[A-Za-z0-9._~%-]+)*/?")
_NODE: Final = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9.]+)(?::[0-9]{1,5})?|([0-9A-Fa-f:.]+)")
_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105  # RFC 9110's word for it
# Brackets and colons belong into quotes, which not everybody knows.
_PAIR: Final = re.compile(rf'\s*({_TOKEN})=(?:"((?:[^"\\]|\\.)*)"|([^\s",;]+))\s*([;,]|$)')


@frozen
class Origin:
    """
    What a request was like before proxies passed it on.

    :param scheme: And ``host``, with its port: as the client used them; ``None`` where nobody says.
    :param port: Of the host, where that says none.
    :param prefix: What a proxy takes from the beginning of paths.
    """

    scheme: str | None = None
    host: str | None = None
    port: str | None = None
    prefix: str = ""


@frozen
class ProxyTrust:
    """
    Which proxies are believed. See Note [Forwarded requests].

    :param networks: Where they are.
    :param scheme_header: Which header tells the scheme.
    """

    networks: tuple[Network, ...] = ()
    scheme_header: str = "X-Forwarded-Proto"

    def client(self, request: Request) -> str | None:
        """
        Tell the address of the client; what cannot be read counts for nothing.
        """
        peer = request.peer_host
        if not self._trusts(peer):
            return peer
        elements = _elements(request)
        if elements:
            return self._walk(peer, (element.get("for", "") for element in reversed(elements)))[0]
        entries = (request.header("X-Forwarded-For") or "").split(",")
        return self._walk(peer, reversed(entries))[0]

    def origin(self, request: Request) -> Origin:
        """
        Tell what the request was like.

        :raises BadRequest: A trusted proxy passed on what cannot be read.
        """
        peer = request.peer_host
        if not self._trusts(peer):
            return Origin()
        if request.header("Forwarded") is None:
            return self._from_single_headers(request)
        elements = _elements(request)
        if not elements:
            raise BadRequest("the Forwarded header cannot be read")
        _, hops = self._walk(peer, (element.get("for", "") for element in reversed(elements)))
        element = elements[-hops]
        scheme, host = element.get("proto"), element.get("host")
        return Origin(_checked_scheme("Forwarded", scheme), _checked("Forwarded", host, HOST))

    def _from_single_headers(self, request: Request) -> Origin:
        def last(name: str, allowed: re.Pattern[str]) -> str | None:
            return _checked(name, _last_value(request, name), allowed)

        return Origin(
            _checked_scheme(self.scheme_header, _last_value(request, self.scheme_header)),
            last("X-Forwarded-Host", HOST),
            last("X-Forwarded-Port", _PORT),
            (last("X-Forwarded-Prefix", _PREFIX) or "").rstrip("/"),
        )

    def _walk(self, peer: str | None, entries: Iterator[str]) -> tuple[str | None, int]:
        """
        Follow a list from its end, as far as it is to be believed.

        :return: The address one comes to, and how many entries were believed, at least one.
        """
        address, hops = peer, 0
        for entry in islice(entries, _HOPS):
            hops += 1
            node = _address(entry)
            if node is None:
                break
            address = node
            if not self._trusts(address):
                break
        return address, max(hops, 1)

    def _trusts(self, address: str | None) -> bool:
        if address is None or not self.networks:
            return False
        try:
            known = ipaddress.ip_address(address)
        except ValueError:
            return False
        # A socket for both families shows a peer of the older one so.
        if isinstance(known, ipaddress.IPv6Address) and known.ipv4_mapped is not None:
            known = known.ipv4_mapped
        return any(known in network for network in self.networks)


def _last_value(request: Request, name: str) -> str | None:
    value = request.header(name)
    return None if value is None else value.rpartition(",")[2].strip() or None


def _checked(header: str, value: str | None, allowed: re.Pattern[str]) -> str | None:
    if value is not None and allowed.fullmatch(value) is None:
        raise BadRequest(f"the header {header} cannot be read")
    return value


def _checked_scheme(header: str, value: str | None) -> str | None:
    if value is None:
        return None
    if value.lower() not in {"http", "https"}:
        raise BadRequest(f"the header {header} must say http or https")
    return value.lower()


def _address(node: str) -> str | None:
    """
    Read the address of a node, with or without a port; ``None`` where it is unknown, hidden, or none.
    """
    found = _NODE.fullmatch(node.strip())
    if found is None:
        return None
    text = next(group for group in found.groups() if group is not None)
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


def _elements(request: Request) -> Sequence[Mapping[str, str]]:
    """
    Take the Forwarded header apart: one mapping for each proxy. Nothing, where it cannot be read.
    """
    text = request.header("Forwarded")
    elements: list[dict[str, str]] = [{}]
    position = 0
    while text is not None and position < len(text):
        found = _PAIR.match(text, position)
        if found is None:
            return ()
        name, quoted, plain, end = found.groups()
        if name.lower() in elements[-1]:
            return ()
        elements[-1][name.lower()] = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        if end == ",":
            elements.append({})
        position = found.end()
    return elements if elements[-1] else ()
