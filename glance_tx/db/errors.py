"""
What goes wrong with the database itself. What the image service can act on is a domain error instead.
"""

from __future__ import annotations

from attrs import frozen
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

from glance_tx.domain.errors import CatalogUnavailable
from glance_tx.errors import FactualError
from glance_tx.telemetry.redact import redact_text

__all__ = ["DatabaseError", "SchemaUnknown", "StatementFailed", "UnsupportedDatabase", "in_a_line", "translated"]


class DatabaseError(FactualError):
    """
    The database cannot be used as configured, or as it is.
    """


@frozen
class UnsupportedDatabase(DatabaseError):
    """
    A database URL that cannot be used. The text never holds the URL, which may hold a password.
    """

    message = "the database URL cannot be used: {self.reason}"
    reason: str


@frozen
class SchemaUnknown(DatabaseError):
    """
    The database is at a revision that this version does not know: a newer version's, or another program's.
    """

    message = "the database is at schema revision {self.revision!r}, which this version does not know"
    revision: str


@frozen
class StatementFailed(DatabaseError):
    """
    The database refused a statement that it should have taken: a defect here, or a schema that is not migrated.

    :param kind: The exception that SQLAlchemy raised; the cause has the rest.
    """

    message = "the database refused a statement ({self.kind})"
    kind: str


def translated(error: SQLAlchemyError, *, detailed: bool = False) -> CatalogUnavailable | StatementFailed:
    """
    Say in our words what SQLAlchemy raised.

    :param detailed: Tell what the driver said, too. It may name hosts and users, so it is not for clients.
    """
    if not isinstance(error, OperationalError | InterfaceError) and not (
        isinstance(error, DBAPIError) and error.connection_invalidated
    ):
        return StatementFailed(type(error).__name__)
    if detailed:
        return CatalogUnavailable(in_a_line(error))
    if error.connection_invalidated:
        return CatalogUnavailable("the connection to the database was lost")
    return CatalogUnavailable("the database cannot be reached, or did not do its work in time")


def in_a_line(error: DBAPIError) -> str:
    """
    Quote what a database driver said, without secrets, for people who operate it.
    """
    return redact_text(" ".join(str(error.orig).split()))
