"""
Hits add up over Redis servers that take each other's place.
"""

from __future__ import annotations

import os
import signal

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import TestCase

from glance_cache.errors import IndexUnavailable
from glance_cache.files import FileOps
from glance_cache.hit_journal import HitJournal
from glance_cache.hits import HitCounter
from glance_cache.index_redis import RedisIndex
from glance_tx.redis.client import RedisClient
from glance_tx.streaming.lanes import Lanes
from tests.contracts.index import image
from tests.proxy.folders import absolute
from tests.redis.sentinels import Failover


class FailoverTests(TestCase):
    """
    Two nodes, and a primary that stops answering and comes back as a replica.
    """

    timeout = 90

    async def test_paused(self) -> None:
        """
        While the primary is frozen hits go on to be counted; the replica that takes its place, which may have missed
        some, is told of them all, and keeps them when the old primary comes back.
        """
        self.servers = Failover(self)
        await self.servers.start()
        self.folder = absolute(self.mktemp())
        self.folder.mkdir()
        self.pool = ThreadPool(minthreads=0, maxthreads=2)
        self.pool.start()
        self.addCleanup(self.pool.stop)
        counters = [await self.counter("a"), await self.counter("b")]
        self.recorded = 0
        self.record(counters)
        await self.until_exact()
        frozen = self.servers.primary._process
        assert frozen is not None
        os.kill(frozen.pid, signal.SIGSTOP)
        self.addCleanup(os.kill, frozen.pid, signal.SIGCONT)
        self.record(counters)
        self.assertFalse(await counters[0].flush())
        self.record(counters)
        await self.until_exact()
        self.assertGreater(self.servers.keys(self.servers.replica), 0)
        os.kill(frozen.pid, signal.SIGCONT)
        self.record(counters)
        await self.until_exact()

    def index(self) -> RedisIndex:
        index = RedisIndex(RedisClient(reactor, self.servers.address, timeout_seconds=0.5), "p")
        self.addCleanup(lambda: Deferred.fromCoroutine(index.stop()))
        return index

    async def counter(self, name: str) -> HitCounter:
        index = self.index()
        journal = HitJournal(self.folder / name, name, FileOps())
        lane = Lanes(reactor, self.pool).lane("journal")
        counter = HitCounter(journal, lane, index, name, reactor, flush_seconds=0.05)
        await index.start()
        await counter.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(counter.stop()))
        return counter

    def record(self, counters: list[HitCounter]) -> None:
        for counter in counters:
            counter.record(image(1), 10)
        self.recorded += len(counters)

    async def until_exact(self) -> None:
        """Wait until the sums are what was recorded."""
        reader = self.index()
        while True:
            try:
                total = (await reader.hits()).get(image(1))
            except IndexUnavailable:
                total = None
            if total is not None and (total.hits, total.bytes_sent) == (self.recorded, 10 * self.recorded):
                return
            await deferLater(reactor, 0.05)
