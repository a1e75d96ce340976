"""
Steps of a revision that can be taken again when an earlier run was interrupted after some of them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from glance_tx.db.tables import TABLE_OPTIONS

__all__ = ["create_index", "create_table"]


def create_table(name: str, *parts: sa.schema.SchemaItem) -> None:
    """
    Create a table, unless it is there.
    """
    if not sa.inspect(op.get_bind()).has_table(name):
        op.create_table(name, *parts, **TABLE_OPTIONS)


def create_index(name: str, table: str, *columns: str) -> None:
    """
    Create an index, unless it is there.
    """
    if name not in {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(table)}:
        op.create_index(name, table, list(columns))
