"""
Damaged chunks are fetched again, and put back into their place.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from glance_cache import repairs
from glance_cache.cache import Cache, CacheState
from glance_cache.catalog import CHUNK_BYTES
from glance_cache.chunks import PATIENCE_SECONDS, UpstreamChunks
from glance_cache.entry import EntryState
from glance_cache.errors import ChunkUnavailable, EntryCorrupt, UpstreamMismatch, UpstreamRefused, UpstreamUnavailable
from glance_cache.fills import Fills, FillTools
from glance_cache.interfaces import UpstreamCredentials
from glance_cache.own import FixedCredentials
from tests.doubles.upstreams import ScriptedUpstream
from tests.proxy.filling import FRIEND, OWNER
from tests.proxy.folders import DATA, IMAGE, Chunks, EntriesTestCase, SlowReader, World, facts_of

FACTS = facts_of(DATA)
LAST = len(DATA) // CHUNK_BYTES
NODE = UpstreamCredentials(auth_token="node")


class RepairTests(EntriesTestCase):
    """
    What becomes of an entry with damaged chunks, where they can be had again.
    """

    async def damaged(self, chunks: Chunks, *damage: int) -> World:
        """An entry whose bytes at these places are wrong, before a daemon that has just started."""
        world = World(self.path)
        await world.start()
        await world.fill()
        for offset in damage:
            world.overwrite(FACTS, offset, bytes([DATA[offset] ^ 1]))
        await world.stop()
        world = World(self.path, chunks=chunks)
        await world.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(world.stop()))
        return world

    def states(self, world: World) -> list[EntryState]:
        return [info.state for info in world.store.inventory()]

    async def test_found_by_a_reader(self) -> None:
        """The reader that comes to a bad chunk is reset; only that chunk is fetched, and the next reader is served."""
        for offset in (0, CHUNK_BYTES + 5, len(DATA) - 1):
            self.path = self.mktemp()
            waiting: Deferred[None] = Deferred()
            chunks = Chunks(DATA, [waiting])
            world = await self.damaged(chunks, offset)
            inode = world.data_path(FACTS).stat().st_ino
            with self.assertRaises(EntryCorrupt):
                await world.read(FACTS)
            waiting.callback(None)
            self.assertEqual(self.states(world), [EntryState.COMPLETE])
            self.assertEqual(await world.read(FACTS), DATA)
            self.assertEqual(chunks.asked, [offset // CHUNK_BYTES * CHUNK_BYTES])
            self.assertEqual(world.data_path(FACTS).stat().st_ino, inode)
            assert world.store.repairs is not None
            self.assertEqual((len(world.corrupt), world.store.repairs.counts.chunks), (1, 1))
            self.assert_tidy(world)

    async def test_found_by_verification(self) -> None:
        """A verification finds all bad chunks, and each is repaired."""
        chunks = Chunks(DATA)
        world = await self.damaged(chunks, 7, len(DATA) - 1)
        self.assertEqual(await world.store.housekeeping.verify(IMAGE), 0)
        self.assertEqual(chunks.asked, [0, LAST * CHUNK_BYTES])
        self.assertEqual(await world.store.housekeeping.verify(IMAGE), 1)
        self.assertEqual(self.states(world), [EntryState.COMPLETE])

    async def test_readers_elsewhere(self) -> None:
        """Who is past the bad chunk gets all of his data; who comes to it is reset, and nobody else comes meanwhile."""
        waiting: Deferred[None] = Deferred()
        world = await self.damaged(Chunks(DATA, [waiting]), 0)
        past, coming = await world.store.open(FACTS, CHUNK_BYTES), await world.store.open(FACTS)
        assert past is not None
        assert coming is not None
        readers = [SlowReader(past), SlowReader(coming)]
        while len(readers[0].value()) < CHUNK_BYTES:
            readers[0].take()
        # Its last chunk is still to come, before which the file is looked at once more.
        self.assertEqual(readers[0].value(), DATA[CHUNK_BYTES : 2 * CHUNK_BYTES])
        with self.assertRaises(EntryCorrupt):
            await world.read(FACTS)
        self.assertEqual(self.states(world), [EntryState.DAMAGED])
        self.assertIsNone(await world.read(FACTS))
        self.assertTrue(world.store.is_damaged(FACTS))
        while not readers[1].ended.called:
            readers[1].take()
        self.failureResultOf(readers[1].ended, EntryCorrupt)
        waiting.callback(None)
        while not readers[0].ended.called:
            readers[0].take()
        self.successResultOf(readers[0].ended)
        self.assertEqual(readers[0].value(), DATA[CHUNK_BYTES:])
        self.assertEqual(await world.read(FACTS), DATA)

    async def assert_removed(self, world: World) -> None:
        with self.assertRaises(EntryCorrupt):
            await world.read(FACTS)
        self.assertEqual((world.file_names(), world.account.taken_bytes), ([], 0))
        assert world.store.repairs is not None
        self.assertEqual(world.store.repairs.counts.failures, 1)
        self.assertEqual(await world.read(await world.fill()), DATA)

    async def test_wrong_again(self) -> None:
        """Where what comes is not the chunk either, the entry is removed, and can be filled anew."""
        for wrong in (b"", DATA[:CHUNK_BYTES], DATA[CHUNK_BYTES : 2 * CHUNK_BYTES - 1]):
            self.path = self.mktemp()
            await self.assert_removed(await self.damaged(Chunks(DATA, [wrong]), CHUNK_BYTES))

    async def test_not_to_be_had(self) -> None:
        """Where the chunk cannot be had the entry is removed."""
        chunks = Chunks(DATA, [ChunkUnavailable(IMAGE, "it is gone")])
        await self.assert_removed(await self.damaged(chunks, 0))

    async def test_too_much_is_wrong(self) -> None:
        """An entry of which much is wrong is not repaired piece by piece."""
        self.patch(repairs, "MOST_CHUNKS", 1)
        chunks = Chunks(DATA)
        world = await self.damaged(chunks, 0, CHUNK_BYTES)
        waiting: Deferred[None] = Deferred()
        chunks.outcomes.append(waiting)
        self.assertEqual(await world.store.housekeeping.verify(IMAGE), 0)
        waiting.callback(None)
        self.assertEqual((world.file_names(), chunks.asked), ([], [0]))

    async def test_removed_meanwhile(self) -> None:
        """What is removed while it waits for a chunk stays removed."""
        waiting: Deferred[None] = Deferred()
        world = await self.damaged(Chunks(DATA, [waiting]), 0)
        with self.assertRaises(EntryCorrupt):
            await world.read(FACTS)
        self.assertEqual(await world.store.remove(IMAGE), 1)
        waiting.callback(None)
        self.assertEqual((self.states(world), world.file_names()), ([], []))

    async def test_stopped_meanwhile(self) -> None:
        """A daemon that stops does not wait for a repair; the next one finds the damage again."""
        world = await self.damaged(Chunks(DATA, [Deferred()]), 0)
        with self.assertRaises(EntryCorrupt):
            await world.read(FACTS)
        await world.stop()
        chunks = Chunks(DATA)
        world = World(self.path, chunks=chunks)
        await world.start()
        # Here the repair is faster than the reader.
        self.assertEqual((await world.read(FACTS), chunks.asked), (DATA, [0]))
        await world.stop()

    async def test_clients_are_passed_through_meanwhile(self) -> None:
        """While an entry is damaged its clients are served by the upstream, and one of them lends his name."""
        chunks = Chunks(DATA, [waiting := Deferred()])
        world = await self.damaged(chunks, 0)
        fills = Fills(FillTools(ScriptedUpstream({IMAGE: FACTS}), world.store, world.lanes, world.clock, 60))
        cache = Cache(world.store, fills, chunks=chunks)
        with self.assertRaises(EntryCorrupt):
            await world.read(FACTS)
        self.assertIsNone(await cache.open(FACTS, FRIEND, None))
        self.assertEqual((chunks.offered, fills.count), ([FRIEND], 0))
        waiting.callback(None)
        served = await cache.open(FACTS, FRIEND, None)
        assert served is not None
        self.assertIs(served.state, CacheState.HIT)
        served.body.close()


class UpstreamChunksTests(SynchronousTestCase):
    """
    Chunks from an upstream, and in whose name.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.upstream = ScriptedUpstream({IMAGE: FACTS}, ready={IMAGE: DATA})

    def fetch(self, chunks: UpstreamChunks) -> Deferred[bytes]:
        return Deferred.fromCoroutine(chunks.fetch(IMAGE, CHUNK_BYTES, 1000))

    def own(self) -> UpstreamChunks:
        return UpstreamChunks(self.upstream, self.clock, FixedCredentials(NODE))

    def test_in_the_node_s_own_name(self) -> None:
        """Where the node has credentials it asks at once, takes what it wants and lets go of the rest."""
        self.assertEqual(self.successResultOf(self.fetch(self.own())), DATA[CHUNK_BYTES : CHUNK_BYTES + 1000])
        self.assertEqual(self.upstream.asked, [("node", CHUNK_BYTES)])
        self.assertTrue(self.upstream.sources[-1].cancelled)

    def test_in_a_caller_s_name(self) -> None:
        """Where it has none it waits for somebody who may read the image, and for the next one if he may not."""
        chunks = UpstreamChunks(self.upstream, self.clock)
        self.upstream.outcomes = [UpstreamRefused(403, (), b"")]
        fetching = self.fetch(chunks)
        chunks.offer("another", OWNER)
        self.assertEqual(self.upstream.asked, [])
        chunks.offer(IMAGE, OWNER)
        self.assertNoResult(fetching)
        chunks.offer(IMAGE, FRIEND)
        self.assertEqual(self.successResultOf(fetching), DATA[CHUNK_BYTES : CHUNK_BYTES + 1000])
        self.assertEqual([token for token, _ in self.upstream.asked], ["owner", "friend"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nobody_comes(self) -> None:
        """Nobody is waited for longer than an hour."""
        fetching = self.fetch(UpstreamChunks(self.upstream, self.clock))
        self.clock.advance(PATIENCE_SECONDS - 1)
        self.assertNoResult(fetching)
        self.clock.advance(1)
        self.failureResultOf(fetching, ChunkUnavailable)

    def test_stopped(self) -> None:
        """A wait for somebody can be ended."""
        fetching = self.fetch(UpstreamChunks(self.upstream, self.clock))
        fetching.addErrback(lambda failure: None)
        fetching.cancel()
        self.assertIsNone(self.successResultOf(fetching))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_an_upstream_that_is_away(self) -> None:
        """An upstream that does not answer is asked again, for an hour."""
        self.upstream.outcomes = [UpstreamUnavailable("away"), UpstreamRefused(503, (), b"")]
        fetching = self.fetch(self.own())
        self.clock.pump([1, 1, 1])
        self.assertEqual(self.successResultOf(fetching), DATA[CHUNK_BYTES : CHUNK_BYTES + 1000])
        self.upstream.outcomes = [UpstreamUnavailable("away")] * 1000
        fetching = self.fetch(self.own())
        self.clock.pump([10] * 361)
        self.failureResultOf(fetching, ChunkUnavailable)

    def test_refused_to_the_node(self) -> None:
        """What the node itself may not read any more is not to be had, nor what is another image by now."""
        for error in (UpstreamRefused(404, (), b""), UpstreamRefused(401, (), b""), UpstreamMismatch(IMAGE, "other")):
            self.upstream.outcomes = [error]
            self.failureResultOf(self.fetch(self.own()), ChunkUnavailable)
