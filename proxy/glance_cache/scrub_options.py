"""
Options of the scrub.
"""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen
from oslo_config import cfg

from glance_tx.settings import Section, option
from glance_tx.settings.values import ByteCount
from glance_tx.streaming.units import MiB

__all__ = ["ScrubSettings"]


@frozen(kw_only=True)
class ScrubSettings(Section):
    """
    How cached images are read anew, to find damage before a client does.
    """

    GROUP: ClassVar[str] = "cache"

    bytes_per_second: int = option(
        cfg.Opt(
            "scrub_bandwidth",
            type=ByteCount(),
            default=8 * MiB,
            help="Most bytes a second that are read from the disk to hold cached images against their digests, beside "
            "what clients read. The default, 8 MiB, is a few percent of what a slow disk can do, and is through with "
            "a cache of 1 TiB in a day and a half. 0: no image is read but for a client, or on demand.",
        )
    )
    interval_seconds: int = option(
        cfg.IntOpt(
            "scrub_interval",
            min=1,
            max=2**31,
            default=7 * 86400,
            help="Seconds after which a cached image is read anew. Where the cache is so large that scrub_bandwidth "
            "does not suffice, it takes longer. A week: disks go bad slowly, and what clients read is verified "
            "anyway, once after each start.",
        )
    )
