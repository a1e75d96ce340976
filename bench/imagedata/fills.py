"""
Cold fills: an image that no cache has yet, for one client and for many at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from attrs import frozen

from imagedata.bounds import HASHES, hash_fill
from imagedata.client import ClientFailed, Load
from imagedata.downloads import download
from imagedata.rows import BUSY, OURS, Figures, Goal, Row, Trial
from imagedata.servers import NGINX, VARNISH
from imagedata.site import MIB, THROTTLE, Image, Site, ask, wait_until
from imagedata.transfers import CPU, LAST_BYTE, PEAK, costs
from imagedata.upstreams import LoggedUpstream, RelayedUpstream, Upstream
from processes import ServerProcess

__all__ = ["forget_ours", "herd", "rows"]

HERD = 16
AMPLIFICATION, FIRST_BYTE_AFTER = "amplification", "slowest_first_byte_after_upstream_ms"

_ONE_TRANSFER = Goal(figure=AMPLIFICATION, value=1.01)


@frozen
class _Contender:
    """
    A cache that can be made to forget.

    :param forget: Makes it forget an image; given the image's data path.
    """

    name: str
    process: ServerProcess
    port: int
    forget: Callable[[str], object]


def herd(site: Site) -> Iterator[Row]:
    """
    Many clients at once, and an upstream behind a slow line.
    """
    image = site.image(site.api)
    slow = RelayedUpstream(site.slow_line)
    yield Row(
        case="herd",
        title=f"cold fill at {THROTTLE // MIB} MiB/s, {HERD} clients",
        trials=[_trial(site, each, slow, image, HERD) for each in _contenders(site, site.slow_line.port)],
        goals=(
            _ONE_TRANSFER,
            Goal(figure=LAST_BYTE, factors={VARNISH: 1.1}),
            Goal(figure=LAST_BYTE, factors={NGINX: 0.75}),
            Goal(figure=FIRST_BYTE_AFTER, value=50),
        ),
    )


def rows(site: Site) -> Iterator[Row]:
    """
    As fast as the upstream can.
    """
    image = site.image(site.api)
    fast = LoggedUpstream(site.folder / "glance-api/glance-api.log")
    for clients in (1, HERD):
        trials = [_trial(site, each, fast, image, clients) for each in _contenders(site, site.api.port)]
        yield Row(
            case="fill",
            title=f"cold fill, {clients} client{'s' * (clients > 1)}",
            trials=[*trials, Trial(HASHES, partial(hash_fill, site.source(image.size)))],
            goals=(
                _ONE_TRANSFER,
                Goal(figure=LAST_BYTE, factors={VARNISH: 1.1, HASHES: 1.25}),
                Goal(figure=LAST_BYTE, factors={NGINX: 1.0}),
            ),
        )


def _contenders(site: Site, upstream_port: int) -> list[_Contender]:
    ours = site.cache if upstream_port == site.api.port else site.slow_cache
    found = [_Contender(OURS, ours, ours.port, partial(forget_ours, ours))]
    if site.nginx is not None:
        port = site.nginx.upstreams[upstream_port]
        found.append(_Contender(NGINX, site.nginx.process, port, partial(_forget_nginx, site, port)))
    if site.varnish is not None:
        port = site.varnish.upstreams[upstream_port]
        process = ServerProcess(VARNISH, port, site.varnish.process.pid)
        found.append(_Contender(VARNISH, process, port, lambda path: ask(process, "PURGE", path)))
    return found


def forget_ours(target: ServerProcess, path: str) -> None:
    """
    Remove an image from a cache of ours.
    """
    # It is kept a moment after the last byte; a fill that is still under way cannot be forgotten.
    identity = path.split("/")[3]
    ask(target, "DELETE", f"/v2/cache/{identity}")
    wait_until(lambda: identity.encode() not in ask(target, "GET", "/v2/cache"), "forgetting an image")


def _forget_nginx(site: Site, port: int, _: str) -> None:
    # It has no other way: without its file, an image counts as never cached.
    for path in (site.folder / NGINX / f"cache{port}").rglob("*"):
        if path.is_file():
            path.unlink()


def _trial(site: Site, contender: _Contender, upstream: Upstream, image: Image, clients: int) -> Trial:
    def run() -> Figures:
        contender.forget(image.path)
        upstream.forget()

        def transfer() -> Load:
            return download(site, contender.port, image.path, clients)

        load, figures = costs(contender.process, transfer, image.size)
        load.require([200], image.size)
        fetched, first = upstream.fetched_bytes(), upstream.first_byte()
        if fetched < image.size:
            raise ClientFailed(f"{contender.name} took {fetched} bytes from the upstream: it was not cold")
        seen = {AMPLIFICATION: fetched / image.size, LAST_BYTE: load.last_byte_seconds}
        if first:
            seen[FIRST_BYTE_AFTER] = (load.began + load.first_byte_seconds - first) * 1000
        return {**seen, CPU: figures[CPU], PEAK: figures[PEAK], BUSY: figures[BUSY]}

    return Trial(contender.name, run)
