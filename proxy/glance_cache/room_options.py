"""
Options of how the cache uses its room.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from attrs import frozen
from oslo_config import cfg

from glance_tx.settings import Conflict, Section, Settings, option
from glance_tx.settings.values import ByteCount

__all__ = ["RoomSettings", "find_crossed_marks"]


@frozen(kw_only=True)
class RoomSettings(Section):
    """
    When room is made, and for what.
    """

    GROUP: ClassVar[str] = "cache"

    high_water_percent: int = option(
        cfg.IntOpt(
            "high_water",
            min=1,
            max=100,
            default=100,
            help="Percent of image_cache_max_size. Images are evicted for a fill that would take the cache above this. "
            "Where what is left is pinned or in use, fills go on up to image_cache_max_size. The default uses all "
            "there is.",
        )
    )
    low_water_percent: int = option(
        cfg.IntOpt(
            "low_water",
            min=1,
            max=100,
            default=95,
            help="Percent of image_cache_max_size. Once images have to be evicted, that goes on until those that are "
            "left and the one to come take no more than this, so that the next fill need not wait for it again. At "
            "most high_water, where no more goes than has to.",
        )
    )
    max_image_bytes: int = option(
        cfg.Opt(
            "max_image_size",
            type=ByteCount(),
            default=0,
            help="Images of more bytes are passed through and not cached: one of them would take the place of many. "
            "Each client that asks for one is served by a transfer of its own. 0 caches whatever fits into "
            "image_cache_max_size.",
        )
    )


def find_crossed_marks(settings: Settings) -> Iterator[Conflict]:
    """
    Find a low-water mark above the high one.
    """
    room = settings[RoomSettings]
    if room.low_water_percent > room.high_water_percent:
        yield Conflict("cache", "low_water", f"is more than high_water ({room.high_water_percent})")
