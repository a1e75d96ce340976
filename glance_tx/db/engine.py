"""
Transactions off the reactor: alchimia's engine and connections, used in the one way that holds.

Note [Alchimia]. alchimia 0.8.1 gives each connection a thread of its own, which is what a database driver wants. Its
package import, though, needs a class that SQLAlchemy dropped in 1.4, and its statement by statement interface has
traps: ``connect()`` starts a thread for each call and leaks it on failure and on cancellation, a statement without
``begin()`` opens a transaction that nobody ends or commits, a cancelled statement runs on while its connection is
already in other hands, and every statement is a trip to the thread and back. So this module, the only one that knows
alchimia, puts a stub in the place of the broken module, opens a fixed number of connections once and keeps them, and
sends whole transactions to their threads. It leans on three private names, `TwistedConnection._defer_to_cxn` (run
something in the thread), ``_connection`` (SQLAlchemy's own) and ``_threaded_worker`` (what starts a thread); the tests
of this module would notice their loss.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import Enum, auto
from types import ModuleType
from typing import Any, Final, Protocol, TypeVar, TypeVarTuple, cast

import sqlalchemy as sa
from attrs import define
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.defer import TimeoutError as DeadlinePassed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from glance_tx.db import dialects
from glance_tx.db.errors import in_a_line, translated
from glance_tx.db.places import Places
from glance_tx.db.urls import read_url
from glance_tx.domain.errors import CatalogUnavailable, DomainError

if "alchimia" not in sys.modules:
    # See Note [Alchimia]. The stub has the one name that the package looks for.
    _stub = ModuleType("alchimia.strategy")
    _stub.__dict__["TWISTED_STRATEGY"] = "_twisted"
    sys.modules["alchimia.strategy"] = _stub
from alchimia import wrap_engine
from alchimia.engine import _threaded_worker

__all__ = ["Database"]

IDLE_SECONDS: Final = 30
"""A connection that was not used for so long is tried before it is trusted: servers and firewalls close idle ones."""

_T = TypeVar("_T")
_Args = TypeVarTuple("_Args")


class _Kind(Enum):
    """
    What a function does with its connection.
    """

    WRITES = auto()
    READS = auto()
    LOOKS = auto()


class _Reactor(Protocol):
    def seconds(self) -> float: ...

    def callLater(self, delay: float, call: Callable[..., object], *args: object, **kw: object) -> IDelayedCall: ...

    def callFromThread(self, call: Callable[..., object], *args: object, **kw: object) -> None: ...


@define(eq=False)
class _Place:
    """
    A kept connection with its thread.

    :param twisted: alchimia's connection.
    :param trusted_until: When to try the connection before it is used, in the reactor's seconds.
    """

    twisted: Any
    trusted_until: float

    def run(self, job: Callable[[sa.Connection, *_Args], _T], *args: *_Args) -> Deferred[_T]:
        """
        Run a job in the connection's thread. Cancelling the Deferred would only lose sight of the job.
        """
        running: Deferred[_T] = self.twisted._defer_to_cxn(job, self.twisted._connection, *args)  # noqa: SLF001
        return running


class Database:
    """
    A database, reached by a fixed number of kept connections.

    :param reactor: Where results are delivered, and what measures time.
    :param url: A SQLAlchemy URL of SQLite (a file), PostgreSQL, MariaDB or MySQL.
    :param size: How many connections, and so threads, there are.
    :param wait_seconds: Longest wait of a transaction for a connection.
    :param stop_seconds: Longest wait of `stop` for transactions that are still running.
    :param statement_seconds: Longest wait for a server to carry out one statement.
    :param transaction_seconds: Longest wait for a transaction: for a server, or a disk, that neither answers nor
        breaks the connection. It stays taken for as long.
    :param observe: Told of each transaction, however it ended, whether it ``reads`` or ``writes``, and the seconds from
        its being asked for to its end.
    :raises UnsupportedDatabase: The URL cannot be used.
    """

    _log = Logger()

    clock: IReactorTime
    """What tells the time here."""

    def __init__(
        self,
        reactor: _Reactor,
        url: str,
        *,
        size: int = 5,
        wait_seconds: float = 30.0,
        stop_seconds: float = 30.0,
        statement_seconds: float = 30,
        transaction_seconds: float = 60.0,
        observe: Callable[[str, float], object] | None = None,
    ) -> None:
        self.clock = cast(IReactorTime, reactor)
        self._reactor = reactor
        self._url = read_url(url)
        self._size = size
        self._wait_seconds = wait_seconds
        self._stop_seconds = stop_seconds
        self._statement_seconds = statement_seconds
        self._transaction_seconds = transaction_seconds
        self._observe = observe
        self._kept: list[_Place] = []
        self._places: Places[_Place] | None = None

    async def start(self) -> None:
        """
        Open the connections.

        :raises CatalogUnavailable: Not all could be opened. Those that were are closed again.
        """
        if self._places is not None:
            raise RuntimeError("the database is started already")
        engine = dialects.make_engine(self._url, self._statement_seconds, begun_by_hand=True)
        workers: list[Any] = []

        def create_worker() -> Any:
            workers.append(_threaded_worker())
            return workers[-1]

        wrapped = wrap_engine(self._reactor, engine, create_worker)
        workers[0].quit()  # the engine's own, for methods that have gone from SQLAlchemy
        opening = []
        for _ in range(self._size):
            connecting = wrapped.connect()
            connecting.addErrback(_quit, workers[-1])
            opening.append(connecting)
        started: Deferred[None] = Deferred()
        writers = dialects.writers_at_once(engine, self._size)
        DeferredList(opening, consumeErrors=True).addCallback(self._opened, writers, started)
        await started

    async def stop(self) -> None:
        """
        Close the connections, once the transactions that are running have ended.

        Those that still wait for a connection fail. Harmless when repeated, or when nothing was started.
        """
        kept, places = self._kept, self._places
        self._kept, self._places = [], None
        if places is not None:
            places.close()
            await self._close([place.twisted for place in kept])

    async def transact(
        self, function: Callable[[sa.Connection, *_Args], _T], *args: *_Args, readonly: bool = False
    ) -> _T:
        """
        Run a function in a transaction: it is committed when the function returns, undone when it raises.

        A caller that is cancelled while it waits for a connection has done nothing. One that is cancelled later does
        not stop the transaction, and does not learn how it ended. Nothing that writes is ever tried a second time; a
        reader whose connection turns out to be broken begins once more on a new one.

        :param function: Runs in a thread, with a connection that is its own for as long. Takes plain SQLAlchemy, and
            returns values, no cursor.
        :param readonly: The function only reads. It sees one state of the database throughout.
        :raises CatalogUnavailable: The database cannot be reached, or not in time. Nothing was changed, unless it was
            the answer to a commit that was lost, or is yet to come.
        :raises StatementFailed: The database does not take what the function gave it.
        """
        return await self._do(_Kind.READS if readonly else _Kind.WRITES, function, args)

    async def look(self, function: Callable[[sa.Connection, *_Args], _T], *args: *_Args) -> _T:
        """
        Run a function that only reads, and whose statements each see a state of the database of their own: there is no
        transaction around them, which spares a server most of the trips where there is but one statement.

        Otherwise as `transact`.

        :param function: Runs past SQLAlchemy (`glance_tx.db.prepared`), or begins transactions itself.
        """
        return await self._do(_Kind.LOOKS, function, args)

    async def _do(self, kind: _Kind, function: Callable[[sa.Connection, *_Args], _T], args: tuple[*_Args]) -> _T:
        began = self._reactor.seconds()
        try:
            return await self._carry_out(kind, function, args)
        finally:
            if self._observe is not None:
                self._observe("writes" if kind is _Kind.WRITES else "reads", self._reactor.seconds() - began)

    async def _carry_out(self, kind: _Kind, function: Callable[[sa.Connection, *_Args], _T], args: tuple[*_Args]) -> _T:
        places = self._places
        if places is None:
            raise CatalogUnavailable("it is not started")
        place = await places.take(writes=kind is _Kind.WRITES)
        doubtful = self._reactor.seconds() >= place.trusted_until
        working = place.run(_run, doubtful, kind, function, args)
        # Apart from the thread's own Deferred: cancelling this one gives the connection to nobody else early.
        result: Deferred[_T] = Deferred()
        working.addBoth(self._ended, places, place, kind, result)
        try:
            return await result.addTimeout(self._transaction_seconds, self.clock)
        except DeadlinePassed as error:
            reason = f"a transaction did not end within {self._transaction_seconds:g} seconds"
            self._log.warn("database: {reason}", reason=reason)
            raise CatalogUnavailable(reason) from error

    def _ended(
        self, outcome: _T | Failure, places: Places[_Place], place: _Place, kind: _Kind, result: Deferred[_T]
    ) -> None:
        place.trusted_until = self._reactor.seconds() + IDLE_SECONDS
        if isinstance(outcome, Failure):
            self._note(outcome, heard=not result.called)
        places.give_back(place, writes=kind is _Kind.WRITES)
        if not result.called:
            result.callback(outcome)  # a Failure goes on as one

    def _note(self, failure: Failure, *, heard: bool) -> None:
        error = failure.value
        cause = error.__cause__ if error is not None else None
        if isinstance(cause, DBAPIError) and cause.connection_invalidated:
            # What broke this connection (the server was restarted, say) broke the others most likely.
            for place in self._kept:
                place.trusted_until = 0.0
        if isinstance(error, CatalogUnavailable) and isinstance(cause, DBAPIError):
            self._log.warn("database: {error}", error=in_a_line(cause))
        elif not heard and (isinstance(error, CatalogUnavailable) or not isinstance(error, DomainError)):
            # A refusal (there is no such image, say) is an answer, which nobody wants any more.
            self._log.warn("database: a transaction whose caller had left failed: {error!r}", error=error)

    def _opened(self, outcomes: list[tuple[bool, Any]], writers: int, started: Deferred[None]) -> None:
        opened = [outcome for succeeded, outcome in outcomes if succeeded]
        failures = [outcome.value for succeeded, outcome in outcomes if not succeeded]
        if started.called or failures:  # nobody waits any more, or it cannot be done
            closing = Deferred.fromCoroutine(self._close(opened))
            if not started.called:
                cause = failures[0]
                refusal = translated(cause, detailed=True) if isinstance(cause, SQLAlchemyError) else cause
                refusal.__cause__ = cause if refusal is not cause else None
                closing.addBoth(lambda _: started.errback(refusal))
            return
        now = self._reactor.seconds()
        self._kept = [_Place(twisted, now + IDLE_SECONDS) for twisted in opened]
        self._places = Places(self.clock, self._kept, writers, self._wait_seconds)
        started.callback(None)

    async def _close(self, connections: list[Any]) -> None:
        # Closing queues up behind a transaction that is still running, in the same thread.
        closing = DeferredList([connection.close() for connection in connections], consumeErrors=True)
        closing.addTimeout(self._stop_seconds, self.clock)  # cancels, and so ends, those that are left
        for succeeded, failure in await closing:
            if succeeded:
                continue
            if failure.check(CancelledError):
                self._log.warn("database: a transaction was still running after {n} s", n=self._stop_seconds)
            else:
                self._log.warn("database: a connection did not close: {error!r}", error=failure.value)


def _run(
    connection: sa.Connection,
    doubtful: bool,
    kind: _Kind,
    function: Callable[[sa.Connection, *_Args], _T],
    args: tuple[*_Args],
) -> _T:
    """
    Run a transaction from its beginning to its end, in the connection's thread.
    """
    try:
        if doubtful:
            dialects.ping(connection)
        try:
            return _once(connection, kind, function, args)
        except DBAPIError as error:
            # The server was restarted while the connection lay idle. Who only reads has changed nothing, and may
            # begin again, on the connection that is made in its place; with a write nobody could know.
            if kind is _Kind.WRITES or not error.connection_invalidated:
                raise
            return _once(connection, kind, function, args)
    except SQLAlchemyError as error:
        raise translated(error) from error


def _once(
    connection: sa.Connection,
    kind: _Kind,
    function: Callable[[sa.Connection, *_Args], _T],
    args: tuple[*_Args],
) -> _T:
    if kind is _Kind.LOOKS:
        try:
            return function(connection, *args)
        finally:
            connection.rollback()  # what SQLAlchemy would have begun by itself, and nobody would end
    with connection.begin():
        dialects.begin(connection, readonly=kind is _Kind.READS)
        result = function(connection, *args)
        if isinstance(result, sa.Result):
            raise TypeError("a cursor does not outlive its transaction: return the rows")
        return result


def _quit(failure: Failure, worker: Any) -> Failure:
    worker.quit()
    return failure
