"""
Routes that show how a node does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from glance_cache.events import IEventSource
from glance_cache.hit_sums import HitSums
from glance_cache.interfaces import HitTotals
from glance_cache.management_node import answers_view, disk_view, fill_views, top_view
from glance_cache.management_tools import ManagementTools, add_path
from glance_cache.managers import Managers
from glance_cache.neighbors import neighbor_view
from glance_cache.tally import ITally
from glance_tx.streaming.relay import ReaderBody
from glance_tx.web.app import App
from glance_tx.web.request import Request
from glance_tx.web.response import Response, json_response

__all__ = ["WatchRoutes"]

_STREAM_HEADERS: Final = (
    ("Content-Type", "text/event-stream"),
    ("Cache-Control", "no-store"),
    # Proxies hold answers back, or cut them, unless they are told.
    ("X-Accel-Buffering", "no"),
)


def _sums(totals: Mapping[str, HitTotals]) -> Mapping[str, object]:
    return {name: {"hits": t.hits, "bytes_sent": t.bytes_sent} for name, t in sorted(totals.items())}


class WatchRoutes:
    """
    Numbers, and what happens as it does.
    """

    def __init__(self, tools: ManagementTools, managers: Managers, tally: ITally, events: IEventSource) -> None:
        self._tools = tools
        self._managers = managers
        self._tally = tally
        self._events = events

    def mount(self, app: App) -> None:
        """
        Add the routes to an application.
        """
        add_path(app, "/v2/cache/stats", {"GET": self.stats})
        add_path(app, "/v2/cache/nodes", {"GET": self.nodes})
        add_path(app, "/v2/cache/events", {"GET": self.events})

    async def stats(self, request: Request) -> Response:
        """
        ``GET /v2/cache/stats``.
        """
        await self._managers.require(request, "cache_list")
        tools = self._tools
        sums = HitSums.of(await tools.index.all_hits())
        return json_response(
            {
                "node": tools.node,
                **answers_view(self._tally),
                "offline": tools.offline(),
                "all_nodes": {
                    "images": len(sums.images),
                    "hits": sums.whole.hits,
                    "bytes_sent": sums.whole.bytes_sent,
                },
                "top_images": top_view(sums.images),
                "by_node": _sums(sums.nodes),
                "by_project": _sums(sums.projects),
                "by_hour": _sums(sums.hours),
                "rates": self._tally.rates(),
                "disk": await disk_view(tools),
                "fills": fill_views(tools),
                "queue": await self._queue(),
            }
        )

    async def nodes(self, request: Request) -> Response:
        """
        ``GET /v2/cache/nodes``.
        """
        await self._managers.require(request, "cache_list")
        return json_response({"nodes": [neighbor_view(said) for said in await self._tools.neighbors.all()]})

    async def _queue(self) -> Mapping[str, object]:
        states = Counter(str(job.state) for job in await self._tools.index.jobs(self._tools.node))
        prefetcher = self._tools.prefetcher
        may_begin = prefetcher is not None and prefetcher.may_begin
        return {**{state: states[state] for state in ("queued", "running", "failed")}, "may_begin": may_begin}

    async def events(self, request: Request) -> Response:
        """
        ``GET /v2/cache/events``. The first one tells which node it is.
        """
        await self._managers.require(request, "cache_list")
        stream = self._events.open()
        stream.put(b": glance-cache %b\n\n" % self._tools.node.encode())
        return Response(200, _STREAM_HEADERS, ReaderBody(stream, None), on_end=lambda _: self._events.close(stream))
