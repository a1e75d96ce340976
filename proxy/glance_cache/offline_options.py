"""
Options for the time in which no upstream can be reached.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from attrs import frozen
from oslo_config import cfg

from glance_tx.settings import Conflict, Section, Settings, option
from glance_tx.settings.values import AbsolutePath, ByteCount
from glance_tx.streaming.units import MiB

__all__ = ["OfflineSettings", "find_grants_without_grace"]


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
    keeps_grants: bool = option(
        cfg.BoolOpt(
            "offline_grants",
            default=False,
            help="With offline_grace: keep permissions in an encrypted file in image_cache_dir, so that they outlive a "
            "restart while nobody can be asked. There are no tokens in it. Whoever can read both it and its key, and "
            "has a token, can tell which images that token was permitted.",
        )
    )
    key_file: Path | None = option(
        cfg.Opt(
            "offline_key_file",
            type=AbsolutePath(),
            help="The key for offline_grants: 32 random bytes that only the daemon's user can read, made where there "
            "are none. Unset, offline.key in image_cache_dir; one on another disk keeps a stolen disk silent.",
        )
    )
    answers_bytes: int = option(
        cfg.Opt(
            "offline_answers_size",
            type=ByteCount(),
            default=16 * MiB,
            help="With offline_grace: memory, of each process, for the last answers to GET of image lists, image "
            "records, schemas and versions, e.g. 64MB. They are repeated to the same credentials while no upstream can "
            "be reached, and those used longest ago go first; one of more than a quarter is not kept. The default "
            "holds some 8000 records. 0 keeps none.",
        )
    )


def find_grants_without_grace(settings: Settings) -> Iterator[Conflict]:
    """
    Find permissions that are to be kept, and never used.
    """
    offline = settings[OfflineSettings]
    if offline.keeps_grants and not offline.grace_seconds:
        yield Conflict("cache", "offline_grants", "needs [cache] offline_grace")
