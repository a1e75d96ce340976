"""
What goes wrong with the database itself. What the image service can act on is a domain error instead.
"""

from __future__ import annotations

from attrs import frozen

from glance_tx.errors import FactualError

__all__ = ["DatabaseError", "SchemaUnknown", "StatementFailed", "UnsupportedDatabase"]


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
