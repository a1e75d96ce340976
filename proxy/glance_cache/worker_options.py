"""
How many processes serve from one cache folder.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen
from oslo_config import cfg

from glance_cache.offline_options import OfflineSettings
from glance_tx.settings import Conflict, Settings, option
from glance_tx.workers.options import WorkerSettings

__all__ = ["CacheWorkerSettings", "find_grants_of_many"]


@frozen(kw_only=True)
class CacheWorkerSettings(WorkerSettings):
    """
    Processes that serve, and share the cache folder.
    """

    count: int = option(
        cfg.IntOpt(
            "workers",
            min=0,
            max=64,
            default=1,
            help="Processes that serve from the one cache folder, below a parent that starts them anew when they die. "
            "An image is downloaded once, whichever of them is asked for it. One process moves image data at "
            "little cost, so the default is 1, without a parent; more pay off for many small ranges and for TLS. "
            "fill_bandwidth and max_fills are divided among them; prefetch_bandwidth, prefetch_concurrency and "
            "recheck_rate are kept by all together; max_connections and body_threads count for each.",
        )
    )


def find_grants_of_many(settings: Settings) -> Iterator[Conflict]:
    """
    Find permissions that several processes would keep in one file.
    """
    if settings[OfflineSettings].keeps_grants and settings[WorkerSettings].count > 1:
        yield Conflict("cache", "offline_grants", "is true, which several workers cannot share; set workers = 1")
