"""
What a daemon holds in memory before anybody asks for anything, and how soon it answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial

from imagedata.rows import OURS, Figures, Goal, Row, Trial
from imagedata.site import MIB, Site
from imagedata.transfers import settle
from peers import STOCK
from processes import ServerProcess

__all__ = ["rows"]

RESIDENT, START = "resident_mib", "start_seconds"

_GOALS = (Goal(figure=RESIDENT, factors={STOCK: 0.4}), Goal(figure=START, factors={STOCK: 0.4}))


def rows(site: Site) -> Iterator[Row]:
    """
    Every daemon is started anew in each round. The first one makes the tables, and does not count.
    """
    stock = site.fresh_stock()
    peers = [Trial(STOCK, partial(_measure, stock))] if stock is not None else []
    for title, start in (("glance-api", site.fresh_api()), ("glance-cache", site.fresh_cache())):
        trials = [Trial(OURS, partial(_measure, start)), *peers]
        yield Row(case="idle", title=f"idle, {title}", trials=trials, goals=_GOALS)


def _measure(start: Callable[[], AbstractContextManager[ServerProcess]]) -> Figures:
    with start() as running:
        settle(running)
        return {RESIDENT: running.family.resident_bytes() / MIB, START: running.start_seconds}
