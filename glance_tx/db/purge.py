"""
Removing rows that were deleted long ago. Everything here blocks: it is for a command, not for a daemon.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from glance_tx.db import dialects
from glance_tx.db.errors import translated
from glance_tx.db.tables import image_members
from glance_tx.db.urls import read_url

__all__ = ["purge_members"]

_AT_ONCE: Final = 500
"""Rows in one transaction: nobody who works with them meanwhile waits long."""


def purge_members(url: str, *, before: datetime, max_rows: int | None = None) -> int:
    """
    Remove members that were taken off their image before some time.

    Deleted images themselves stay, as a row with their id: an id must never come to mean another image.

    :param before: In UTC.
    :param max_rows: Most rows to remove; ``None`` for all.
    :return: How many were removed.
    :raises UnsupportedDatabase: The URL cannot be used.
    :raises CatalogUnavailable: The database cannot be reached.
    :raises StatementFailed: The tables are not there.
    """
    removed = 0
    engine = dialects.make_engine(read_url(url), begun_by_hand=True)
    try:
        while max_rows is None or removed < max_rows:
            wanted = _AT_ONCE if max_rows is None else min(_AT_ONCE, max_rows - removed)
            with engine.connect() as connection, connection.begin():
                dialects.begin(connection, readonly=False)
                found = _remove(connection, before, wanted)
            removed += found
            if found < wanted:
                break
    except SQLAlchemyError as error:
        raise translated(error, detailed=True) from error
    finally:
        engine.dispose()
    return removed


def _remove(connection: sa.Connection, before: datetime, most: int) -> int:
    members = image_members.c
    long_gone = sa.and_(members.deleted == sa.true(), members.deleted_at < before)
    rows = connection.execute(sa.select(members.image_id, members.member_id).where(long_gone).limit(most)).all()
    if rows:
        # Not a member that was added again meanwhile.
        this_one = sa.and_(
            members.image_id == sa.bindparam("image"), members.member_id == sa.bindparam("member"), long_gone
        )
        connection.execute(sa.delete(image_members).where(this_one), [{"image": i, "member": m} for i, m in rows])
    return len(rows)
