"""
What a node shows of itself in its metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from glance_cache.changes import ImageChanges
from glance_cache.fills import Fills
from glance_cache.grants import Grants
from glance_cache.hits import HitCounter
from glance_cache.repairs import RepairCounts
from glance_cache.scrub import ScrubCounts
from glance_cache.space import SpaceAccount
from glance_tx.telemetry.metrics import Metrics
from glance_tx.telemetry.redact import redact_url

__all__ = ["show_repairs", "show_room", "show_scrub", "show_upstreams", "show_work"]


def show_upstreams(metrics: Metrics, urls: Sequence[str]) -> Callable[[str, bool], None]:
    """
    Show which upstreams work.

    :return: To be told of an upstream by its URL, and whether it worked.
    """
    label = ["upstream"]
    well = metrics.gauge("upstream_well", "Whether an upstream worked when last asked.", label, merge="min")
    failures = metrics.counter("upstream_failures", "How often an upstream began to fail.", label)
    for url in urls:
        well.labels(redact_url(url)).set(1)
        failures.labels(redact_url(url))

    def told(url: str, is_well: bool) -> None:
        well.labels(redact_url(url)).set(is_well)
        if not is_well:
            failures.labels(redact_url(url)).inc()

    return told


def show_room(metrics: Metrics, account: SpaceAccount) -> None:
    """
    Show what the cache takes, and may take, of the disk.
    """
    metrics.watch("used_bytes", "Room that cached images take.", lambda: account.used_bytes)
    metrics.watch("reserved_bytes", "Room promised to fills.", lambda: account.reserved_bytes)
    metrics.watch("max_bytes", "Room that the cache may take.", lambda: account.max_bytes, merge="max")
    disk = account.disk
    metrics.watch("disk_free_bytes", "Room that the disk of the cache has left.", lambda: disk.free_bytes, merge="max")
    metrics.watch("disk_full", "Whether the disk has no room for fills.", lambda: disk.full, merge="max")
    metrics.watch("disk_refusals", "Fills for which the disk had no room.", lambda: disk.refusals)


def show_repairs(metrics: Metrics, counts: RepairCounts) -> None:
    """
    Show what became of damaged chunks.
    """
    metrics.watch("repaired_chunks", "Damaged chunks put right.", lambda: counts.chunks)
    metrics.watch("repair_failures", "Entries removed as they could not be repaired.", lambda: counts.failures)


def show_scrub(metrics: Metrics, counts: ScrubCounts) -> None:
    """
    Show how the scrub goes on.
    """
    metrics.watch("scrub_running", "Whether this process scrubs.", lambda: counts.running)
    metrics.watch("scrubbed_bytes", "Bytes read anew and held against digests.", lambda: counts.size_bytes)
    metrics.watch("scrubbed_entries", "Entries read anew to their ends.", lambda: counts.entries)
    metrics.watch("scrub_wrong_chunks", "Damaged chunks that the scrub found.", lambda: counts.wrong_chunks)


def show_work(metrics: Metrics, fills: Fills, hits: HitCounter, grants: Grants, changes: ImageChanges) -> None:
    """
    Show what the node is doing, and what it remembers.
    """
    metrics.watch("fills_begun", "Fills since the start.", lambda: fills.count)
    metrics.watch("fills_running", "Fills under way.", lambda: len(fills.under_way))
    metrics.watch("fills_abandoned", "Fills stopped as nobody waited any more.", lambda: fills.abandoned)
    metrics.watch("hits_unsent", "Images with hits that the index does not have yet.", lambda: hits.unsent)
    metrics.watch("grants", "Permissions remembered.", lambda: grants.count)
    metrics.watch("changes_listening", "Whether changes are heard of.", lambda: changes.listening)
    metrics.watch("index_reachable", "Whether the index answers.", lambda: hits.index_reachable, merge="min")
