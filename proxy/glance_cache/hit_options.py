"""
Options of counting.
"""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen
from oslo_config import cfg

from glance_tx.settings import Section, option

__all__ = ["HitSettings"]


@frozen(kw_only=True)
class HitSettings(Section):
    """
    What hits are counted by, besides images and nodes.
    """

    GROUP: ClassVar[str] = "cache"

    kept_hours: int = option(
        cfg.IntOpt(
            "hit_hours",
            min=0,
            max=24 * 400,
            default=24 * 7,
            help="For how many hours back hits are counted by the hour; older hours are dropped, here and in the "
            "index. A week by default. 0: not by the hour.",
        )
    )
    by_project: bool = option(
        cfg.BoolOpt(
            "hits_by_project",
            default=True,
            help="Count hits by the project of the caller, as [auth] strategy knows it; without a strategy, or where "
            "the answer comes too late, they are counted for the project -. With strategy = keystone that is one "
            "question to Keystone for each token in token_cache_time.",
        )
    )
