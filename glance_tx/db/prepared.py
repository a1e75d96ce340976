"""
Statements that are compiled once and then run past SQLAlchemy.

Note [Past SQLAlchemy]. Looking up a compiled statement, setting up its context and its cursor costs SQLAlchemy several
times what the driver, and on SQLite the database, takes to carry out a short read. So what is read most often is
written in SQLAlchemy's terms like everything else, compiled to text once for each engine, and from then on given to
the driver by itself, with what the types of its parameters and columns do to values. The drivers keep such texts
prepared on their connections. What goes wrong is raised as SQLAlchemy would raise it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

__all__ = ["Prepared"]

_Processor = Callable[[Any], Any]


class Prepared:
    """
    One reading statement in the words of one engine. See Note [Past SQLAlchemy].

    :param statement: Has plain parameters only, none that stands for a list of them.
    :param dialect: Of the connections that it is for.
    """

    def __init__(self, statement: sa.Select[Any], dialect: sa.Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        self._text = str(compiled)
        self._order: tuple[str, ...] | None = tuple(compiled.positiontup) if compiled.positiontup else None
        self._binders: dict[str, _Processor] = {}
        self._constants: dict[str, object] = {}
        for name, bind in compiled.binds.items():
            binder = bind.type.dialect_impl(dialect).bind_processor(dialect)
            if bind.required:
                if binder is not None:
                    self._binders[name] = binder
            else:
                self._constants[name] = bind.value if binder is None else binder(bind.value)
        processors = (
            column.type.dialect_impl(dialect).result_processor(dialect, None) for column in statement.selected_columns
        )
        self._processors = tuple((at, process) for at, process in enumerate(processors) if process is not None)

    def rows(self, connection: sa.Connection, values: Mapping[str, object]) -> list[list[Any]]:
        """
        Run the statement: in the transaction that the connection is in, or, in none, as one by itself.

        :param values: What the parameters are, by name. Further ones do not matter.
        :raises sqlalchemy.exc.DBAPIError: As if SQLAlchemy had run it.
        """
        # Anew after the connection was invalidated.
        driver: Any = connection.connection.driver_connection
        dialect = connection.dialect
        try:
            found = [list(row) for row in driver.execute(self._text, self._parameters(values))]
        except dialect.loaded_dbapi.Error as error:
            raise _as_sqlalchemy(connection, driver, self._text, error) from error
        for row in found:
            for at, process in self._processors:
                row[at] = process(row[at])
        return found

    def _parameters(self, values: Mapping[str, object]) -> Any:
        bound = {**values, **self._constants}
        for name, binder in self._binders.items():
            bound[name] = binder(bound[name])
        return bound if self._order is None else [bound[name] for name in self._order]


def _as_sqlalchemy(connection: sa.Connection, driver: Any, text: str, error: Any) -> DBAPIError:
    dialect = connection.dialect
    broken = dialect.is_disconnect(error, driver, None)
    if broken:
        connection.invalidate(error)
    raised: DBAPIError = DBAPIError.instance(
        text,
        None,  # values may be secrets
        error,
        dialect.loaded_dbapi.Error,
        connection_invalidated=broken,
        dialect=dialect,
    )
    return raised
