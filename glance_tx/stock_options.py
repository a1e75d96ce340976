"""
Options of a stock Glance that glance-api does not have, and what that means for whoever brings them along.

An option is fatal where it promises protection: a service that started in spite of it would be more open than its
operator believes. The others are warned about, once each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from glance_tx.settings.daemon_stock import FALSE_WORDS, SHARED_STOCK_OPTIONS
from glance_tx.settings.stock import StockOption, StockOptions, without_effect

__all__ = ["STOCK_OPTIONS"]

_PROTECTION: Final = (
    StockOption(
        "DEFAULT", "use_keystone_limits", "projects would store more than they may", fatal=True, harmless=FALSE_WORDS
    ),
    StockOption("oslo_limit", "*", "there are no limits from Keystone"),
    StockOption(
        "DEFAULT",
        "metadata_encryption_key",
        "locations in the database would be readable, and those there could not be read",
        fatal=True,
    ),
    StockOption(
        "DEFAULT", "delayed_delete", "deleted data is removed at once and cannot be restored", harmless=FALSE_WORDS
    ),
    StockOption("DEFAULT", "allow_anonymous_access", "a request without a token is refused", harmless=FALSE_WORDS),
    StockOption(
        "oslo_messaging_rabbit", "ssl", "notifications would go out in the clear", fatal=True, harmless=FALSE_WORDS
    ),
    StockOption(
        "glance_store", "filesystem_store_chunk_size", "files are written 1 MiB at a time and sent by the kernel"
    ),
    StockOption("glance_store", "filesystem_store_metadata_file", "locations have no metadata of their store"),
    StockOption("barbican", "*", "signatures of images are not verified"),
    StockOption("key_manager", "*", "signatures of images are not verified"),
    StockOption("vault", "*", "signatures of images are not verified"),
    StockOption("DEFAULT", "digest_algorithm", "signatures of images are not verified"),
)

_SECTIONS: Final[Mapping[str, str]] = {
    "os_glance_staging_store": "there is no staging yet",
    "os_glance_tasks_store": "there are no tasks yet",
    "image_import_opts": "there is no import yet",
    "import_filtering_opts": "there is no import yet",
    "inject_metadata_properties": "there is no import yet",
    "image_conversion": "there is no import yet",
    "task": "there are no tasks yet",
    "taskflow_executor": "there are no tasks yet",
    "oslo_messaging_notifications": "notifications wait in memory, as many as backlog says",
    "oslo_messaging_rabbit": "connections are made anew by themselves, with deadlines of their own",
    "oslo_messaging_kafka": "notifications go to RabbitMQ, to Redis and to the log",
    "glance_store": "there is one store, in the files of filesystem_store_datadir or filesystem_store_datadirs",
    "database": "connections are opened at start, kept, and tested when they were idle",
    "oslo_concurrency": "locks are the kernel's, in lock_path",
}

_SINGLE: Final[Mapping[str, str]] = {
    "enabled_backends": "there is one store, in the files of [glance_store] filesystem_store_datadir",
    "worker_self_reference_url": "node_name tells nodes apart",
    "node_staging_uri": "there is no staging yet",
    "enabled_import_methods": "there is no import yet",
    "do_secure_hash": "there is no location API yet",
    "http_retries": "there is no location API yet",
    "scrub_time": "deleted data is removed at once",
    "scrub_pool_size": "deleted data is removed at once",
    "wakeup_time": "deleted data is removed at once",
    "admin_role": "[oslo_policy] rules say who is an administrator (context_is_admin)",
    "image_cache_dir": "the cache is a daemon of its own, glance-cache",
    "image_cache_driver": "the cache is a daemon of its own, glance-cache",
    "image_cache_max_size": "the cache is a daemon of its own, glance-cache",
    "image_cache_stall_time": "the cache is a daemon of its own, glance-cache",
    "image_cache_sqlite_db": "the cache is a daemon of its own, glance-cache",
}


STOCK_OPTIONS: Final = StockOptions((*SHARED_STOCK_OPTIONS, *_PROTECTION, *without_effect(_SECTIONS, _SINGLE)))
"""What glance-api has not."""
