"""
Options that say which proxies are believed.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from typing import ClassVar, Final

from attrs import frozen
from oslo_config import cfg, types

from glance_tx.settings import Problem, Section, Settings, option
from glance_tx.settings.values import Network, Word
from glance_tx.web.forwarded import Network as ProxyNetwork
from glance_tx.web.forwarded import ProxyTrust

__all__ = ["MiddlewareSettings", "ProxySettings", "proxy_trust", "warn_of_trust"]

_THIS_MACHINE: Final = (ip_network("127.0.0.0/8"), ip_network("::1"))
_DEFAULT_HEADER: Final = "X-Forwarded-Proto"


@frozen(kw_only=True)
class ProxySettings(Section):
    """
    Proxies between clients and the daemon.
    """

    GROUP: ClassVar[str] = "DEFAULT"

    trusted_proxies: tuple[ProxyNetwork, ...] = option(
        cfg.Opt(
            "trusted_proxies",
            type=types.List(item_type=Network()),
            default=[],
            sample_default="<none>",
            help="Proxies whose word counts for the client's address in the log, and for the address, scheme and path "
            "in links: by X-Forwarded-For, -Proto, -Host, -Port and -Prefix, or by Forwarded. From anybody else these "
            "headers mean nothing. Nobody by default, as whoever can connect can send them.",
        )
    )
    secure_proxy_ssl_header: str = option(
        cfg.Opt(
            "secure_proxy_ssl_header",
            type=Word(r"[A-Za-z][A-Za-z0-9_-]{0,99}", "the name of a header"),
            default=_DEFAULT_HEADER,
            help="The header by which a trusted proxy tells whether a client came by http or https. As with stock "
            "Glance it may be written like HTTP_X_FORWARDED_PROTO.",
        )
    )


@frozen(kw_only=True)
class MiddlewareSettings(Section):
    """
    Stock's own switch for the same.
    """

    GROUP: ClassVar[str] = "oslo_middleware"

    enable_proxy_headers_parsing: bool = option(
        cfg.BoolOpt(
            "enable_proxy_headers_parsing",
            default=False,
            help="Stock Glance then believes everybody. Here [DEFAULT] trusted_proxies says who is believed; where "
            "that is not set, this switch means a proxy on the same machine (127.0.0.0/8 and ::1).",
        )
    )


def proxy_trust(settings: Settings) -> ProxyTrust:
    """
    Say whom an operator trusts.
    """
    proxies = settings[ProxySettings]
    networks = proxies.trusted_proxies
    if not networks and settings[MiddlewareSettings].enable_proxy_headers_parsing:
        networks = _THIS_MACHINE
    header = proxies.secure_proxy_ssl_header.replace("_", "-")
    return ProxyTrust(networks, header[5:] if header.upper().startswith("HTTP-") else header)


def warn_of_trust(settings: Settings) -> Iterator[Problem]:
    """
    Say what an operator of a stock Glance may not expect.
    """
    proxies, middleware = settings[ProxySettings], settings[MiddlewareSettings]
    if proxies.trusted_proxies:
        return
    if middleware.enable_proxy_headers_parsing:
        reason = "proxies on this machine alone are believed; name others in [DEFAULT] trusted_proxies"
        yield Problem(reason, None, MiddlewareSettings.GROUP, "enable_proxy_headers_parsing")
    elif proxies.secure_proxy_ssl_header != _DEFAULT_HEADER:
        reason = "no effect: no proxy is believed as long as [DEFAULT] trusted_proxies is not set"
        yield Problem(reason, None, ProxySettings.GROUP, "secure_proxy_ssl_header")
