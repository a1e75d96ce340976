"""
`RedisIndex` keeps the index contract, and lives with a Redis that does not.
"""

from __future__ import annotations

import gc
import os
import signal

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import capturedLogs
from twisted.trial.unittest import TestCase

from glance_cache.errors import IndexUnavailable
from glance_cache.index_redis import RedisIndex
from glance_cache.interfaces import HitTotals, ICacheIndex
from glance_tx.redis.address import RedisAddress
from glance_tx.redis.client import RedisClient
from tests.contracts.index import image
from tests.contracts.jobs import JobsContract
from tests.services import OwnRedis, _Redis, own_redis, redis_url_and_prefix

SECRET = "s3cret:p@ss/word"


def client(url: str, **options: float) -> RedisClient:
    return RedisClient(reactor, RedisAddress.parse(url), **options)


class RedisIndexContractTests(JobsContract, TestCase):
    """
    The contract.
    """

    def setUp(self) -> None:
        self.url, self.prefix = redis_url_and_prefix(self)

    def make_index(self) -> ICacheIndex:
        return RedisIndex(client(self.url), self.prefix)

    async def test_keys(self) -> None:
        """
        Every key begins with the prefix; indexes with different prefixes know nothing of each other.
        """
        index = await self.index()
        await self.merge(index, "a", {image(1): HitTotals(1, 1, 1.0)})
        await index.add_jobs("a", [image(1)], 0, 1.0)
        with _Redis(self.url) as redis:
            keys = redis.command("KEYS", f"{self.prefix}*")
        self.assertEqual(sorted(keys), [f"{self.prefix}:{name}" for name in ("hits:a", "jobs:a", "nodes", "queued:a")])
        other = RedisIndex(client(self.url), f"{self.prefix}-other")
        self.addCleanup(lambda: Deferred.fromCoroutine(other.stop()))
        self.assertEqual(await other.hits(), {})
        self.assertEqual(list(await other.jobs("a")), [])

    async def test_foreign_values(self) -> None:
        """
        Values that nobody here wrote are passed over, and overwritten.
        """
        index = await self.index()
        with _Redis(self.url) as redis:
            redis.command("HSET", f"{self.prefix}:hits:a", image(1), "junk", image(2), "1 2")
        await self.merge(index, "a", {image(2): HitTotals(1, 2, 3.0)})
        self.assertEqual(await index.node_hits("a"), {image(2): HitTotals(1, 2, 3.0)})

    async def test_error_from_the_server(self) -> None:
        """
        A command that Redis refuses is an index that is not available, and the next command works.
        """
        index = await self.index()
        with _Redis(self.url) as redis:
            redis.command("SET", f"{self.prefix}:jobs:a", "a string")
        error = await self.assertFailure(
            Deferred.fromCoroutine(index.add_jobs("a", [image(1)], 0, 1.0)), IndexUnavailable
        )
        self.assertIn("WRONGTYPE", error.reason)
        self.assertTrue(await index.add_jobs("b", [image(1)], 0, 1.0))


