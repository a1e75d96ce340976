"""
Notifications on channels of a real Redis.
"""

from __future__ import annotations

import json
import socket
from typing import Any
from urllib.parse import urlsplit

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from glance_tx.notify.errors import DeliveryFailed
from glance_tx.notify.redis import RedisTransport
from glance_tx.redis.address import RedisAddress
from glance_tx.redis.client import RedisClient
from tests.notify.messages import message
from tests.services import own_redis


class Subscriber:
    """
    Listens to all channels of a Redis, and blocks while it does.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port), timeout=10)
        self._file = self._socket.makefile("rb")
        self._socket.sendall(b"PSUBSCRIBE *\r\n")
        self._read()

    def hear(self) -> tuple[str, Any]:
        _, _, channel, text = self._read()
        return channel, json.loads(text)

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def _read(self) -> Any:
        line = self._file.readline()
        kind, rest = line[:1], int(line[1:])
        if kind == b"*":
            return [self._read() for _ in range(rest)]
        return rest if kind == b":" else self._file.read(rest + 2)[:-2].decode()


class RedisTransportTests(TestCase):
    """
    `RedisTransport`.
    """

    def setUp(self) -> None:
        self.redis = own_redis(self)
        client = RedisClient(reactor, RedisAddress.parse(self.redis.url), timeout_seconds=1.0)
        self.transport = RedisTransport(client, "cloud")
        self.addCleanup(lambda: Deferred.fromCoroutine(self.transport.close()))

    async def test_channels(self) -> None:
        """
        What changes an image goes to one channel, downloads to another; the message is the notification in JSON.
        """
        subscriber = Subscriber(self.redis.url)
        self.addCleanup(subscriber.close)
        await self.transport.deliver(message("image.delete", id="i1", name="ü"))
        await self.transport.deliver(message("image.send", image_id="i1"))
        channel, heard = await deferToThread(subscriber.hear)
        self.assertEqual(channel, "cloud:events")
        self.assertEqual(
            heard,
            {
                "message_id": "00000000-0000-4000-8000-000000000001",
                "publisher_id": "image.localhost",
                "event_type": "image.delete",
                "priority": "INFO",
                "timestamp": "2026-03-04 05:06:07.000089",
                "payload": {"id": "i1", "name": "ü"},
            },
        )
        channel, heard = await deferToThread(subscriber.hear)
        self.assertEqual((channel, heard["event_type"]), ("cloud:sends", "image.send"))

    async def test_away(self) -> None:
        """
        While Redis is away a delivery fails within its deadline, and the next one works once it is back.
        """
        self.redis.kill()
        await self.assertFailure(self.deliver(), DeliveryFailed)
        self.redis.start()
        deadline = reactor.seconds() + 20
        while True:
            try:
                await self.deliver()
                return
            except DeliveryFailed:
                if reactor.seconds() > deadline:
                    raise

    def deliver(self) -> Any:
        return Deferred.fromCoroutine(self.transport.deliver(message()))
