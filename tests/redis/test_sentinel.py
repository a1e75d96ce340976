"""
A Redis that is found by asking Sentinels.
"""

from __future__ import annotations

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from glance_tx.redis.address import RedisAddress, Sentinels
from glance_tx.redis.client import RedisClient
from glance_tx.redis.errors import RedisUnavailable
from glance_tx.redis.options import redis_address
from glance_tx.redis.subscription import RedisSubscription
from glance_tx.settings.daemon import RedisSettings
from tests.redis.sentinels import PASSWORD, PRIMARY, Failover
from tests.redis.test_subscription import IMPATIENT, Notes
from tests.services import own_redis
from tests.web.raw import until


class SentinelTests(TestCase):
    """
    `RedisClient` and `RedisSubscription` behind a Sentinel.
    """

    timeout = 60

    def client(self, address: RedisAddress) -> RedisClient:
        client = RedisClient(reactor, address, timeout_seconds=3.0)
        self.addCleanup(lambda: Deferred.fromCoroutine(client.stop()))
        return client

    async def ask(self, client: RedisClient, *words: str) -> str:
        """What comes of a command."""
        try:
            return str(await client.within_deadline(client.command(*words)))
        except RedisUnavailable as error:
            return f"unavailable: {error}"

    async def test_failover(self) -> None:
        """
        The primary is found where one Sentinel of two answers; after its death the replica that took its place is.
        """
        servers = Failover(self)
        await servers.start()
        client, notes = self.client(servers.address), Notes()
        subscription = RedisSubscription(reactor, servers.address, "events", notes, times=IMPATIENT)
        subscription.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(subscription.stop()))
        self.assertEqual(await self.ask(client, "SET", "some", "text"), "OK")
        await until(lambda: notes.told == ["+"])
        await until(lambda: servers.keys(servers.replica) == 1)
        servers.primary.kill()
        while await self.ask(client, "SET", "other", "text") != "OK":
            pass
        self.assertEqual(servers.keys(servers.replica), 2)
        await until(lambda: notes.told == ["+", "-", "+"])
        self.assertEqual(await self.ask(client, "PUBLISH", "events", "hello"), "1")
        await until(lambda: notes.told == ["+", "-", "+", "hello"])

    async def test_nobody_knows(self) -> None:
        """
        Where no Sentinel answers, or none knows the primary, Redis is unavailable; the password is in no text.
        """
        servers = Failover(self)
        await servers.start()
        known = servers.address.sentinels
        assert known is not None
        for sentinels in (
            evolve(known, primary="another"),
            evolve(known, password="wrong"),
            evolve(known, password=None),
            evolve(known, addresses=known.addresses[:1]),
        ):
            answer = await self.ask(self.client(evolve(servers.address, sentinels=sentinels)), "PING")
            self.assertIn("unavailable", answer)
            self.assertNotIn(PASSWORD, answer + repr(sentinels))

    async def test_a_silent_sentinel(self) -> None:
        """
        A Sentinel that takes connections and says nothing keeps nobody from asking the next one.
        """
        servers = Failover(self)
        await servers.start()
        silent = reactor.listenTCP(0, Factory.forProtocol(Protocol), interface="127.0.0.1")
        self.addCleanup(silent.stopListening)
        known = servers.address.sentinels
        assert known is not None
        addresses = (("127.0.0.1", silent.getHost().port), known.addresses[1])
        client = self.client(evolve(servers.address, sentinels=evolve(known, addresses=addresses)))
        self.assertEqual(await self.ask(client, "SET", "some", "text"), "OK")

    async def test_no_sentinel(self) -> None:
        """
        A Redis that is no Sentinel is not taken for one.
        """
        redis = own_redis(self)
        address = RedisAddress("127.0.0.1", sentinels=Sentinels((("127.0.0.1", redis.port),), PRIMARY))
        self.assertIn("unavailable", await self.ask(self.client(address), "PING"))

    def test_settings(self) -> None:
        """
        An operator names Sentinels beside the URL, which keeps what it says of user, database and TLS.
        """
        url = "rediss://glance:pw@anywhere/3"
        settings = RedisSettings(url=url, sentinels=(("a", 1), ("b", 2)), sentinel_password="hush")
        address = redis_address(url, settings)
        sentinels = Sentinels((("a", 1), ("b", 2)), "mymaster", None, "hush")
        self.assertEqual(address, evolve(RedisAddress.parse(url), sentinels=sentinels))
        self.assertEqual(redis_address(url, RedisSettings(url=url)), RedisAddress.parse(url))