class OutageTests(TestCase):
    """
    A Redis that is killed, frozen, emptied, or will not have us.
    """

    def setUp(self) -> None:
        self.redis = own_redis(self)

    def make(self, url: str | None = None, **options: float) -> RedisIndex:
        index = RedisIndex(client(url or self.redis.url, **{"timeout_seconds": 0.5, **options}), "p")
        self.addCleanup(lambda: Deferred.fromCoroutine(index.stop()))
        return index

    async def assert_unavailable(self, index: RedisIndex) -> str:
        error = await self.assertFailure(Deferred.fromCoroutine(index.jobs("a")), IndexUnavailable)
        return error.reason

    async def eventually(self, index: RedisIndex) -> None:
        """
        Ask until there is an answer.
        """
        deadline = reactor.seconds() + 20
        while True:
            try:
                await index.jobs("a")
                return
            except IndexUnavailable:
                if reactor.seconds() > deadline:
                    raise
            await deferLater(reactor, 0.05)

    async def test_not_there_at_start(self) -> None:
        """
        An index starts without its Redis, says so with each call, and works once there is one.
        """
        self.redis.kill()
        index = self.make()
        await index.start()
        await self.assert_unavailable(index)
        await self.assert_unavailable(index)
        self.redis.start()
        await self.eventually(index)
        self.assertTrue(await index.add_jobs("a", [image(1)], 0, 1.0))

    async def test_killed(self) -> None:
        """
        Commands under way fail when Redis is killed; it is found again when it is back, empty.
        """
        index = self.make()
        self.assertFalse(await index.merge_hits("a", {}, after="m1", mark="m1"))
        self.assertTrue(await index.merge_hits("a", {}, after="m1", mark="m1"))
        self.pause(self.redis)
        under_way = Deferred.fromCoroutine(index.jobs("a"))
        self.redis.kill()
        await self.assertFailure(under_way, IndexUnavailable)
        await self.assert_unavailable(index)
        self.redis.start()
        await self.eventually(index)
        self.assertFalse(await index.merge_hits("a", {}, after="m1", mark="m1"))

    async def test_frozen(self) -> None:
        """
        Calls to a Redis that does not answer end with the deadline, and its connection is given up: it may be a dead
        one. Later calls get their own answers.
        """
        index = self.make()
        await index.add_jobs("a", [image(1)], 0, 1.0)
        before = self.clients()
        self.assertEqual(len(before), 1)
        self.pause(self.redis)
        works = [Deferred.fromCoroutine(index.jobs("a")) for _ in range(5)]
        await gatherResults([self.assertFailure(work, IndexUnavailable) for work in works])
        await self.assert_unavailable(index)
        os.kill(self.redis._process.pid, signal.SIGCONT)
        await self.eventually(index)
        self.assertEqual([job.image_id for job in await index.jobs("a")], [image(1)])
        self.assertFalse(await index.remove_job("a", image(2)))
        self.assertEqual(self.clients() & before, set())

    async def test_scripts_forgotten(self) -> None:
        """
        A Redis that lost its scripts is given them again.
        """
        index = self.make()
        await index.add_jobs("a", [image(1)], 0, 1.0)
        self.assertEqual([job.image_id for job in await index.jobs("a")], [image(1)])
        self.say("SCRIPT", "FLUSH")
        self.assertEqual([job.image_id for job in await index.jobs("a")], [image(1)])

    async def test_emptied(self) -> None:
        """
        A Redis that was emptied between two merges is found out by the second one.
        """
        index = self.make()
        one = {image(1): HitTotals(1, 1, 1.0)}
        await index.merge_hits("a", one, after="", mark="m1")
        self.say("FLUSHALL")
        self.assertFalse(await index.merge_hits("a", one, after="m1", mark="m2"))

    async def test_password(self) -> None:
        """
        A wrong password is refused with Redis's own words and without itself in the log; once it is right, all is
        well without a restart.
        """
        self.say("CONFIG", "SET", "requirepass", "other")
        address = f"127.0.0.1:{self.redis.port}/0"
        index = self.make(f"redis://:s3cret%3Ap%40ss%2Fword@{address}", retry_seconds=0.2)
        with capturedLogs() as events:
            await index.start()
            reason = await self.assert_unavailable(index)
            await self.assert_unavailable(index)
            with _Redis(f"redis://:other@{address}") as redis:
                redis.command("CONFIG", "SET", "requirepass", SECRET)
            await self.eventually(index)
        self.assertIn("WRONGPASS", reason)
        self.assertNotIn("s3cret", f"{reason} {events} {index!r}")

    async def test_password_changed_under_way(self) -> None:
        """
        A connection that is lost and then refused is tried again later.
        """
        index = self.make(retry_seconds=0.2)
        await index.jobs("a")
        self.say("CONFIG", "SET", "requirepass", "other")
        with _Redis(f"redis://:other@127.0.0.1:{self.redis.port}/0") as redis:
            redis.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await self.assert_unavailable(index)
            await self.assert_unavailable(index)
            redis.command("CONFIG", "SET", "requirepass", "")
        await self.eventually(index)

    async def test_long_outage(self) -> None:
        """
        However many calls fail while there is no Redis, nothing of them stays in memory.
        """
        self.redis.kill()
        index = self.make(timeout_seconds=0.05)
        await index.start()
        await self.assert_unavailable(index)
        gc.collect()
        before = sum(isinstance(thing, Deferred) for thing in gc.get_objects())
        for _ in range(30):
            await self.assert_unavailable(index)
        gc.collect()
        self.assertLess(sum(isinstance(thing, Deferred) for thing in gc.get_objects()), before + 15)

    async def test_caller_leaves(self) -> None:
        """
        A caller who stops waiting disturbs nobody, with and without a connection.
        """
        index = self.make()
        waiting = Deferred.fromCoroutine(index.jobs("a"))
        other = Deferred.fromCoroutine(index.jobs("a"))
        waiting.cancel()
        self.failureResultOf(waiting)
        await other
        late = Deferred.fromCoroutine(index.add_jobs("a", [image(1)], 0, 1.0))
        other = Deferred.fromCoroutine(index.jobs("b"))
        late.cancel()
        self.failureResultOf(late)
        self.assertEqual(list(await other), [])

    async def test_stopped_in_an_outage(self) -> None:
        """
        Stopping does not wait for a Redis that does not answer, and calls under way end with it.
        """
        index = self.make(timeout_seconds=60)
        await index.jobs("a")
        self.pause(self.redis)
        under_way = Deferred.fromCoroutine(index.jobs("a"))
        await index.stop()
        self.failureResultOf(under_way, IndexUnavailable)

    async def test_stopped_before_it_was_there(self) -> None:
        """
        Stopping ends the calls that still wait for a connection.
        """
        self.redis.kill()
        index = self.make(timeout_seconds=60)
        waiting = Deferred.fromCoroutine(index.jobs("a"))
        await index.stop()
        self.failureResultOf(waiting, IndexUnavailable)

    def clients(self) -> set[str]:
        """
        Tell the numbers of the connections to Redis, but for the one that asks.
        """
        with _Redis(self.redis.url) as redis:
            lines = redis.command("CLIENT", "LIST").splitlines()
        return {line.split()[0] for line in lines if "cmd=client" not in line}

    def pause(self, redis: OwnRedis) -> None:
        os.kill(redis._process.pid, signal.SIGSTOP)

    def say(self, *command: str) -> None:
        with _Redis(self.redis.url) as redis:
            redis.command(*command)
