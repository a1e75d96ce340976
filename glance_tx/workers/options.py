"""
How many processes serve.
"""

from __future__ import annotations

import os
from typing import ClassVar, Final

from attrs import frozen
from oslo_config import cfg

from glance_tx.settings import Section, option

__all__ = ["WorkerSettings"]

_MOST_BY_DEFAULT: Final = 8


def _default_count() -> int:
    return min(len(os.sched_getaffinity(0)), _MOST_BY_DEFAULT)


@frozen(kw_only=True)
class WorkerSettings(Section):
    """
    Processes that serve.
    """

    GROUP: ClassVar[str] = "DEFAULT"

    count: int = option(
        cfg.IntOpt(
            "workers",
            min=0,
            max=256,
            sample_default="<number of processors, 8 at most>",
            help="Processes that serve, below a parent that starts them anew when they die. One for each processor "
            "by default, up to 8 as in stock Glance. With 0 or 1 a single process does it all, without a parent. Each "
            "has its own connections to the database ([database] max_pool_size) and its own threads.",
        ),
        default=_default_count,
    )
    hang_seconds: int = option(
        cfg.IntOpt(
            "worker_hang_timeout",
            min=0,
            max=86400,
            default=60,
            help="Seconds without a sign of life after which a worker is taken for hung: it is aborted, which has it "
            "write to standard error what each of its threads is at, and replaced. It gives a sign every second, so a "
            "minute is far beyond what load alone can do. 0: it is left alone.",
        )
    )
