"""
What is said of the locations of images.
"""

from __future__ import annotations

from sqlalchemy import Column

from glance_tx.db.columns import ExactText
from glance_tx.db.migrations.resumable import add_column

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """
    Add the column.
    """
    add_column("image_locations", Column("metadata", ExactText))
