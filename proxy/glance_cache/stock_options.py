"""
Options of a stock Glance, most of them of its cache, that glance-cache does not have.
"""

from __future__ import annotations

from typing import Final

from glance_tx.settings.daemon_stock import SHARED_STOCK_OPTIONS
from glance_tx.settings.stock import StockOptions, without_effect

__all__ = ["STOCK_OPTIONS"]

_OWN = "what is cached is known from the files in image_cache_dir"

STOCK_OPTIONS: Final = StockOptions(
    (
        *SHARED_STOCK_OPTIONS,
        *without_effect(
            {
                "database": "a cache needs no database",
                "glance_store": "image data comes from [upstream] urls",
            },
            {
                "image_cache_driver": _OWN,
                "image_cache_sqlite_db": _OWN,
                "cache_prefetcher_interval": "what is queued is fetched at once",
                "worker_self_reference_url": "[cache] node_name tells nodes apart",
                "enabled_backends": "image data comes from [upstream] urls",
                "node_name": "it belongs into section [cache] here",
            },
        ),
    )
)
"""What glance-cache has not."""
