"""
Steps of a revision that can be taken again when an earlier run was interrupted after some of them.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from glance_tx.db.tables import TABLE_OPTIONS

__all__ = ["add_column", "create_index", "create_table", "drop_index"]


def create_table(name: str, *parts: sa.schema.SchemaItem) -> None:
    """
    Create a table, unless it is there.
    """
    if not sa.inspect(op.get_bind()).has_table(name):
        op.create_table(name, *parts, **TABLE_OPTIONS)


def add_column(table: str, column: sa.Column[Any]) -> None:
    """
    Add a column to a table, unless it is there.
    """
    if column.name not in {there["name"] for there in sa.inspect(op.get_bind()).get_columns(table)}:
        op.add_column(table, column)


def create_index(name: str, table: str, *columns: str) -> None:
    """
    Create an index, unless it is there.
    """
    if name not in {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(table)}:
        op.create_index(name, table, list(columns))


def drop_index(name: str, table: str) -> None:
    """
    Drop an index, if it is there.
    """
    if name in {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(table)}:
        op.drop_index(name, table)
