"""
Images, their properties, tags and locations, and the leases of uploads.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import BigInteger, Boolean, Column, ForeignKeyConstraint, Integer, PrimaryKeyConstraint

from glance_tx.db.columns import ExactString, ExactText, UtcDateTime
from glance_tx.db.migrations.resumable import create_index, create_table

revision = "0001"
down_revision = None


def upgrade() -> None:
    """
    Create the tables.
    """
    create_table("images", *_image_columns(), PrimaryKeyConstraint("id", name="pk_images"))
    create_index("ix_images_listing", "images", "deleted", "os_hidden", "created_at", "id")
    create_index("ix_images_owner_listing", "images", "owner", "deleted", "os_hidden", "created_at", "id")
    create_index("ix_images_visibility_listing", "images", "visibility", "deleted", "os_hidden", "created_at", "id")
    create_index("ix_images_name", "images", "name")
    create_index("ix_images_checksum", "images", "checksum")
    create_index("ix_images_os_hash_value", "images", "os_hash_value")
    _create_part("image_properties", "name", Column("name", ExactString(255)), Column("value", ExactText))
    _create_part("image_tags", "value", Column("value", ExactString(255)))
    create_index("ix_image_tags_value", "image_tags", "value", "image_id")
    _create_part("image_locations", "position", Column("position", Integer, autoincrement=False), *_location_columns())
    _create_part("image_leases", "fence", Column("fence", BigInteger, autoincrement=False), *_lease_columns())
    create_index("ix_image_leases_ended", "image_leases", "ended", "heartbeat_at")


def _create_part(name: str, key: str, *columns: sa.schema.SchemaItem) -> None:
    create_table(
        name,
        Column("image_id", ExactString(36)),
        *columns,
        PrimaryKeyConstraint("image_id", key, name=f"pk_{name}"),
        ForeignKeyConstraint(["image_id"], ["images.id"], name=f"fk_{name}_image_id"),
    )


def _image_columns() -> list[Column[Any]]:
    return [
        Column("id", ExactString(36)),
        Column("name", ExactString(255)),
        Column("status", ExactString(30), nullable=False),
        Column("visibility", ExactString(30), nullable=False),
        Column("owner", ExactString(255)),
        Column("protected", Boolean, nullable=False),
        Column("os_hidden", Boolean, nullable=False),
        Column("container_format", ExactString(30)),
        Column("disk_format", ExactString(30)),
        Column("min_ram", Integer, nullable=False),
        Column("min_disk", Integer, nullable=False),
        Column("size", BigInteger),
        Column("virtual_size", BigInteger),
        Column("checksum", ExactString(32)),
        Column("os_hash_algo", ExactString(64)),
        Column("os_hash_value", ExactString(128)),
        Column("created_at", UtcDateTime, nullable=False),
        Column("updated_at", UtcDateTime, nullable=False),
        Column("deleted", Boolean, nullable=False),
        Column("deleted_at", UtcDateTime),
        Column("fence", BigInteger, nullable=False),
    ]


def _location_columns() -> list[Column[Any]]:
    return [Column("store", ExactString(255), nullable=False), Column("url", ExactText, nullable=False)]


def _lease_columns() -> list[Column[Any]]:
    return [
        Column("node", ExactString(255), nullable=False),
        Column("boot_id", ExactString(64), nullable=False),
        *_location_columns(),
        Column("heartbeat_at", UtcDateTime, nullable=False),
        Column("ended", Boolean, nullable=False),
    ]
