"""
Small pieces at random offsets, as a guest asks for that boots from an image on demand.
"""

from __future__ import annotations

from collections.abc import Iterator

from imagedata.downloads import cached, download
from imagedata.rows import BUSY, OURS, Figures, Goal, Row, Trial
from imagedata.servers import NGINX
from imagedata.site import Site
from imagedata.transfers import CPU_REQUEST, PEAK, REQUESTS, costs
from peers import STOCK
from processes import HOST, ServerProcess

__all__ = ["rows"]

CLIENTS = 8
SECONDS = 3.0
SPAN = 64 << 10


def rows(site: Site) -> Iterator[Row]:
    """
    Over connections that are kept where the server keeps them, and with grants that are remembered.
    """
    yield Row(
        case="range",
        title=f"{SPAN >> 10} KiB ranges, glance-cache, {CLIENTS} clients",
        trials=list(_trials(site)),
        goals=(
            Goal(figure=REQUESTS, factors={NGINX: 0.3}, at_most=False),
            Goal(figure=REQUESTS, factors={STOCK: 8}, at_most=False),
        ),
    )


def _trials(site: Site) -> Iterator[Trial]:
    image = cached(site)
    yield _trial(OURS, site, site.cache, site.cache.port, image.path)
    if site.nginx is not None:
        path = site.static(site.cached_file("glance-cache", image))
        yield _trial(NGINX, site, site.nginx.process, site.nginx.static, path)
    if site.stock is not None:
        theirs = site.image(site.stock)
        download(site, site.stock.port, theirs.path, 1)
        yield _trial(STOCK, site, site.stock, site.stock.port, theirs.path)


def _trial(name: str, site: Site, target: ServerProcess, port: int, path: str) -> Trial:
    words = ["ranges", "-n", CLIENTS, "-s", SECONDS, "-l", SPAN, "-z", site.sizes.image]

    def run() -> Figures:
        before = target.cpu_seconds()
        load, figures = costs(target, lambda: site.client.run([*words, f"http://{HOST}:{port}{path}"]))
        load.require([206])
        cpu_ms = (target.cpu_seconds() - before) * 1000 / load.requests
        rate = load.requests / load.seconds
        return {REQUESTS: rate, CPU_REQUEST: cpu_ms, PEAK: figures[PEAK], BUSY: figures[BUSY]}

    return Trial(name, run)
