"""
Hits over TLS.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator

from imagedata.client import ClientFailed, Load, Outcome
from imagedata.downloads import cached
from imagedata.rows import OURS, Figures, Goal, Row, Trial
from imagedata.servers import NGINX
from imagedata.site import MIB, Site
from imagedata.transfers import RATE, costs
from processes import HOST, ServerProcess

__all__ = ["rows"]

_PIECE_BYTES = 256 << 10
_TIMEOUT_SECONDS = 120.0


def rows(site: Site) -> Iterator[Row]:
    """
    With one client, which has to decrypt what it gets.
    """
    image = cached(site, target=site.cache_tls, fetch=lambda: _fetch(site.cache_tls.port, site.image(site.api).path))
    trials = [_trial(OURS, site.cache_tls, site.cache_tls.port, image.path, image.size)]
    if site.nginx is not None:
        path = site.static(site.cached_file("glance-cache-tls", image))
        trials.append(_trial(NGINX, site.nginx.process, site.nginx.static_tls, path, image.size))
    yield Row(
        case="tls",
        title=f"hit over TLS, glance-cache, 1 x {image.size // MIB} MiB",
        trials=trials,
        goals=(Goal(figure=RATE, factors={NGINX: 0.9}, at_most=False),),
    )


def _trial(name: str, target: ServerProcess, port: int, path: str, size: int) -> Trial:
    def run() -> Figures:
        load, figures = costs(target, lambda: _fetch(port, path))
        load.require([200], size)
        return figures

    return Trial(name, run)


def _fetch(port: int, path: str) -> Load:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    began, used, buffer = time.monotonic(), time.process_time(), bytearray(_PIECE_BYTES)
    with (
        socket.create_connection((HOST, port), timeout=_TIMEOUT_SECONDS) as plain,
        context.wrap_socket(plain) as connection,
    ):
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nConnection: close\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            more = connection.recv(4096)
            if not more:
                raise ClientFailed("no answer over TLS")
            head += more
        first, size = time.monotonic(), len(head.partition(b"\r\n\r\n")[2])
        while count := connection.recv_into(buffer):
            size += count
    ended = time.monotonic()
    status, cache = int(head.split()[1]), "hit" if b"x-cache: hit" in head.lower() else ""
    # It is the most that this client can do: where it is busy, it is busy decrypting.
    busy = time.process_time() - used
    return Load(began, ended, busy, [Outcome(status, size, 1, first, ended, cache)])
