"""
Options for the time in which no upstream can be reached.
"""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen
from oslo_config import cfg

from glance_tx.settings import Section, option

__all__ = ["OfflineSettings"]


@frozen(kw_only=True)
class OfflineSettings(Section):
    """
    What is promised while no upstream can be reached.
    """

    GROUP: ClassVar[str] = "cache"

    grace_seconds: int = option(
        cfg.IntOpt(
            "offline_grace",
            min=0,
            max=31 * 86400,
            default=0,
            help="Seconds for which permissions to download live on after their time while no address of [upstream] "
            "urls can be reached: whoever was allowed to read a cached image goes on being served, and is told so by "
            "X-Cache: offline and Warning: 110. The price is that a permission withdrawn meanwhile, of which this node "
            "heard nothing, counts until the grace is over. The default, 0, serves nobody whom the image service was "
            "not asked about; a site that is to survive a night sets 43200.",
        )
    )
