"""
What a node depends on, and how that does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from attrs import define, frozen

from glance_cache.changes import ImageChanges
from glance_cache.hits import HitCounter
from glance_cache.interfaces import ICacheIndex
from glance_cache.space import SpaceAccount
from glance_tx.telemetry.redact import redact_url

__all__ = ["Upstreams", "Vitals"]


@define
class _Upstream:
    well: bool = True
    failures: int = 0


class Upstreams:
    """
    Which upstreams work, as far as this process knows: one counts as well until it is asked, and does not work.

    :param urls: Of all of them, the best one first.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        self._known = {url: _Upstream() for url in urls}

    def told(self, url: str, is_well: bool) -> None:
        """
        Take note of an upstream that began to fail, or works again.
        """
        upstream = self._known[url]
        upstream.well = is_well
        upstream.failures += not is_well

    def view(self) -> Sequence[Mapping[str, object]]:
        """
        Show all of them, without passwords.
        """
        return [{"url": redact_url(url), "well": u.well, "failures": u.failures} for url, u in self._known.items()]


@frozen(kw_only=True)
class Vitals:
    """
    Whether all that a node needs is there.

    :param listens: Whether the node is to hear of changes at all.
    :param offline_since: Tells since when no upstream can be reached, in seconds since the epoch.
    """

    upstreams: Upstreams
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
            "upstreams": self.upstreams.view(),
            "index": {
                "kind": self.index.name,
                "reachable": self.hits.index_reachable,
                "unsent": self.hits.unsent,
            },
            "offline_since": self.offline_since(),
            "changes_heard": self.changes.listening if self.listens else None,
            "disk_full": self.account.disk.full,
        }
