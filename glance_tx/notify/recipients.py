"""
Whom an operator wants to be told.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from attrs import frozen

from glance_tx.notify.broker import Broker
from glance_tx.notify.interfaces import ITransport
from glance_tx.notify.log import LogSink
from glance_tx.notify.notifier import Notifier, Recipient
from glance_tx.notify.options import BrokerSettings, NotificationSettings, PublisherSettings, transport_url
from glance_tx.notify.outbox import Outbox, OutboxCounts
from glance_tx.notify.rabbit import RabbitRules, RabbitTransport
from glance_tx.notify.redis import RedisTransport
from glance_tx.redis.client import RedisClient
from glance_tx.settings import Settings
from glance_tx.telemetry.metrics import Metrics

__all__ = ["Recipients"]


@frozen
class Recipients:
    """
    A notifier, and what it has to let go of at the end. A part of a daemon.
    """

    notifier: Notifier
    outboxes: tuple[Outbox, ...]

    @classmethod
    def make(
        cls,
        reactor: Any,
        settings: Settings,
        metrics: Metrics,
        now: Callable[[], datetime],
        *,
        redis: RedisClient | None,
        redis_prefix: str,
    ) -> Recipients:
        """
        Make what the settings ask for.

        :param redis: Where caching nodes listen, if anywhere. It is stopped with the rest.
        """
        rules, publisher = settings[NotificationSettings], settings[PublisherSettings]
        delivered = metrics.counter("notifications_delivered", "Notifications that arrived.", ["recipient"])
        dropped = metrics.counter("notifications_dropped", "Notifications given up, for lack of room.", ["recipient"])

        def outbox(transport: ITransport) -> Outbox:
            name = transport.name
            counts = OutboxCounts(delivered.labels(name).inc, dropped.labels(name).inc)
            return Outbox(transport, reactor, rules.backlog, counts)

        recipients: list[Recipient] = []
        outboxes: list[Outbox] = []
        if "log" in rules.drivers:
            recipients.append(Recipient(LogSink(), publisher.disabled))
        url = transport_url(settings)
        if url is not None:
            rabbit = RabbitRules(
                exchange=publisher.exchange,
                topics=rules.topics,
                durable=settings[BrokerSettings].durable,
            )
            outboxes.append(outbox(RabbitTransport(reactor, Broker.parse(url), rabbit)))
            recipients.append(Recipient(outboxes[-1], publisher.disabled))
        if redis is not None:
            outboxes.append(outbox(RedisTransport(redis, redis_prefix)))
            recipients.append(Recipient(outboxes[-1]))
        waiting = metrics.gauge("notifications_waiting", "Notifications that wait for their recipients.")
        waiting.set_function(lambda: sum(box.waiting for box in outboxes))
        return cls(Notifier(publisher.publisher_id, now, recipients), tuple(outboxes))

    async def start(self) -> None:
        """
        Nothing to get ready: connections are made when there is something to tell.
        """

    async def stop(self) -> None:
        """
        Send what waits as far as that is quick, and let go.
        """
        for outbox in self.outboxes:
            await outbox.stop()
