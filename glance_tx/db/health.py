"""
Whether the database answers.
"""

from __future__ import annotations

import sqlalchemy as sa

from glance_tx.db.engine import Database

__all__ = ["check_database"]


async def check_database(database: Database) -> None:
    """
    Ask the database something.

    :raises CatalogUnavailable: It does not answer.
    """
    await database.transact(_ask, readonly=True)


def _ask(connection: sa.Connection) -> None:
    connection.execute(sa.select(1))
