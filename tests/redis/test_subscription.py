"""
A subscription to a channel, and a Redis that comes and goes.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from attrs import define, field
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import LogEvent, capturedLogs
from twisted.trial.unittest import TestCase

from glance_tx.redis.address import RedisAddress
from glance_tx.redis.options import make_subscription, redis_tls
from glance_tx.redis.subscription import RedisSubscription, SubscriptionTimes
from glance_tx.settings.daemon import RedisSettings
from tests.doubles.certificates import Authority
from tests.ports import free_port
from tests.services import OwnRedis, _Redis, own_redis
from tests.web.raw import until

CHANNEL = "one:events"
IMPATIENT = SubscriptionTimes(timeout=0.2, ping=0.05, longest_pause=0.1)


def own(logs: Sequence[LogEvent]) -> list[LogEvent]:
    """
    What the subscription said.
    """
    return [event for event in logs if event["log_namespace"].startswith("glance_tx")]


@define
class Notes:
    """
    What a subscription told.
    """

    told: list[str | bytes] = field(factory=list)

    def subscribed(self) -> None:
        self.told.append("+")

    def unsubscribed(self) -> None:
        self.told.append("-")

    def received(self, message: str | bytes) -> None:
        self.told.append(message)


class SubscriptionTestCase(TestCase):
    """
    One subscription.
    """

    timeout = 30

    def setUp(self) -> None:
        self.notes = Notes()

    def subscribe(self, url: str, times: SubscriptionTimes = IMPATIENT) -> RedisSubscription:
        return self.begin(RedisSubscription(reactor, RedisAddress.parse(url), CHANNEL, self.notes, times=times))

    def begin(self, subscription: RedisSubscription) -> RedisSubscription:
        subscription.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(subscription.stop()))
        return subscription

    async def told(self, *told: str | bytes) -> None:
        """
        Wait until this, and nothing else, was told.
        """
        await until(lambda: len(self.notes.told) >= len(told))
        self.assertEqual(self.notes.told, list(told))

    def publish(self, redis: OwnRedis, message: str, channel: str = CHANNEL) -> int:
        with _Redis(redis.url) as connection:
            return int(connection.command("PUBLISH", channel, message))


class RealTests(SubscriptionTestCase):
    """
    With a real server.
    """

    def setUp(self) -> None:
        super().setUp()
        self.redis = own_redis(self)

    async def test_messages(self) -> None:
        """
        Messages of its channel arrive in order, as they were sent, whatever they look like; none of another does.
        """
        self.subscribe(self.redis.url)
        await self.told("+")
        sent = ['{"a": 1}', "", "17", "1.5", "message", "é" * 100_000, "line\r\nline"]
        for message in sent:
            self.assertEqual(self.publish(self.redis, message), 1)
            self.publish(self.redis, message, "other:events")
        await self.told("+", *sent)

    async def test_pings(self) -> None:
        """
        Many pings later it still hears.
        """
        self.subscribe(self.redis.url, SubscriptionTimes(timeout=5, ping=0.001))
        await self.told("+")
        for number in range(50):
            self.publish(self.redis, f"m{number}")
            await until(lambda expected=number + 2: len(self.notes.told) == expected)
        self.assertEqual(self.notes.told, ["+", *(f"m{number}" for number in range(50))])

    async def test_away(self) -> None:
        """
        A server that was away from the start, and one that dies, is subscribed to when it comes; the outage is in the
        log once.
        """
        self.redis.kill()
        with capturedLogs() as logs:
            self.subscribe(self.redis.url)
            await until(lambda: own(logs))
            self.redis.start()
            await self.told("+")
            self.redis.kill()
            await self.told("+", "-")
            self.redis.start()
            await self.told("+", "-", "+")
        self.publish(self.redis, "again")
        await self.told("+", "-", "+", "again")
        self.assertEqual([event["log_level"].name for event in own(logs)], ["warn", "info", "warn", "info"])

    async def test_silent(self) -> None:
        """
        A server that does not answer any more, with its connection open, counts as away soon.
        """
        self.subscribe(self.redis.url)
        await self.told("+")
        assert self.redis._process is not None
        os.kill(self.redis._process.pid, signal.SIGSTOP)
        await self.told("+", "-")
        os.kill(self.redis._process.pid, signal.SIGCONT)
        await self.told("+", "-", "+")

    async def test_thrown_out(self) -> None:
        """
        A server that throws out its clients, as for a change of passwords, is subscribed to again at once.
        """
        self.subscribe(self.redis.url, SubscriptionTimes(timeout=5, ping=600))
        await self.told("+")
        with _Redis(self.redis.url) as connection:
            connection.command("CLIENT", "KILL", "TYPE", "pubsub")
        await self.told("+", "-", "+")

    async def test_stop(self) -> None:
        """
        Stopped, it leaves the channel.
        """
        subscription = self.subscribe(self.redis.url)
        await self.told("+")
        await subscription.stop()
        await self.told("+", "-")
        await until(lambda: self.publish(self.redis, "late") == 0)
        await self.told("+", "-")


class PasswordTests(SubscriptionTestCase):
    """
    With a server that wants a password.
    """

    async def test_password(self) -> None:
        """
        The right one gets in. A wrong one does not, and is not in the log.
        """
        redis = own_redis(self, {"requirepass": "hush"})
        url = redis.url.replace("redis://", "redis://:{}@")
        self.subscribe(url.format("hush"))
        await self.told("+")
        self.notes = Notes()
        with capturedLogs() as logs:
            self.subscribe(url.format("pssst"))
            await until(lambda: own(logs))
        self.assertEqual(self.notes.told, [])
        self.assertIn("WRONGPASS", str(logs))
        self.assertNotIn("pssst", str(logs))

    def authority(self) -> Authority:
        return Authority(Path(self.mktemp()).absolute())

    async def test_tls(self) -> None:
        """
        It speaks TLS, where both sides believe each other and not otherwise, and never in the clear instead.
        """
        authority, stranger = self.authority(), self.authority()
        cert_file, key_file = authority.issue("localhost")
        port = free_port()
        files = {"tls-cert-file": str(cert_file), "tls-key-file": str(key_file)}
        own_redis(self, {"tls-port": str(port), "tls-ca-cert-file": str(authority.ca_file), **files})
        url = f"rediss://localhost:{port}/0"
        cert_file, key_file = authority.issue("a node")
        for ca_file, expected in ((stranger.ca_file, []), (authority.ca_file, ["+"])):
            settings = RedisSettings(url=url, cafile=ca_file, certfile=cert_file, keyfile=key_file, prefix="one")
            with capturedLogs() as logs:
                made = make_subscription(reactor, settings, redis_tls(settings), "events", self.notes)
                assert made is not None
                self.begin(made)
                await until(lambda: own(logs))
            self.assertEqual(self.notes.told, expected)
        address = RedisAddress.parse(url)
        self.assertRaises(ValueError, RedisSubscription, reactor, address, CHANNEL, self.notes)


class StrangeTests(SubscriptionTestCase):
    """
    With what is no Redis.
    """

    async def connect_to(self, protocol: type[Protocol]) -> list[LogEvent]:
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        port = await endpoint.listen(Factory.forProtocol(protocol))
        self.addCleanup(port.stopListening)
        with capturedLogs() as logs:
            subscription = self.subscribe(f"redis://127.0.0.1:{port.getHost().port}")
            await until(lambda: own(logs))
        await subscription.stop()
        self.assertEqual(self.notes.told, [])
        return own(logs)

    async def test_mute(self) -> None:
        """
        One that never says a word is given up.
        """
        self.assertIn("no answer within 0.2 seconds", str(await self.connect_to(Protocol)))

    async def test_hangs_up(self) -> None:
        """
        So is one that hangs up, or refuses.
        """

        class Rude(Protocol):
            def connectionMade(self) -> None:
                self.transport.loseConnection()

        class Refuses(Protocol):
            def dataReceived(self, data: bytes) -> None:
                self.transport.write(b"-NOPERM no access to that channel\r\n")

        self.assertIn("Lost connection", str(await self.connect_to(Rude)))
        self.assertIn("NOPERM", str(await self.connect_to(Refuses)))

    def test_nowhere(self) -> None:
        """
        Where no Redis is named there is no subscription.
        """
        self.assertIsNone(make_subscription(reactor, RedisSettings(), None, "events", self.notes))
