"""
Indexes for lists in the order of names.
"""

from __future__ import annotations

from glance_tx.db.migrations.resumable import create_index, drop_index

revision = "0004"
down_revision = "0003"

_ORDER = ("deleted", "os_hidden", "name", "created_at", "id")


def upgrade() -> None:
    """
    Create them, and drop the one that they stand in for.
    """
    create_index("ix_images_listing_by_name", "images", *_ORDER)
    create_index("ix_images_owner_listing_by_name", "images", "owner", *_ORDER)
    create_index("ix_images_visibility_listing_by_name", "images", "visibility", *_ORDER)
    drop_index("ix_images_name", "images")
