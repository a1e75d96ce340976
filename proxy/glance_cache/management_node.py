"""
What a node shows of itself, which it knows without asking anybody: its index may be away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from attrs import asdict

from glance_cache.entry import EntryState
from glance_cache.interfaces import HitTotals
from glance_cache.management_tools import ManagementTools, add_path, entry_view
from glance_cache.managers import Managers
from glance_cache.tally import ITally
from glance_tx.web.app import App
from glance_tx.web.request import Request
from glance_tx.web.response import Response, json_response

__all__ = ["TOP_IMAGES", "NodeRoutes", "answers_view", "disk_view", "fill_views", "top_view"]

TOP_IMAGES: Final = 10
"""As many images are shown of those with most hits."""


class NodeRoutes:
    """
    One node by itself: its work, its room, and the health of what it depends on.
    """

    def __init__(self, tools: ManagementTools, managers: Managers, tally: ITally) -> None:
        self._tools = tools
        self._managers = managers
        self._tally = tally

    def mount(self, app: App) -> None:
        """
        Add the routes to an application.
        """
        add_path(app, "/v2/cache/node", {"GET": self.show})

    async def show(self, request: Request) -> Response:
        """
        ``GET /v2/cache/node``.
        """
        await self._managers.require(request, "cache_list")
        tools, tally = self._tools, self._tally
        prefetcher = tools.prefetcher
        return json_response(
            {
                "node": tools.node,
                "at": tools.now(),
                **answers_view(tally),
                "rates": tally.rates(),
                "minutes": [asdict(minute) for minute in tally.minutes()],
                "disk": await disk_view(tools),
                "fills": fill_views(tools),
                "health": tools.health(),
                "top_images": top_view(tools.top(TOP_IMAGES)),
                "prefetch": {
                    "possible": prefetcher is not None,
                    "may_begin": prefetcher is not None and prefetcher.may_begin,
                },
            }
        )


def answers_view(tally: ITally) -> Mapping[str, object]:
    """
    Show what a node answered since its processes started.
    """
    answers = tally.answers
    served = answers.total()
    return {
        "answers": dict(answers),
        "hit_ratio": round(tally.from_cache / served, 4) if served else None,
        "hits": {"since_start": tally.hits, "bytes_since_start": tally.hit_bytes},
    }


async def disk_view(tools: ManagementTools) -> Mapping[str, object]:
    """
    Show the room of a cache.
    """
    account, entries = tools.entries.account, tools.entries
    states = tools.whole.states()
    counts = Counter(states.values())
    return {
        "used_bytes": account.used_bytes,
        "reserved_bytes": account.reserved_bytes,
        "max_bytes": account.max_bytes,
        "free_bytes": await entries.housekeeping.free_bytes(),
        "complete": counts[EntryState.COMPLETE],
        "filling": counts[EntryState.FILLING],
        "partial": counts[EntryState.PARTIAL],
        "damaged": counts[EntryState.DAMAGED],
        "pinned": entries.pinned_count(),
    }


def fill_views(tools: ManagementTools) -> Sequence[Mapping[str, object]]:
    """
    Show the fills under way.
    """
    return [entry_view(info, tools.totals(info.image_id)) for info in tools.whole.filling()]


def top_view(totals: Mapping[str, HitTotals]) -> Sequence[Mapping[str, object]]:
    """
    Show the images with most hits, the first one first.

    :param totals: By image id.
    """
    first = sorted(totals.items(), key=lambda item: (-item[1].hits, item[0]))[:TOP_IMAGES]
    return [{"image_id": image_id, "hits": t.hits, "bytes_sent": t.bytes_sent} for image_id, t in first]
