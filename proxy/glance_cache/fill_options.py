"""
Options of fills.
"""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen
from oslo_config import cfg

from glance_tx.settings import Section, option
from glance_tx.settings.values import ByteCount

__all__ = ["FillSettings"]


@frozen(kw_only=True)
class FillSettings(Section):
    """
    How images are brought into the cache.
    """

    GROUP: ClassVar[str] = "cache"

    abandon_below_percent: int = option(
        cfg.IntOpt(
            "abandon_below",
            min=0,
            max=100,
            default=0,
            help="A download into the cache that everybody left who waited for it is stopped where less than so many "
            "percent of the image are there. What is there stays, and the next client goes on with it. An image that "
            "is being prefetched has somebody who waits. 0, which never stops one, suits images that are asked for "
            "again; 100 suits a line that costs more than a second wait.",
        )
    )
    bytes_per_second: int = option(
        cfg.Opt(
            "fill_bandwidth",
            type=ByteCount(),
            default=0,
            help="Most bytes a second for all downloads into the cache together, e.g. 50MB; 0 for no limit. Clients "
            "that wait for such an image get it no faster. What is passed through without being cached is not "
            "limited; prefetch_bandwidth counts beside this. Too little for the number of images at a time makes an "
            "image service cut connections: leave each 64KB at least.",
        )
    )
    most: int = option(
        cfg.IntOpt(
            "max_fills",
            min=0,
            max=10000,
            default=100,
            help="Most images downloaded into the cache at the same time for clients; 0 for no limit. Who asks for one "
            "more gets it passed through, at once and without being cached. Each takes one connection to the image "
            "service and up to 4 MiB of memory. prefetch_concurrency is a limit of its own.",
        )
    )
