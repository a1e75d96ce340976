"""
Calls to a Redis, each with a deadline, whatever becomes of the server.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeadlinePassed
from twisted.python.failure import Failure
from txredisapi import ConnectionError as RedisConnectionError
from txredisapi import RedisError, RedisFactory

from glance_tx.redis.address import RedisAddress
from glance_tx.redis.endpoint import make_endpoint
from glance_tx.redis.errors import RedisUnavailable
from glance_tx.tls.client import ClientTls

__all__ = ["RedisClient"]

T = TypeVar("T")


class _Server:
    """
    A connection to a Redis that is made again whenever it is lost, until the server refuses us or we `close` it.

    :param timeout_seconds: For an attempt to connect, and for the greeting.
    """

    def __init__(self, reactor: Any, address: RedisAddress, timeout_seconds: float, tls: ClientTls | None) -> None:
        self.refusal: str | None = None
        self._waiting: list[Deferred[Any]] = []
        self._asking = False
        self._factory = RedisFactory(
            uuid=f"{address.host}:{address.port}",
            dbid=address.database,
            poolsize=1,
            password=address.password,
            username=address.username,
            replyTimeout=timeout_seconds,
        )
        # A node asks every second anyway, and the server is a near one.
        self._factory.initialDelay, self._factory.maxDelay = 0.1, 2.0
        self._factory.deferred.addErrback(self._refused)
        self._factory.startConnecting(make_endpoint(reactor, address, timeout_seconds, tls))

    @property
    def given_up(self) -> bool:
        """
        Whether no attempt is made any more: the library stops for good when a server refuses password or database,
        or does not answer its greeting.
        """
        return bool(self._factory.stopped)

    def connection(self) -> Deferred[Any]:
        """
        Wait for the connection.

        The library would keep a Deferred for every call that waits, cancelled or not, until there is a connection:
        an outage of a day would fill the memory. So only one of them waits there, for all.
        """
        waiting: Deferred[Any] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        if not self._asking:
            self._asking = True
            self._factory.getConnection(peek=True).addBoth(self._tell)
        return waiting

    def abort(self) -> None:
        """
        Drop the connection as it is; a new one is made.
        """
        for protocol in list(self._factory.pool):
            protocol.transport.abortConnection()

    def close(self) -> Deferred[Any]:
        """
        Drop the connection, and make no other.
        """
        self.abort()
        self._tell(Failure(RedisConnectionError("it was stopped")))
        return self._factory.disconnect()  # type: ignore[no-any-return]

    def _tell(self, connection_or_failure: object) -> None:
        self._asking = False
        told, self._waiting = self._waiting, []
        for waiting in told:
            waiting.callback(connection_or_failure)

    def _refused(self, reason: Failure) -> None:
        self.refusal = reason.getErrorMessage()
        self._tell(Failure(RedisConnectionError(self.refusal)))


class RedisClient:
    """
    One connection to a Redis, made again whenever it is lost.

    Nothing is sent twice: a command whose answer was lost fails, and its caller decides.

    :param reactor: Connects, and measures the deadline.
    :param timeout_seconds: For each piece of work as a whole (`within_deadline`), and for an attempt to connect.
    :param retry_seconds: After a refusal (a wrong password, say), before the next attempt.
    :param tls: Whom to believe, and who we are, where the address is one of TLS.
    :param observe: Told of each piece of work, however it ended, the seconds that it took.
    :raises ValueError: The address is one of TLS, and there is none for it.
    """

    def __init__(
        self,
        reactor: Any,
        address: RedisAddress,
        *,
        timeout_seconds: float = 5.0,
        retry_seconds: float = 10.0,
        tls: ClientTls | None = None,
        observe: Callable[[float], object] | None = None,
    ) -> None:
        if address.tls and tls is None:
            raise ValueError("no TLS for an address of TLS")  # the password would go out in the clear
        self._reactor = reactor
        self._address = address
        self._tls = tls if address.tls else None
        self._timeout_seconds = timeout_seconds
        self._retry_seconds = retry_seconds
        self._observe = observe
        self._current: _Server | None = None
        self._retry_at = 0.0
        self._stopped = False

    def start(self) -> None:
        """
        Begin to connect.
        """
        self._server()

    async def stop(self) -> None:
        """
        Drop the connection. Calls under way fail.
        """
        self._stopped = True
        server, self._current = self._current, None
        if server is not None:
            await server.close()

    async def eval(self, script: str, keys: Sequence[str], arguments: Sequence[str]) -> Any:
        """
        Run a script. To be called within `within_deadline`.
        """
        connection = await self._server().connection()
        return await connection.eval(script, list(keys), list(arguments))

    async def command(self, *words: str) -> Any:
        """
        Run a command. To be called within `within_deadline`.
        """
        connection = await self._server().connection()
        return await connection.execute_command(*words)

    async def within_deadline(self, work: Coroutine[Any, Any, T]) -> T:
        """
        Do work that calls `eval` and `command`.

        :raises RedisUnavailable: The server is away, refuses, or was too slow.
        """
        # Without a connection the library lets a command wait for ever. A silent one it gives up by itself.
        began = self._reactor.seconds()
        try:
            return await Deferred.fromCoroutine(work).addTimeout(self._timeout_seconds, self._reactor)
        except DeadlinePassed as error:
            raise RedisUnavailable(f"no answer within {self._timeout_seconds:g} seconds") from error
        except RedisError as error:
            if str(error).startswith("READONLY"):  # it was the primary once: the name may lead to another one now
                self._server().abort()
            raise RedisUnavailable(str(error)) from error
        finally:
            if self._observe is not None:
                self._observe(self._reactor.seconds() - began)

    def _server(self) -> _Server:
        if self._stopped:
            raise RedisUnavailable("it was stopped")
        server, now = self._current, self._reactor.seconds()
        if server is not None and server.given_up and now < self._retry_at:
            raise RedisUnavailable(server.refusal or "the server refused the connection")
        if server is None or server.given_up:
            server = self._current = _Server(self._reactor, self._address, self._timeout_seconds, self._tls)
            self._retry_at = now + self._retry_seconds
        return server
