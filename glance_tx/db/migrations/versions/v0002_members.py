"""
Members of shared images.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKeyConstraint, PrimaryKeyConstraint

from glance_tx.db.columns import ExactString, UtcDateTime
from glance_tx.db.migrations.resumable import create_index, create_table

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """
    Create the table.
    """
    create_table(
        "image_members",
        Column("image_id", ExactString(36)),
        Column("member_id", ExactString(255)),
        Column("status", ExactString(30), nullable=False),
        Column("created_at", UtcDateTime, nullable=False),
        Column("updated_at", UtcDateTime, nullable=False),
        Column("deleted", Boolean, nullable=False),
        Column("deleted_at", UtcDateTime),
        PrimaryKeyConstraint("image_id", "member_id", name="pk_image_members"),
        ForeignKeyConstraint(["image_id"], ["images.id"], name="fk_image_members_image_id"),
    )
    create_index("ix_image_members_member", "image_members", "member_id", "deleted", "status", "image_id")
