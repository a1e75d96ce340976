"""
Options of the database.
"""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen
from oslo_config import cfg

from glance_tx.settings import Section, option
from glance_tx.settings.values import DatabaseUrl

__all__ = ["DatabaseSettings"]


@frozen(kw_only=True)
class DatabaseSettings(Section):
    """
    Where the image catalog is kept.
    """

    GROUP: ClassVar[str] = "database"

    url: str = option(
        cfg.Opt(
            "connection",
            type=DatabaseUrl(),
            secret=True,
            default="sqlite:////var/lib/glance/glance.sqlite",
            help="The database, as an SQLAlchemy URL. The default needs no server and serves one machine; several "
            "machines share a PostgreSQL, MySQL or MariaDB.",
        )
    )
    max_pool_size: int = option(
        cfg.IntOpt(
            "max_pool_size",
            min=1,
            max=100,
            default=5,
            help="Connections that are opened at start and kept, each with a thread of its own: as many "
            "transactions run at once. The default is stock's; one process seldom keeps more busy.",
        )
    )
