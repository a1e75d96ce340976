"""
The tables, as the migrations leave them.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, Table

from glance_tx.db.columns import ExactString, ExactText, UtcDateTime

__all__ = [
    "TABLE_OPTIONS",
    "image_leases",
    "image_locations",
    "image_members",
    "image_properties",
    "image_tags",
    "images",
    "metadata",
]

TABLE_OPTIONS: Final[dict[str, Any]] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4"}
"""What every table says, because a MariaDB or MySQL server's own defaults may be anything."""

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)

# A deleted image's row stays for ever: its id must not be used again, by anybody. `deleted` says what `status` says
# too, and leads the indexes, so that lists never read their way through the dead.
images = Table(
    "images",
    metadata,
    Column("id", ExactString(36), primary_key=True),  # in lower case
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
    Column("fence", BigInteger, nullable=False),  # of the last lease; only grows
    Index("ix_images_listing", "deleted", "os_hidden", "created_at", "id"),
    Index("ix_images_owner_listing", "owner", "deleted", "os_hidden", "created_at", "id"),
    Index("ix_images_visibility_listing", "visibility", "deleted", "os_hidden", "created_at", "id"),
    Index("ix_images_listing_by_name", "deleted", "os_hidden", "name", "created_at", "id"),
    Index("ix_images_owner_listing_by_name", "owner", "deleted", "os_hidden", "name", "created_at", "id"),
    Index("ix_images_visibility_listing_by_name", "visibility", "deleted", "os_hidden", "name", "created_at", "id"),
    Index("ix_images_checksum", "checksum"),
    Index("ix_images_os_hash_value", "os_hash_value"),
    **TABLE_OPTIONS,
)

image_properties = Table(
    "image_properties",
    metadata,
    Column("image_id", ExactString(36), ForeignKey("images.id"), primary_key=True),
    Column("name", ExactString(255), primary_key=True),
    Column("value", ExactText),
    **TABLE_OPTIONS,
)

image_tags = Table(
    "image_tags",
    metadata,
    Column("image_id", ExactString(36), ForeignKey("images.id"), primary_key=True),
    Column("value", ExactString(255), primary_key=True),
    Index("ix_image_tags_value", "value", "image_id"),
    **TABLE_OPTIONS,
)

image_locations = Table(
    "image_locations",
    metadata,
    Column("image_id", ExactString(36), ForeignKey("images.id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("store", ExactString(255), nullable=False),
    Column("url", ExactText, nullable=False),
    Column("metadata", ExactText),  # JSON; null where nothing is said
    **TABLE_OPTIONS,
)

# A member that was removed keeps its row: whoever adds it again finds that one.
image_members = Table(
    "image_members",
    metadata,
    Column("image_id", ExactString(36), ForeignKey("images.id"), primary_key=True),
    Column("member_id", ExactString(255), primary_key=True),
    Column("status", ExactString(30), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("deleted_at", UtcDateTime),
    Index("ix_image_members_member", "member_id", "deleted", "status", "image_id"),
    **TABLE_OPTIONS,
)

image_leases = Table(
    "image_leases",
    metadata,
    Column("image_id", ExactString(36), ForeignKey("images.id"), primary_key=True),
    Column("fence", BigInteger, primary_key=True, autoincrement=False),
    Column("node", ExactString(255), nullable=False),
    Column("boot_id", ExactString(64), nullable=False),
    Column("store", ExactString(255), nullable=False),
    Column("url", ExactText, nullable=False),
    Column("heartbeat_at", UtcDateTime, nullable=False),
    Column("ended", Boolean, nullable=False),
    Index("ix_image_leases_ended", "ended", "heartbeat_at"),
    **TABLE_OPTIONS,
)
