"""
Column types that mean the same in SQLite, PostgreSQL and MariaDB or MySQL.

Migrations use these types too, and have been run: a type that is to change gets a new class.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

__all__ = ["ExactString", "ExactText", "UtcDateTime"]


def _collation(dialect: sa.Dialect) -> str | None:
    """
    Name the collation that compares code points and nothing else: case, accents and trailing spaces count.
    """
    match dialect.name:
        case "postgresql":
            return "C"
        case "mysql" | "mariadb":
            # Neither knows the other's name for it. Their plain "bin" takes "a" and "a " for equal.
            return "utf8mb4_nopad_bin" if getattr(dialect, "is_mariadb", False) else "utf8mb4_0900_bin"
        case _:
            return None  # what SQLite does anyway


class ExactString(sa.TypeDecorator[str]):
    """
    Text of a bounded length, which can be indexed; compared and ordered by code points.
    """

    impl = sa.String
    cache_ok = True

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self._length = length

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        """
        Turn members of enumerations into plain text: drivers differ in what they make of them.
        """
        return None if value is None else str(value)

    def load_dialect_impl(self, dialect: sa.Dialect) -> Any:
        """
        Choose the engine's own type.
        """
        return dialect.type_descriptor(sa.String(self._length, collation=_collation(dialect)))


class ExactText(sa.TypeDecorator[str]):
    """
    Text of up to 65,535 bytes (the least of the engines' limits); compared by code points.
    """

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> Any:
        """
        Choose the engine's own type.
        """
        return dialect.type_descriptor(sa.Text(collation=_collation(dialect)))


class UtcDateTime(sa.TypeDecorator[datetime]):
    """
    A time to the microsecond. Aware of its zone in Python; UTC where the engine keeps no zone.
    """

    impl = sa.DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> Any:
        """
        Choose the engine's own type.
        """
        if dialect.name in {"mysql", "mariadb"}:
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))  # without fsp it rounds to seconds
        return dialect.type_descriptor(sa.DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """
        Turn a time into what the engine stores.
        """
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone")
        value = value.astimezone(UTC)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """
        Turn what the engine stores into a time in UTC.
        """
        if value is None:
            return None
        # PostgreSQL answers in the session's zone.
        return value.astimezone(UTC) if dialect.name == "postgresql" else value.replace(tzinfo=UTC)
