"""
Tests of nodes that know each other.
"""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from glance_cache.errors import IndexUnavailable
from glance_cache.index_sqlite import SqliteIndex
from glance_cache.neighbors import ANNOUNCE_SECONDS, KEPT_SECONDS, Neighbors
from glance_tx.streaming.lanes import Lanes
from tests.doubles.pools import InlinePool
from tests.proxy.test_management import UnavailableIndex


class NeighborsTests(TestCase):
    """
    Nodes on one index, by a clock that tests move.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        lane = Lanes(self.clock, InlinePool()).lane("index")  # type: ignore[arg-type]
        self.index = SqliteIndex(Path(self.mktemp()), lane, self.clock)
        self.hits = 0

    def neighbors(self, name: str) -> Neighbors:
        neighbors = Neighbors(self.index, name, lambda: {"hits": self.hits}, self.clock)
        self.addCleanup(lambda: Deferred.fromCoroutine(neighbors.stop()))
        return neighbors

    async def test_come_and_go(self) -> None:
        """
        A node is known as soon as it starts, is heard of again and again, and is gone some time after it ended.
        """
        one, two = self.neighbors("one"), self.neighbors("two")
        await one.start()
        await two.start()
        self.assertEqual([(said.node, said.at) for said in await one.all()], [("one", 0), ("two", 0)])
        self.hits = 5
        for _ in range(10):
            self.clock.advance(ANNOUNCE_SECONDS)
        self.hits = 6
        (own, other) = await one.all()
        self.assertEqual((own.report, other.report, other.at), ({"hits": 6}, {"hits": 5}, 50))
        await two.stop()
        self.clock.advance(KEPT_SECONDS)
        self.assertEqual([said.node for said in await one.all()], ["one", "two"])
        self.clock.advance(1)
        self.assertEqual([said.node for said in await one.all()], ["one"])

    async def test_index_away(self) -> None:
        """
        An index that is away keeps no node from starting; it is announced when the index is back.
        """
        one = self.neighbors("one")
        two = Neighbors(UnavailableIndex(), "two", dict, self.clock)  # type: ignore[arg-type]
        await two.start()
        self.clock.advance(ANNOUNCE_SECONDS)
        with self.assertRaises(IndexUnavailable):
            await two.all()
        two._index = self.index
        self.clock.advance(ANNOUNCE_SECONDS)
        self.assertEqual([said.node for said in await one.all()], ["one", "two"])
        await two.stop()
