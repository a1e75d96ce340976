"""
Notifications to a RabbitMQ.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeadlinePassed
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from zope.interface import implementer

from glance_tx.notify.broker import Broker, BrokerHost
from glance_tx.notify.envelope import oslo_envelope
from glance_tx.notify.errors import DeliveryFailed
from glance_tx.notify.interfaces import ITransport, Message

__all__ = ["RabbitRules", "RabbitTransport"]

_HEARTBEAT_SECONDS: Final = 60
_PERSISTENT: Final = 2


@frozen
class RabbitRules:
    """
    How an operator's broker is used.

    :param exchange: The topic exchange, ``control_exchange`` of oslo.messaging.
    :param topics: Each message goes to the queue ``<topic>.<priority>`` of each of them.
    :param durable: Exchange and queues outlast a restart of the broker. Whoever declares them first decides.
    :param tls: Makes TLS options for the name of a server; ``None`` speaks without.
    :param timeout_seconds: For connecting, and for a message to be confirmed.
    """

    exchange: str = "glance"
    topics: tuple[str, ...] = ("notifications",)
    durable: bool = False
    tls: Any = None
    timeout_seconds: float = 10.0


@frozen
class _Open:
    connection: Any
    channel: Any


@implementer(ITransport)
class RabbitTransport:
    """
    Publishes persistent messages to a topic exchange, each confirmed by the broker.

    Exchange and queues are declared as oslo.messaging does, so that what is sent waits for consumers that come later.

    :param reactor: Connects.
    """

    name = "RabbitMQ"

    def __init__(self, reactor: Any, broker: Broker, rules: RabbitRules) -> None:
        self._reactor = reactor
        self._broker = broker
        self._rules = rules
        self._turn = 0
        self._open: _Open | None = None
        self._declared: set[str] = set()
        # Without a handler the library's warnings would go to standard error by themselves.
        logging.getLogger("pika").addHandler(logging.NullHandler())

    async def deliver(self, message: Message) -> None:
        """
        See `ITransport.deliver`. Done when the broker has confirmed it for every topic.
        """
        from pika.exceptions import AMQPError  # noqa: PLC0415  # see `_connect`

        work = Deferred.fromCoroutine(self._deliver(message))
        try:
            await work.addTimeout(self._rules.timeout_seconds, self._reactor)
        except DeadlinePassed as error:
            self._drop()
            raise DeliveryFailed(f"no confirmation within {self._rules.timeout_seconds:g} seconds") from error
        except (AMQPError, OSError) as error:
            self._drop()
            raise DeliveryFailed(_reason(error)) from error
        except Exception as error:
            # Failures of connecting have no common class.
            self._drop()
            raise DeliveryFailed(_reason(error)) from error

    async def close(self) -> None:
        """
        See `ITransport.close`.
        """
        opened, self._open = self._open, None
        if opened is not None and opened.connection.is_open:
            closed: Deferred[object] | None = opened.connection.close()
            if closed is not None:
                closed.addTimeout(1.0, self._reactor)
                closed.addErrback(lambda _: opened.connection.transport.abortConnection())
                await closed

    async def _deliver(self, message: Message) -> None:
        opened = await self._channel()
        for topic in self._rules.topics:
            queue = f"{topic}.{message.event.priority.lower()}"
            await self._declare(opened.channel, queue)
            await opened.channel.basic_publish(
                exchange=self._rules.exchange,
                routing_key=queue,
                body=oslo_envelope(message),
                properties=_properties(message),
            )

    async def _channel(self) -> _Open:
        if self._open is not None and self._open.connection.is_open and self._open.channel.is_open:
            return self._open
        self._drop()
        # Another server each time: the one that went away is not the one to ask first.
        host = self._broker.hosts[self._turn % len(self._broker.hosts)]
        self._turn += 1
        connection = await self._connect(host)
        try:
            channel = await connection.channel()
            await channel.confirm_delivery()
            await channel.exchange_declare(
                exchange=self._rules.exchange, exchange_type="topic", durable=self._rules.durable
            )
        except BaseException:
            connection.transport.abortConnection()
            raise
        self._open = _Open(connection, channel)
        return self._open

    async def _connect(self, host: BrokerHost) -> Any:
        # The library's module imports the global reactor, which must have been chosen by then.
        from pika import ConnectionParameters, PlainCredentials  # noqa: PLC0415
        from pika.adapters.twisted_connection import TwistedProtocolConnection  # noqa: PLC0415

        parameters = ConnectionParameters(
            virtual_host=self._broker.virtual_host,
            credentials=PlainCredentials(host.username, host.password),
            heartbeat=_HEARTBEAT_SECONDS,
        )
        protocol = TwistedProtocolConnection(parameters, custom_reactor=self._reactor)
        await self._endpoint(host).connect(Factory.forProtocol(lambda: protocol))
        try:
            await protocol.ready
        except BaseException:
            protocol.transport.abortConnection()
            raise
        return protocol

    def _endpoint(self, host: BrokerHost) -> IStreamClientEndpoint:
        endpoint: IStreamClientEndpoint = HostnameEndpoint(
            self._reactor, host.host, host.port, self._rules.timeout_seconds
        )
        return endpoint if self._rules.tls is None else wrapClientTLS(self._rules.tls(host.host), endpoint)

    async def _declare(self, channel: Any, queue: str) -> None:
        if queue not in self._declared:
            await channel.queue_declare(queue=queue, durable=self._rules.durable)
            await channel.queue_bind(queue=queue, exchange=self._rules.exchange, routing_key=queue)
            self._declared.add(queue)

    def _drop(self) -> None:
        # A broker that was restarted may have forgotten what was declared.
        self._declared.clear()
        opened, self._open = self._open, None
        if opened is not None and opened.connection.transport is not None:
            opened.connection.transport.abortConnection()


def _properties(message: Message) -> Any:
    from pika import BasicProperties  # noqa: PLC0415

    return BasicProperties(
        content_type="application/json",
        content_encoding="utf-8",
        delivery_mode=_PERSISTENT,
        message_id=message.message_id,
    )


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
