"""
Uploads, of known length and chunked.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from imagedata.bounds import HASHES, hash_upload
from imagedata.client import Load
from imagedata.rows import OURS, Figures, Goal, Row, Trial
from imagedata.site import Site, ask, create
from imagedata.transfers import CPU, RATE, costs
from peers import STOCK
from processes import HOST, ServerProcess

__all__ = ["rows"]

CLIENTS = (1, 4)

_GOALS = (
    Goal(figure=RATE, factors={STOCK: 1.4}, at_most=False),
    Goal(figure=CPU, factors={STOCK: 0.8}),
    Goal(figure=CPU, factors={HASHES: 1.25}),
)


def rows(site: Site) -> Iterator[Row]:
    """
    Every client uploads the whole image, into one of its own.
    """
    for clients in CLIENTS:
        for chunked in (False, True):
            yield Row(
                case="upload",
                title=f"upload, {'chunked' if chunked else 'fixed'}, {clients} client{'s' * (clients > 1)}",
                trials=list(_trials(site, clients, chunked)),
                goals=_GOALS,
            )


def _trials(site: Site, clients: int, chunked: bool) -> Iterator[Trial]:
    targets = {OURS: site.api, STOCK: site.stock_uncached}
    for name, target in targets.items():
        if target is not None:
            yield Trial(name, partial(_measure, site, target, clients, chunked))
    yield Trial(HASHES, partial(hash_upload, site.source(site.sizes.image)))


def _measure(site: Site, target: ServerProcess, clients: int, chunked: bool) -> Figures:
    ids = [create(target) for _ in range(clients)]
    source = site.source(site.sizes.image)
    urls = [f"http://{HOST}:{target.port}/v2/images/{each}/file" for each in ids]
    words = ["put", "-n", clients, *(["-c"] if chunked else []), "-f", source, *urls]

    def transfer() -> Load:
        return site.client.run(words).require([204])

    try:
        return costs(target, transfer, clients * site.sizes.image)[1]
    finally:
        for each in ids:
            ask(target, "DELETE", f"/v2/images/{each}")
