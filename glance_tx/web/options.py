"""
Options of the HTTP edge: addresses, and what a connection may cost.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from attrs import frozen
from oslo_config import cfg

from glance_tx.identity.options import AuthSettings
from glance_tx.settings import Conflict, Section, Settings, option
from glance_tx.settings.values import AbsolutePath, BindAddress, HttpUrl
from glance_tx.streaming.units import KiB, MiB
from glance_tx.tls.server import ServerFiles

__all__ = [
    "HttpSettings",
    "ListenSettings",
    "ManagementSettings",
    "ManagementTlsSettings",
    "TlsSettings",
    "find_half_certificates",
    "find_open_doors",
    "is_loopback",
]


@frozen(kw_only=True)
class ListenSettings(Section):
    """
    Where the API is served.
    """

    GROUP: ClassVar[str] = "DEFAULT"

    bind_host: str = option(
        cfg.Opt(
            "bind_host",
            type=BindAddress(),
            default="0.0.0.0",  # noqa: S104
            help="Address to listen at. All of the machine's by default, as stock Glance does; with [auth] strategy "
            "= none only a loopback address is accepted.",
        )
    )
    bind_port: int = option(
        cfg.PortOpt(
            "bind_port",
            default=9292,
            help="TCP port to listen at. The default is the one registered for Glance; 0 takes any free one.",
        )
    )
    backlog: int = option(
        cfg.IntOpt(
            "backlog",
            min=1,
            max=65535,
            default=4096,
            help="Connections that may wait to be accepted. The kernel cuts it to net.core.somaxconn.",
        )
    )
    drain_seconds: int = option(
        cfg.IntOpt(
            "graceful_shutdown_timeout",
            min=0,
            max=86400,
            default=60,
            help="Seconds that transfers under way may take to end when the daemon is told to stop; then they are cut. "
            "New connections are refused meanwhile.",
        )
    )
    public_endpoint: str | None = option(
        cfg.Opt(
            "public_endpoint",
            type=HttpUrl(),
            help="URL by which clients reach this daemon, for the links it gives out. Unset, links use the address "
            "in the client's own request, which is right without a proxy in between.",
        )
    )


@frozen(kw_only=True)
class ManagementSettings(Section):
    """
    A second port, for metrics and the operator's eyes.
    """

    GROUP: ClassVar[str] = "management"

    bind_host: str = option(
        cfg.Opt(
            "bind_host",
            type=BindAddress(),
            default="127.0.0.1",
            help="Address to listen at. Metrics and health are told without a token there, so it is the machine itself "
            "by default.",
        )
    )
    bind_port: int = option(
        cfg.PortOpt("bind_port", default=0, help="TCP port to listen at. 0, the default, turns all of it off.")
    )


_CERT_HELP = (
    "The server's certificate in PEM, and after it those between it and an authority. With it the port speaks TLS (1.2 "
    "or 1.3) and nothing else; unset, it speaks plain HTTP. Read anew when it changes, for new connections."
)
_KEY_HELP = "The key of cert_file in PEM, without a passphrase."
_CA_HELP = (
    "Authorities, in PEM, for certificates of clients: with it a client without a certificate by one of them is not "
    "let in. It takes the place of no token."
)


@frozen(kw_only=True)
class _TlsSection(Section):
    """
    TLS on one port.
    """

    cert_file: Path | None = option(cfg.Opt("cert_file", type=AbsolutePath(), help=_CERT_HELP))
    key_file: Path | None = option(cfg.Opt("key_file", type=AbsolutePath(), help=_KEY_HELP))
    ca_file: Path | None = option(cfg.Opt("ca_file", type=AbsolutePath(), help=_CA_HELP))

    @property
    def files(self) -> ServerFiles | None:
        """
        Say where the port's certificate lies; ``None`` where it speaks plain HTTP.
        """
        if self.cert_file is None or self.key_file is None:
            return None
        return ServerFiles(self.cert_file, self.key_file, self.ca_file)


@frozen(kw_only=True)
class TlsSettings(_TlsSection):
    """
    TLS where the API is served. A proxy before the daemon does it at a lower price, as it need not copy data.
    """

    GROUP: ClassVar[str] = "DEFAULT"


@frozen(kw_only=True)
class ManagementTlsSettings(_TlsSection):
    """
    TLS on the management port.
    """

    GROUP: ClassVar[str] = "management"


@frozen(kw_only=True)
class HttpSettings(Section):
    """
    What one connection may take.
    """

    GROUP: ClassVar[str] = "DEFAULT"

    client_timeout_seconds: int = option(
        cfg.IntOpt(
            "client_socket_timeout",
            min=1,
            max=86400,
            default=60,
            help="Seconds that a connection may idle between requests, or take to bring a request's head. Shorter "
            "than stock's 900, as an idle connection costs memory and a client simply opens another.",
        )
    )
    stall_seconds: int = option(
        cfg.IntOpt(
            "stall_timeout",
            min=1,
            max=86400,
            default=60,
            help="Seconds without a single byte after which a transfer of image data is given up, in either "
            "direction. A slow client is no stalled one: there is no bound on the time of a transfer.",
        )
    )
    max_connections: int = option(
        cfg.IntOpt(
            "max_connections",
            min=1,
            max=1_000_000,
            default=2000,
            help="Connections of clients that one process has at a time; with that many, others wait to be accepted "
            "(as many as backlog says). The default suits two processors and 1 GiB of memory. Where thousands of "
            "hosts download at once, raise it together with the process's limit of open files (LimitNOFILE of "
            "systemd): a download takes two, and with several workers each has a limit of its own.",
        )
    )
    max_header_line_bytes: int = option(
        cfg.IntOpt(
            "max_header_line",
            min=KiB,
            max=MiB,
            default=16 * KiB,
            help="Longest header line in bytes. Stock's default, with room for large tokens.",
        )
    )


def find_half_certificates(settings: Settings) -> Iterator[Conflict]:
    """
    Find certificates without a key, and the other way round: the port would speak plain HTTP.
    """
    for tls in (settings[TlsSettings], settings[ManagementTlsSettings]):
        group = tls.GROUP
        if (tls.cert_file is None) != (tls.key_file is None):
            present, missing = ("key_file", "cert_file") if tls.cert_file is None else ("cert_file", "key_file")
            yield Conflict(group, present, f"needs [{group}] {missing}")
        elif tls.ca_file is not None and tls.cert_file is None:
            yield Conflict(group, "ca_file", f"needs [{group}] cert_file and key_file: without TLS no client shows one")


def is_loopback(host: str) -> bool:
    """
    Tell whether only this machine can reach an address.

    :param host: An IP address or a name; of names only ``localhost`` is known to stay at home.
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def find_open_doors(settings: Settings) -> Iterator[Conflict]:
    """
    Find addresses that would let anybody in as an administrator.
    """
    if settings[AuthSettings].strategy != "none":
        return
    reason = (
        "with [auth] strategy = none everybody who connects is an administrator, so this must be a loopback address"
    )
    if not is_loopback(settings[ListenSettings].bind_host):
        yield Conflict("DEFAULT", "bind_host", reason)
    management = settings[ManagementSettings]
    if management.bind_port != 0 and not is_loopback(management.bind_host):
        yield Conflict("management", "bind_host", reason)
