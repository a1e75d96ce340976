"""
Hits, and whole images from the file store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from imagedata.client import Load
from imagedata.rows import OURS, Figures, Goal, Row, Trial
from imagedata.servers import NGINX, VARNISH
from imagedata.site import MIB, Image, Site
from imagedata.transfers import CPU, RATE, costs
from peers import STOCK
from processes import HOST, ServerProcess

__all__ = ["cached", "download", "rows"]

CLIENTS = (1, 8, 32)
ROUNDS = 15

_TRIES = 20

_GOALS = (
    Goal(figure=CPU, factors={NGINX: 1.15}, loose=1.5),
    Goal(figure=RATE, factors={NGINX: 0.9}, at_most=False),
)
_GOAL_STOCK = Goal(figure=CPU, factors={STOCK: 0.65})


def rows(site: Site) -> Iterator[Row]:
    """
    One client takes an image of the full size; of many, each takes all of a smaller one, so that four times as much
    is moved in a round.
    """
    for clients, size in _loads(site):
        title = f"hit, glance-cache, {clients} x {size // MIB} MiB"
        trials = list(_cached_trials(site, clients, size))
        yield Row(case="download", title=title, trials=trials, goals=(*_GOALS, _GOAL_STOCK), rounds=ROUNDS)
    for clients, size in _loads(site):
        title = f"file store, glance-api, {clients} x {size // MIB} MiB"
        trials = list(_stored_trials(site, clients, size))
        yield Row(case="download", title=title, trials=trials, goals=_GOALS, rounds=ROUNDS)


def _loads(site: Site) -> Iterator[tuple[int, int]]:
    for clients in CLIENTS:
        yield clients, site.sizes.image // max(1, clients // 4)


def _cached_trials(site: Site, clients: int, size: int) -> Iterator[Trial]:
    image = cached(site, size)
    yield _trial(OURS, site, site.cache, image, clients, cache="hit")
    if site.nginx is not None:
        path = site.static(site.cached_file("glance-cache", image))
        yield _trial(NGINX, site, site.nginx.process, image, clients, port=site.nginx.static, path=path)
    if site.varnish is not None:
        port = site.varnish.upstreams[site.api.port]
        download(site, port, image.path, 1)
        yield _trial(VARNISH, site, site.varnish.process, image, clients, port=port)
    if site.stock is not None:
        theirs = site.image(site.stock, size)
        # The first one fills its cache.
        download(site, site.stock.port, theirs.path, 1)
        yield _trial(STOCK, site, site.stock, theirs, clients)


def _stored_trials(site: Site, clients: int, size: int) -> Iterator[Trial]:
    image = site.image(site.api, size)
    yield _trial(OURS, site, site.api, image, clients)
    if site.nginx is not None:
        path = site.static(site.stored_file(image))
        yield _trial(NGINX, site, site.nginx.process, image, clients, port=site.nginx.static, path=path)
    if site.stock_uncached is not None:
        yield _trial(STOCK, site, site.stock_uncached, site.image(site.stock_uncached, size), clients)


def cached(
    site: Site,
    size: int | None = None,
    target: ServerProcess | None = None,
    fetch: Callable[[], Load] | None = None,
) -> Image:
    """
    See that a cache of ours has an image.

    :param target: The one before our image service by default.
    :param fetch: How it is downloaded; plainly by default.
    """
    image = site.image(site.api, size)
    port = (target or site.cache).port
    fetch = fetch or (lambda: download(site, port, image.path, 1))
    # The first one after a fill may still follow that.
    for _ in range(_TRIES):
        load = fetch().require([200], image.size)
        if load.clients[0].cache == "hit":
            break
    return image


def download(site: Site, port: int, path: str, clients: int, words: Sequence[object] = ()) -> Load:
    """
    Download something with several clients at once.
    """
    return site.client.run(["get", "-n", clients, *words, f"http://{HOST}:{port}{path}"])


def _trial(
    name: str, site: Site, target: ServerProcess, image: Image, clients: int, *,
    port: int | None = None, path: str | None = None, cache: str | None = None,
) -> Trial:  # fmt: skip
    def run() -> Figures:
        load, figures = costs(target, lambda: download(site, port or target.port, path or image.path, clients))
        load.require([200], image.size, cache)
        return figures

    return Trial(name, run)
