"""
Options of prefetching.
"""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen
from oslo_config import cfg

from glance_cache.schedule import DailyWindow, WindowText
from glance_tx.settings import Section, option
from glance_tx.settings.values import ByteCount, Word

__all__ = ["PrefetchSettings"]


@frozen(kw_only=True)
class PrefetchSettings(Section):
    """
    How images are fetched that nobody waits for.
    """

    GROUP: ClassVar[str] = "cache"

    token: str | None = option(
        cfg.Opt(
            "prefetch_token",
            type=Word(r"[\x21-\x7e]{1,8192}", "1 to 8192 printable ASCII characters without blanks"),
            secret=True,
            help="The token with which the cache itself reads images that were queued to be cached, and lists those of "
            "a filter. Where neither it nor [service_user] is set, such requests are refused (409). What was "
            "prefetched is served only to callers whom the upstream lets download it.",
        )
    )
    concurrency: int = option(
        cfg.IntOpt(
            "prefetch_concurrency",
            min=1,
            max=64,
            default=2,
            help="Most images of the queue that this node fetches at the same time: enough to use a fast line while "
            "one of them begins or ends, and few enough to leave the upstream to those who wait.",
        )
    )
    bytes_per_second: int = option(
        cfg.Opt(
            "prefetch_bandwidth",
            type=ByteCount(),
            default=0,
            help="Most bytes a second for all images of the queue together, e.g. 50MB; 0 for no limit. It ends for an "
            "image as soon as a client reads that one.",
        )
    )
    window: DailyWindow | None = option(
        cfg.Opt(
            "prefetch_window",
            type=WindowText(),
            help="When images of the queue may be begun, in the time zone of this machine, e.g. 22:00-06:00. Unset, at "
            "any time. What was begun is fetched to its end.",
        )
    )
    attempts: int = option(
        cfg.IntOpt(
            "prefetch_attempts",
            min=1,
            max=1000,
            default=8,
            help="Attempts after which an image is given up. The pause before the next one begins at half a minute and "
            "doubles up to half an hour: it takes an hour to give up. An upstream that cannot be reached is "
            "no attempt.",
        )
    )
    queue_limit: int = option(
        cfg.IntOpt(
            "prefetch_queue_limit",
            min=1,
            max=100_000,
            default=10_000,
            help="Most images in the queue. One takes about half a KiB in the index; listing so many takes a "
            "noticeable part of a second.",
        )
    )
