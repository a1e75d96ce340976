"""
What every index of the caching tier does.
"""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from zope.interface.verify import verifyObject

from glance_cache.errors import IndexUnavailable
from glance_cache.hit_sums import HitSums
from glance_cache.interfaces import HitTotals, ICacheIndex


def image(number: int) -> str:
    """
    Make up an image id; some begin with a digit and look like numbers to whoever is careless.
    """
    return f"{number:08d}-1111-4222-8333-123456789abc"


class IndexContract:
    """
    Mixed into a `twisted.trial.unittest.TestCase` that has ``make_index``.
    """

    def make_index(self) -> ICacheIndex:
        raise NotImplementedError

    async def index(self) -> ICacheIndex:
        index = self.make_index()
        await index.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(index.stop()))
        return index

    async def merge(self, index: ICacheIndex, node: str, totals: Mapping[str, HitTotals]) -> None:
        await index.merge_hits(node, totals, after="", mark="some")

    async def test_interface(self) -> None:
        """
        An index provides its interface.
        """
        verifyObject(ICacheIndex, await self.index())

    async def test_nothing_yet(self) -> None:
        """
        An empty index has no hits and no queue.
        """
        index = await self.index()
        self.assertEqual(await index.hits(), {})
        self.assertEqual(await index.hits([image(1)]), {})
        self.assertEqual(await index.hits([]), {})
        self.assertEqual(await index.node_hits("a"), {})
        self.assertEqual(list(await index.jobs("a")), [])

    async def test_hits_add_up_over_nodes(self) -> None:
        """
        Hits are kept by node, and added up over nodes; the latest time counts.
        """
        index = await self.index()
        await self.merge(index, "a", {image(1): HitTotals(3, 300, 1700000000.25), image(2): HitTotals(1, 10, 5.0)})
        await self.merge(index, "b", {image(1): HitTotals(4, 400, 1600000000.5)})
        self.assertEqual(
            await index.node_hits("a"),
            {image(1): HitTotals(3, 300, 1700000000.25), image(2): HitTotals(1, 10, 5.0)},
        )
        self.assertEqual(await index.node_hits("b"), {image(1): HitTotals(4, 400, 1600000000.5)})
        self.assertEqual(
            await index.hits(),
            {image(1): HitTotals(7, 700, 1700000000.25), image(2): HitTotals(1, 10, 5.0)},
        )
        self.assertEqual(await index.hits([image(1), image(9)]), {image(1): HitTotals(7, 700, 1700000000.25)})

    async def test_other_keys(self) -> None:
        """
        What is counted by other things than images is added up over nodes by itself, may be dropped, and is no image.
        """
        index = await self.index()
        await self.merge(index, "a", {image(1): HitTotals(3, 30, 3.0), image(2): HitTotals(1, 5, 9.0)})
        await self.merge(
            index, "a", {"project:p%_": HitTotals(4, 35, 9.0), "hour:2026-01-01T00": HitTotals(4, 35, 9.0)}
        )
        await self.merge(index, "b", {image(1): HitTotals(2, 20, 5.0), "project:p%_": HitTotals(2, 20, 5.0)})
        self.assertEqual(await index.hits(), {image(1): HitTotals(5, 50, 5.0), image(2): HitTotals(1, 5, 9.0)})
        sums = HitSums.of(await index.all_hits())
        self.assertEqual(sums.projects, {"p%_": HitTotals(6, 55, 9.0)})
        self.assertEqual(sums.hours, {"2026-01-01T00": HitTotals(4, 35, 9.0)})
        self.assertEqual(sums.nodes, {"a": HitTotals(4, 35, 9.0), "b": HitTotals(2, 20, 5.0)})
        self.assertEqual(sums.images, await index.hits())
        self.assertEqual(sums.whole, HitTotals(6, 55, 9.0))
        self.assertEqual(len(await index.node_hits("a")), 4)
        await index.forget_hits("a", ["hour:2026-01-01T00", "hour:never", *(f"hour:{n}" for n in range(1200))])
        await index.forget_hits("a", [])
        self.assertEqual(HitSums.of(await index.all_hits()).hours, {})
        self.assertEqual(len(await index.node_hits("a")), 3)

    async def test_announced(self) -> None:
        """
        Nodes are known by what they said last, in the order of their names, until that counts no more.
        """
        index = await self.index()
        self.assertEqual(list(await index.announced()), [])
        await index.announce("b", {"n": 1}, 1000)
        await index.announce("a", {"text": "\u2603 1 2", "list": [], "number": 0.5}, 1000)
        await index.announce("b", {"n": 2}, 1000)
        await index.announce("gone", {}, 0)
        said = await index.announced()
        while len(said) > 2:  # the clock of a server cannot be set
            await deferLater(reactor, 0.05)
            said = await index.announced()
        self.assertEqual([each.node for each in said], ["a", "b"])
        self.assertEqual([each.report for each in said], [{"text": "\u2603 1 2", "list": [], "number": 0.5}, {"n": 2}])
        self.assertLess(abs(said[0].at - said[1].at), 100)

    async def test_resending(self) -> None:
        """
        Totals that come again, or late, change nothing; each number only ever grows.
        """
        index = await self.index()
        for totals in (HitTotals(3, 300, 30.0), HitTotals(3, 300, 30.0), HitTotals(2, 200, 20.0)):
            await self.merge(index, "a", {image(1): totals})
            self.assertEqual(await index.node_hits("a"), {image(1): HitTotals(3, 300, 30.0)})
        await self.merge(index, "a", {image(1): HitTotals(4, 100, 35.0)})
        self.assertEqual(await index.node_hits("a"), {image(1): HitTotals(4, 300, 35.0)})

    async def test_large_numbers(self) -> None:
        """
        Counts are exact beyond what a float can tell apart in fewer digits.
        """
        index = await self.index()
        large = HitTotals(10**15 + 1, 2**53 - 1, 1760000000.123456)
        await self.merge(index, "a", {image(1): large})
        await self.merge(index, "a", {image(1): HitTotals(10**15, 2**53 - 2, 0.5)})
        self.assertEqual(await index.hits(), {image(1): large})

    async def test_many_images(self) -> None:
        """
        Thousands of images at once are no different from one.
        """
        index = await self.index()
        totals = {image(number): HitTotals(number, number * 10, float(number)) for number in range(1, 2501)}
        await self.merge(index, "a", totals)
        await self.merge(index, "b", {image(2500): HitTotals(1, 1, 1.0)})
        self.assertEqual(await index.node_hits("a"), totals)
        wanted = [image(number) for number in range(1, 5000, 2)]
        self.assertEqual(await index.hits(wanted), {key: totals[key] for key in wanted if key in totals})
        self.assertEqual((await index.hits())[image(2500)], HitTotals(2501, 25001, 2500.0))

    async def test_chain_of_marks(self) -> None:
        """
        A merge tells whether the one before it is still there, for each node by itself.
        """
        index = await self.index()
        one = {image(1): HitTotals(1, 1, 1.0)}
        self.assertFalse(await index.merge_hits("a", one, after="m0", mark="m1"))
        self.assertTrue(await index.merge_hits("a", one, after="m1", mark="m2"))
        self.assertFalse(await index.merge_hits("b", one, after="m2", mark="m3"))
        self.assertFalse(await index.merge_hits("a", one, after="m1", mark="m4"))
        self.assertTrue(await index.merge_hits("a", one, after="m4", mark="m5"))
        many = {image(number): HitTotals(1, 1, 1.0) for number in range(1200)}
        self.assertTrue(await index.merge_hits("a", many, after="m5", mark="m6"))
        self.assertFalse(await index.merge_hits("a", many, after="m5", mark="m7"))

    async def test_asking_without_totals(self) -> None:
        """
        A merge of nothing asks whether the last one is there, and may be repeated.
        """
        index = await self.index()
        self.assertFalse(await index.merge_hits("a", {}, after="m1", mark="m1"))
        for _ in range(3):
            self.assertTrue(await index.merge_hits("a", {}, after="m1", mark="m1"))
        self.assertEqual(await index.node_hits("a"), {})

    async def test_side_by_side(self) -> None:
        """
        Calls need not wait for one another.
        """
        index = await self.index()
        works = [
            Deferred.fromCoroutine(self.merge(index, f"node-{number % 5}", {image(number): HitTotals(1, 1, 1.0)}))
            for number in range(50)
        ]
        await gatherResults(works, consumeErrors=True)
        self.assertEqual(await index.hits(), {image(number): HitTotals(1, 1, 1.0) for number in range(50)})

    async def test_stopped(self) -> None:
        """
        A stopped index says so; stopping it again does no harm.
        """
        index = await self.index()
        await index.stop()
        await index.stop()
        await self.assertFailure(Deferred.fromCoroutine(index.hits()), IndexUnavailable)
        await self.assertFailure(Deferred.fromCoroutine(self.merge(index, "a", {})), IndexUnavailable)
