"""
Tests of how Redis commands are timed.
"""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from glance_tx.redis.address import RedisAddress
from glance_tx.redis.client import RedisClient
from glance_tx.redis.errors import RedisUnavailable
from tests.services import own_redis


class TimingTests(TestCase):
    """
    `RedisClient` tells how long commands take.
    """

    async def test_every_command(self) -> None:
        """
        Who observes is told of each command, of those that fail too.
        """
        seen: list[float] = []
        redis = own_redis(self)
        client = RedisClient(reactor, RedisAddress.parse(redis.url), timeout_seconds=0.5, observe=seen.append)
        self.addCleanup(lambda: Deferred.fromCoroutine(client.stop()))
        await client.within_deadline(client.command("SET", "a", "b"))
        self.assertEqual(len(seen), 1)
        redis.kill()
        with self.assertRaises(RedisUnavailable):
            await client.within_deadline(client.command("GET", "a"))
        self.assertEqual(len(seen), 2)
        self.assertTrue(all(0 <= seconds < 30 for seconds in seen))
