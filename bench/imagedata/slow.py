"""
Many clients that take little: what they cost, and what the others notice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

from imagedata.downloads import cached, download
from imagedata.fills import forget_ours
from imagedata.probes import P99, probing
from imagedata.rows import OURS, Figures, Goal, Row, Trial
from imagedata.site import KIB, MIB, Image, Site
from imagedata.transfers import RATE, settle
from peers import STOCK
from processes import HOST, ServerProcess

__all__ = ["rows"]

CLIENTS, STOCK_CLIENTS = 200, 32
PACE = 256 * KIB
OTHERS = 2
ROUNDS = 3

GROWTH, KEPT = "growth_mib", "others_rate_kept"

_BEGIN_SECONDS = 2.0
_PROBE_SECONDS = 4.0
_SLOW_SECONDS = 60.0

_GOALS = (
    Goal(figure=GROWTH, value=64),
    Goal(figure=KEPT, value=0.9, at_most=False),
    Goal(figure=P99, value=50),
)


def rows(site: Site) -> Iterator[Row]:
    """
    On a hit, and on a fill through a line of 100 MiB/s.
    """
    image = cached(site)
    ours = partial(_measure, site, site.cache, image, image, CLIENTS, lambda: None)
    trials = [Trial(OURS, ours)]
    if site.stock is not None:
        theirs = site.image(site.stock)
        download(site, site.stock.port, theirs.path, 1)
        trials.append(Trial(STOCK, partial(_measure_stock, site, site.stock, theirs)))
    yield Row(case="slow", title=f"{CLIENTS} slow clients, hit", trials=trials, goals=_GOALS, rounds=ROUNDS)
    other = cached(site, site.sizes.image // 2, site.slow_cache)
    forget = partial(forget_ours, site.slow_cache, image.path)
    yield Row(
        case="slow",
        title=f"{CLIENTS} slow clients, fill",
        trials=[Trial(OURS, partial(_measure, site, site.slow_cache, image, other, CLIENTS, forget))],
        goals=_GOALS,
        rounds=ROUNDS,
    )


def _measure(
    site: Site, target: ServerProcess, image: Image, other: Image, clients: int, prepare: Callable[[], object]
) -> Figures:
    prepare()
    settle(target)
    family = target.family
    alone = download(site, target.port, other.path, OTHERS).require([200], other.size, "hit")
    family.forget_peak()
    before = family.resident_bytes()
    with site.client.started(_slow_words(target, image, clients)):
        time.sleep(_BEGIN_SECONDS)
        with probing(target) as probe:
            time.sleep(_PROBE_SECONDS)
        beside = download(site, target.port, other.path, OTHERS).require([200], other.size, "hit")
        grown = family.peak_bytes() - before
    return {
        GROWTH: grown / MIB,
        RATE: beside.bytes / MIB / beside.seconds,
        KEPT: alone.seconds / beside.seconds,
        **probe.figures(),
    }


def _measure_stock(site: Site, target: ServerProcess, image: Image) -> Figures:
    # It has 16 threads to a process: what is of interest is whether anybody else is answered.
    with site.client.started(_slow_words(target, image, STOCK_CLIENTS)):
        time.sleep(_BEGIN_SECONDS)
        with probing(target) as probe:
            time.sleep(_PROBE_SECONDS)
    return probe.figures()


def _slow_words(target: ServerProcess, image: Image, clients: int) -> list[object]:
    return ["get", "-n", clients, "-p", PACE, "-t", _SLOW_SECONDS, f"http://{HOST}:{target.port}{image.path}"]
