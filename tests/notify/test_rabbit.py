"""
Notifications to a real RabbitMQ.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import pika
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from glance_tx.notify.broker import Broker
from glance_tx.notify.errors import DeliveryFailed
from glance_tx.notify.rabbit import RabbitRules, RabbitTransport
from tests.functional.relay import Relay
from tests.notify.messages import event, message
from tests.services import rabbit_url_and_name


class RabbitTransportTests(TestCase):
    """
    `RabbitTransport`.
    """

    def setUp(self) -> None:
        self.url, self.name = rabbit_url_and_name(self)

    def make(self, url: str | None = None, **rules: Any) -> RabbitTransport:
        options = {"exchange": self.name, "topics": (self.name,), "timeout_seconds": 5.0, **rules}
        transport = RabbitTransport(reactor, Broker.parse(url or self.url), RabbitRules(**options))
        self.addCleanup(lambda: Deferred.fromCoroutine(transport.close()))
        return transport

    def fails(self, transport: RabbitTransport) -> Deferred[Any]:
        return self.assertFailure(Deferred.fromCoroutine(transport.deliver(message())), DeliveryFailed)

    def waiting(self, queue: str) -> list[tuple[Any, bytes]]:
        """Take everything out of a queue."""
        with pika.BlockingConnection(pika.URLParameters(self.url.replace("rabbit://", "amqp://"))) as connection:
            channel = connection.channel()
            found = []
            while True:
                method, properties, body = channel.basic_get(queue, auto_ack=True)
                if method is None:
                    return found
                found.append((properties, body))

    async def test_envelope(self) -> None:
        """
        A message waits in the queue of its topic and priority, in the envelope of oslo.messaging 2.0.
        """
        await self.make().deliver(message(name="ü"))
        [(properties, body)] = await deferToThread(self.waiting, f"{self.name}.info")
        envelope = json.loads(body)
        self.assertEqual(sorted(envelope), ["oslo.message", "oslo.version"])
        self.assertEqual(envelope["oslo.version"], "2.0")
        self.assertEqual(
            json.loads(envelope["oslo.message"]),
            {
                "_context_user_id": "user-1",
                "_context_project_id": "project-1",
                "_unique_id": "00000000000040008000000000000001",
                "message_id": "00000000-0000-4000-8000-000000000001",
                "publisher_id": "image.localhost",
                "event_type": "image.create",
                "priority": "INFO",
                "timestamp": "2026-03-04 05:06:07.000089",
                "payload": {"name": "ü"},
            },
        )
        self.assertEqual(
            (properties.content_type, properties.content_encoding, properties.delivery_mode),
            ("application/json", "utf-8", 2),
        )

    async def test_order(self) -> None:
        """
        Messages keep their order, over one connection.
        """
        transport = self.make()
        for number in range(1, 6):
            await transport.deliver(message(number=number))
        found = await deferToThread(self.waiting, f"{self.name}.info")
        numbers = [json.loads(json.loads(body)["oslo.message"])["message_id"][-1] for _, body in found]
        self.assertEqual(numbers, ["1", "2", "3", "4", "5"])

    async def test_priority(self) -> None:
        """
        What went wrong goes to a queue of its own.
        """
        failed = message()
        failed = type(failed)(failed.message_id, failed.publisher_id, failed.timestamp, event(priority="ERROR"))
        await self.make().deliver(failed)
        self.assertEqual(len(await deferToThread(self.waiting, f"{self.name}.error")), 1)

    async def test_cut(self) -> None:
        """
        When its connection breaks, the transport makes another for the next message.
        """
        relay = Relay(urlsplit(self.url).port or 5672)
        self.addCleanup(relay.close)
        transport = self.make(f"rabbit://guest:guest@127.0.0.1:{relay.port}/")
        await transport.deliver(message(number=1))
        relay.cut()
        # The break is noticed with the next message at the latest, which may be lost with it.
        try:
            await transport.deliver(message(number=2))
        except DeliveryFailed:
            await transport.deliver(message(number=2))
        self.assertEqual(len(await deferToThread(self.waiting, f"{self.name}.info")), 2)

    async def test_next_host(self) -> None:
        """
        Where one server is away, the next one is asked.
        """
        relay = Relay(urlsplit(self.url).port or 5672)
        relay.close()
        here = self.url.partition("://")[2]
        transport = self.make(f"rabbit://guest:guest@127.0.0.1:{relay.port},{here}")
        await self.fails(transport)
        await transport.deliver(message())

    async def test_silent(self) -> None:
        """
        A server that says nothing fails the delivery within its deadline.
        """
        port = reactor.listenTCP(0, Factory.forProtocol(Protocol), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        transport = self.make(f"rabbit://127.0.0.1:{port.getHost().port}/", timeout_seconds=0.3)
        error = await self.fails(transport)
        self.assertIn("0.3 seconds", str(error))

    async def test_password(self) -> None:
        """
        A wrong password is a delivery that failed, and does not show.
        """
        host = self.url.rpartition("@")[2]
        error = await self.fails(self.make(f"rabbit://guest:s3cret@{host}"))
        self.assertNotIn("s3cret", repr(error) + str(error))

    async def test_refused_declaration(self) -> None:
        """
        An exchange that others declared otherwise fails the delivery, and says why.
        """
        await self.make(durable=False).deliver(message())
        error = await self.fails(self.make(durable=True))
        self.assertIn("durable", str(error))
