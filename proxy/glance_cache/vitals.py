"""
What a node depends on, and how that does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from attrs import frozen

from glance_cache.changes import ImageChanges
from glance_cache.hits import HitCounter
from glance_cache.interfaces import ICacheIndex
from glance_cache.space import SpaceAccount
from glance_cache.turns import UpstreamState
from glance_tx.telemetry.redact import redact_url

__all__ = ["Vitals"]


@frozen(kw_only=True)
class Vitals:
    """
    Whether all that a node needs is there.

    :param upstreams: Tells what is known of each of them.
    :param listens: Whether the node is to hear of changes at all.
    :param offline_since: Tells since when no upstream can be reached, in seconds since the epoch.
    """

    upstreams: Callable[[], Sequence[UpstreamState]]
    index: ICacheIndex
    hits: HitCounter
    changes: ImageChanges
    listens: bool
    offline_since: Callable[[], float | None]
    account: SpaceAccount

    def view(self) -> Mapping[str, object]:
        """
        Show it.
        """
        return {
            "upstreams": [_upstream_view(state) for state in self.upstreams()],
            "index": {
                "kind": self.index.name,
                "reachable": self.hits.index_reachable,
                "unsent": self.hits.unsent,
            },
            "offline_since": self.offline_since(),
            "changes_heard": self.changes.listening if self.listens else None,
            "disk_full": self.account.disk.full,
        }


def _upstream_view(state: UpstreamState) -> Mapping[str, object]:
    return {
        "url": redact_url(state.base),
        "well": state.well,
        "failures": state.failures,
        "rests_until": state.rests_until,
        "last_error": state.last_error,
        "last_error_at": state.last_error_at,
    }
