"""
Messages of channels of a Redis, for as long as there is one.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Final, Protocol, TypeVar, cast

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.defer import TimeoutError as DeadlinePassed
from twisted.internet.error import ConnectError, ConnectingCancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from txredisapi import ConnectionError as RedisConnectionError
from txredisapi import RedisError, SubscriberProtocol

from glance_tx.redis.address import RedisAddress
from glance_tx.redis.endpoint import make_endpoint
from glance_tx.tls.client import ClientTls

__all__ = ["IListener", "RedisSubscription", "SubscriptionTimes"]

T = TypeVar("T")

_FASTEST: Final = 0.1
"""Seconds before the first attempt to connect again; each that fails doubles them."""


class IListener(Protocol):
    """
    Who is told of messages. None of its methods waits or raises.
    """

    def subscribed(self) -> None:
        """
        From now on every message arrives. Those of before may have been missed.
        """

    def unsubscribed(self) -> None:
        """
        No message arrives any more, until `subscribed`.
        """

    def received(self, message: str | bytes) -> None:
        """
        Take a message; bytes where it is no UTF-8.
        """


@frozen
class SubscriptionTimes:
    """
    How patient a subscription is, in seconds.

    :param timeout: For an attempt to connect, and for each answer.
    :param ping: Between two questions whether the server is still there: a connection may be dead without a word.
    :param longest_pause: Between two attempts to connect.
    """

    timeout: float = 5.0
    ping: float = 5.0
    longest_pause: float = 2.0


class _Connection(SubscriberProtocol):  # type: ignore[misc]  # the library has no types
    """
    One connection. It greets nobody by itself, as the library's factories are made for other uses.
    """

    def __init__(self, listener: IListener, password: str | None, username: str | None) -> None:
        # Text that looks like a number stays text.
        super().__init__(convertNumbers=False, password=password, username=username)
        self.lost: Deferred[None] = Deferred()
        self._listener = listener
        self._resting: Deferred[None] = succeed(None)

    def connectionMade(self) -> None:
        pass

    def connectionLost(self, why: Failure) -> None:
        super().connectionLost(why)
        if not self._resting.called:
            self._resting.errback(RedisConnectionError("the connection was lost"))
        self.lost.callback(None)

    def messageReceived(self, pattern: str | None, channel: str, message: str | bytes) -> None:
        self._listener.received(message)

    async def rest(self, clock: IReactorTime, seconds: float) -> None:
        """
        Wait.

        :raises txredisapi.ConnectionError: The connection was lost meanwhile.
        """
        self._resting = Deferred()
        timer = clock.callLater(seconds, self._resting.callback, None)
        try:
            await self._resting
        finally:
            if timer.active():
                timer.cancel()


class _OneShot(Factory):
    noisy = False  # or each attempt would be in the log

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    def buildProtocol(self, addr: object) -> _Connection:
        return self._connection


class RedisSubscription:
    """
    A subscription to one channel, made again whenever its connection is lost, on a connection of its own.

    :param reactor: Connects, and measures time.
    :param tls: Whom to believe, and who we are, where the address is one of TLS.
    :raises ValueError: The address is one of TLS, and there is none for it.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        address: RedisAddress,
        channel: str,
        listener: IListener,
        *,
        tls: ClientTls | None = None,
        times: SubscriptionTimes = SubscriptionTimes(),
    ) -> None:
        self._reactor = reactor
        self._address = address
        self._channel = channel
        self._listener = listener
        self._endpoint = make_endpoint(reactor, address, times.timeout, tls)
        self._times = times
        self._running: Deferred[None] | None = None
        self._pause = _FASTEST
        self._told = False
        self._stopping = False

    def start(self) -> None:
        """
        Begin to connect.
        """
        self._stopping = False
        self._running = Deferred.fromCoroutine(self._run())

    async def stop(self) -> None:
        """
        Hang up, and connect no more.
        """
        running, self._running = self._running, None
        if running is not None:
            self._stopping = True
            running.cancel()
            await running

    async def _run(self) -> None:
        while not self._stopping:
            try:
                reason = await self._listen_once()
                self._tell(reason)
                await deferLater(self._reactor, self._pause)
            except CancelledError:
                return  # by `stop`
            self._pause = min(2 * self._pause, self._times.longest_pause)

    def _tell(self, reason: str) -> None:
        if not self._told and not self._stopping:
            self._told = True
            self._log.warn("Redis tells nothing of changes: {reason}; it is tried again", reason=reason)

    async def _listen_once(self) -> str:
        """
        Connect, and listen for as long as that works.

        :return: Why it works no more.
        """
        connection = _Connection(self._listener, self._address.password, self._address.username)
        try:
            await self._endpoint.connect(_OneShot(connection))
        except ConnectingCancelledError as error:
            raise CancelledError from error
        except (ConnectError, OSError) as error:
            return str(error) or type(error).__name__
        try:
            return await self._listen(connection)
        finally:
            connection.transport.abortConnection()
            await connection.lost

    async def _listen(self, connection: _Connection) -> str:
        subscribed = False
        try:
            if connection.password is not None:
                await self._soon(connection.auth(connection.password, connection.username))
            await self._soon(connection.subscribe(self._channel))
            subscribed = True
            self._pause, self._told = _FASTEST, False
            self._log.info("Redis tells of changes on the channel {channel}", channel=self._channel)
            self._listener.subscribed()
            while True:
                await connection.rest(self._reactor, self._times.ping)
                await self._soon(connection.execute_command("PING"))
        except DeadlinePassed:
            return f"no answer within {self._times.timeout:g} seconds"
        except RedisError as error:
            return str(error)
        except CancelledError:
            raise
        except Exception:  # whatever it was, there is the next connection
            self._log.failure("a subscription met an unexpected condition")
            return "an unexpected condition"
        finally:
            if subscribed:
                self._listener.unsubscribed()

    async def _soon(self, answer: Awaitable[T]) -> T:
        return await cast(Deferred[T], answer).addTimeout(self._times.timeout, self._reactor)
