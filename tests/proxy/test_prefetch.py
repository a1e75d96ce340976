"""
Tests of fills that nobody waits for.
"""

from __future__ import annotations

from pathlib import Path

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from zope.interface import implementer
from zope.interface.verify import verifyObject

from glance_cache.cache import Cache
from glance_cache.errors import IndexUnavailable, UpstreamRefused, UpstreamUnavailable
from glance_cache.index_sqlite import SqliteIndex
from glance_cache.interfaces import ICacheIndex, ImageFacts, IOwnCredentials, UpstreamCredentials
from glance_cache.own import FixedCredentials
from glance_cache.prefetch import Prefetcher, PrefetchTools
from glance_tx.identity.errors import IdentityUnavailable
from tests.doubles.pools import SteppedPool
from tests.proxy.filling import FillTestCase
from tests.proxy.folders import DATA, IMAGE, OTHER

NODE = "node-1"
NODES_OWN = FixedCredentials(UpstreamCredentials(auth_token="node"))


class PrefetchTestCase(FillTestCase):
    """
    A prefetcher over an index in a file, a cache, and an upstream that does what the test says.
    """

    def setUp(self) -> None:
        self.index_path = Path(self.mktemp()).absolute()
        super().setUp()
        self.upstream.facts[OTHER] = evolve(self.facts, image_id=OTHER)

    def started(self) -> None:
        self.cache = Cache(self.world.store, self.fills)
        self.index: ICacheIndex = SqliteIndex(self.index_path, self.world.lanes.lane("index"), self.world.clock)
        starting = Deferred.fromCoroutine(self.index.start())
        self.world.pool.run_all()
        self.successResultOf(starting)
        self.prefetcher = Prefetcher(
            PrefetchTools(self.cache, self.upstream, self.index, NODE, NODES_OWN, self.world.clock)
        )

    def end(self) -> None:
        for stopping in (self.prefetcher.stop, self.index.stop):
            stopped = Deferred.fromCoroutine(stopping())
            self.world.pool.run_all()
            self.successResultOf(stopped)
        super().end()

    def queue(self, *image_ids: str) -> None:
        for image_id in image_ids:
            self.now(self.index.enqueue(NODE, image_id, self.world.clock.seconds()))
            self.world.clock.advance(0.001)

    def queued(self) -> list[str]:
        return list(self.now(self.index.queue(NODE)))

    def is_cached(self, image_id: str = IMAGE) -> bool:
        facts = self.upstream.facts[image_id]
        assert isinstance(facts, ImageFacts)
        return self.cached(facts) == DATA


class PrefetchTests(PrefetchTestCase):
    """
    `Prefetcher` works on the queue of its node.
    """

    def test_one_after_the_other(self) -> None:
        """
        Images are fetched in their order, each with the node's own credentials, and leave the queue when they are
        there.
        """
        self.queue(IMAGE, OTHER)
        self.prefetcher.start()
        self.assertEqual(self.upstream.authorized, [IMAGE])
        self.assertEqual(self.queued(), [IMAGE, OTHER])
        self.send()
        self.assertEqual(self.upstream.authorized, [IMAGE, OTHER])
        self.assertEqual(self.queued(), [OTHER])
        self.send()
        self.assertEqual(self.queued(), [])
        self.assertTrue(self.is_cached() and self.is_cached(OTHER))
        self.assertEqual(self.upstream.asked, [("node", 0)] * 2)

    def test_others_queues(self) -> None:
        """
        Other nodes' queues are theirs.
        """
        self.now(self.index.enqueue("node-2", IMAGE, 0.0))
        self.prefetcher.start()
        self.assertEqual(self.upstream.authorized, [])

    def test_wake(self) -> None:
        """
        What is queued is begun at once, where somebody says so, and soon in any case.
        """
        self.prefetcher.start()
        self.queue(IMAGE)
        self.assertEqual(self.upstream.authorized, [])
        self.prefetcher.wake()
        self.assertEqual(self.upstream.authorized, [IMAGE])
        self.send()
        self.queue(OTHER)
        self.world.clock.advance(30)
        self.assertEqual(self.upstream.authorized, [IMAGE, OTHER])
        self.send()

    def test_woken_before_it_sleeps(self) -> None:
        """
        What is queued while it looks for the last time before it sleeps is not overlooked.
        """
        self.end()
        self.begin(pool=SteppedPool())
        self.prefetcher.start()
        self.assertEqual(self.world.pool.waiting, 1)
        queueing = Deferred.fromCoroutine(self.index.enqueue(NODE, IMAGE, 0.0))
        self.prefetcher.wake()
        self.world.pool.run_all()
        self.successResultOf(queueing)
        self.assertEqual(self.upstream.authorized, [IMAGE])

    def test_queued_meanwhile(self) -> None:
        """
        What is queued while an image is being fetched comes next, and what is taken out meanwhile does not come.
        """
        third = "22222222-d94f-49cd-a114-e12490b328d9"
        self.upstream.facts[third] = evolve(self.facts, image_id=third)
        self.queue(IMAGE, OTHER)
        self.prefetcher.start()
        self.queue(third)
        self.prefetcher.wake()
        self.now(self.index.dequeue(NODE, OTHER))
        self.send()
        self.assertEqual(self.upstream.authorized, [IMAGE, third])
        self.send()
        self.assertEqual(self.queued(), [])

    def test_cached_already(self) -> None:
        """
        An image that is there already leaves the queue, with nothing fetched.
        """
        self.start()
        self.send()
        self.queue(IMAGE)
        self.prefetcher.start()
        self.assertEqual(self.queued(), [])
        self.assertEqual(len(self.upstream.asked), 1)

    def test_joins(self) -> None:
        """
        It joins a fill that runs.
        """
        self.start()
        self.queue(IMAGE)
        self.prefetcher.start()
        self.send()
        self.assertEqual(self.queued(), [])
        self.assertEqual(self.upstream.asked, [("owner", 0)])

    def test_joined_fill_is_refused(self) -> None:
        """
        What a fill that it joined was refused says nothing of the node's own credentials.
        """
        begins: Deferred[None] = Deferred()
        self.upstream.outcomes = [begins]
        self.start()
        self.queue(IMAGE)
        self.prefetcher.start()
        begins.errback(UpstreamRefused(404, (), b""))
        self.assertEqual(self.queued(), [IMAGE])
        self.send()
        self.assertEqual(self.queued(), [])
        self.assertTrue(self.is_cached())


class TroubleTests(PrefetchTestCase):
    """
    What cannot be fetched.
    """

    def test_never(self) -> None:
        """
        What the upstream will never give leaves the queue; so does an image without data.
        """
        for outcome in (
            *(UpstreamRefused(status, (), b"") for status in (400, 403, 404, 410)),
            None,
            ImageFacts(IMAGE, 0),
        ):
            self.upstream.facts[IMAGE] = outcome
            self.queue(IMAGE)
            self.prefetcher.start()
            self.assertEqual(self.queued(), [], outcome)
            self.now(self.prefetcher.stop())
        self.assertEqual(self.upstream.asked, [])
        self.assertEqual(len(self.warnings), 6)

    def test_later(self) -> None:
        """
        What may be had later stays, is tried again after a while, and does not keep others waiting.
        """
        for outcome in (UpstreamRefused(401, (), b""), UpstreamRefused(503, (), b""), UpstreamUnavailable("away")):
            self.upstream.facts[IMAGE] = outcome
            self.upstream.authorized.clear()
            self.queue(IMAGE, OTHER)
            self.prefetcher.start()
            self.assertEqual(self.upstream.authorized, [IMAGE, OTHER])
            if self.upstream.sources[-1:] and self.source.reading:
                self.send()
            self.assertEqual(self.queued(), [IMAGE])
            self.upstream.facts[IMAGE] = None
            self.world.clock.advance(30)
            self.assertEqual(self.queued(), [])
            self.now(self.prefetcher.stop())

    def test_wrong_data(self) -> None:
        """
        Data that is not the image is tried again later.
        """
        self.queue(IMAGE)
        self.prefetcher.start()
        self.send(bytes(len(DATA)))
        self.assertEqual(self.queued(), [IMAGE])
        self.world.clock.advance(30)
        self.send()
        self.assertTrue(self.is_cached())

    def test_defect(self) -> None:
        """
        A defect is logged, and ends neither prefetching nor the others' turn later.
        """
        self.upstream.facts[IMAGE] = ZeroDivisionError()
        self.queue(IMAGE)
        self.prefetcher.start()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.upstream.facts[IMAGE] = self.facts
        self.world.clock.advance(30)
        self.send()
        self.assertTrue(self.is_cached())

    def test_index_away(self) -> None:
        """
        While the index is away nothing is done, and afterwards all of it.
        """
        self.queue(IMAGE)
        index = AwayIndex()
        self.assertTrue(verifyObject(ICacheIndex, self.index))
        prefetcher = Prefetcher(
            PrefetchTools(self.cache, self.upstream, index, NODE, NODES_OWN, self.world.clock)  # type: ignore[arg-type]
        )
        prefetcher.start()
        self.assertIn("no index", " ".join(self.warnings))
        index.inner = self.index
        self.world.clock.advance(30)
        self.send()
        self.assertTrue(self.is_cached())
        self.assertEqual(self.queued(), [])
        self.now(prefetcher.stop())


@implementer(IOwnCredentials)
class Tokens:
    """
    Credentials that can be had anew.

    :ivar left: What there is, the best last; an exception for nothing.
    """

    def __init__(self, *left: str | Exception) -> None:
        self.left = list(left)

    async def get(self) -> UpstreamCredentials:
        token = self.left[0]
        if isinstance(token, Exception):
            raise token
        return UpstreamCredentials(auth_token=token)

    def reject(self, credentials: UpstreamCredentials) -> bool:
        if [credentials.auth_token] == self.left[:1]:
            self.left.pop(0)
        return bool(self.left)


class CredentialTests(PrefetchTestCase):
    """
    The node's own credentials may end.
    """

    def begin_with(self, credentials: Tokens) -> None:
        """
        Prefetch with these, an image that only ``good`` may read.
        """
        verifyObject(IOwnCredentials, credentials)
        self.prefetcher = Prefetcher(
            PrefetchTools(self.cache, self.upstream, self.index, NODE, credentials, self.world.clock)
        )
        self.upstream.admitted = "good"
        self.queue(IMAGE)
        self.prefetcher.start()

    def test_ended(self) -> None:
        """
        Where the upstream does not take them, others are tried at once.
        """
        self.begin_with(Tokens("old", "good"))
        self.send()
        self.assertEqual(self.queued(), [])
        self.assertTrue(self.is_cached())
        self.assertEqual(self.warnings, [])

    def test_none_are_taken(self) -> None:
        """
        Where it takes none of them, two are tried, and the image stays queued.
        """
        credentials = Tokens("old", "older", "oldest", "good")
        self.begin_with(credentials)
        self.assertEqual(self.queued(), [IMAGE])
        self.assertEqual(credentials.left, ["oldest", "good"])
        self.world.clock.advance(30)
        self.send()
        self.assertEqual(self.queued(), [])

    def test_other_refusals(self) -> None:
        """
        What the upstream says of the image says nothing of the credentials: they are kept.
        """
        self.upstream.facts[IMAGE] = UpstreamRefused(403, (), b"")
        credentials = Tokens("good", "other")
        self.begin_with(credentials)
        self.assertEqual((credentials.left, self.upstream.authorized), (["good", "other"], [IMAGE]))

    def test_none_to_be_had(self) -> None:
        """
        While there are none to be had, images stay queued.
        """
        credentials = Tokens(IdentityUnavailable("Keystone is away"))
        self.begin_with(credentials)
        self.assertEqual((self.queued(), self.upstream.authorized), ([IMAGE], []))
        self.assertIn("Keystone is away", " ".join(self.warnings))
        credentials.left = ["good"]
        self.world.clock.advance(30)
        self.send()
        self.assertEqual(self.queued(), [])


class AwayIndex:
    """
    The queue of an index that cannot be reached for a while.
    """

    inner: ICacheIndex | None = None

    async def queue(self, node: str) -> list[str]:
        if self.inner is None:
            raise IndexUnavailable("there is no index")
        return list(await self.inner.queue(node))

    async def dequeue(self, node: str, image_id: str) -> bool:
        assert self.inner is not None
        return await self.inner.dequeue(node, image_id)


class StopTests(PrefetchTestCase):
    """
    The queue survives the daemon.
    """

    def test_restart(self) -> None:
        """
        What was queued, or on its way, is fetched by the next daemon, from where it was.
        """
        self.queue(IMAGE, OTHER)
        self.prefetcher.start()
        self.source.send(DATA[: 1024 * 1024])
        self.restart()
        self.assertEqual(self.queued(), [IMAGE, OTHER])
        self.prefetcher.start()
        self.assertEqual(self.upstream.asked[-1], ("node", 1024 * 1024))
        self.send(DATA[1024 * 1024 :])
        self.send()
        self.assertEqual(self.queued(), [])

    def test_stop_at_any_moment(self) -> None:
        """
        It stops whatever it is at, and at once.
        """
        for moment in range(25):
            self.end()
            self.begin(pool=SteppedPool())
            queueing = Deferred.fromCoroutine(self.index.enqueue(NODE, IMAGE, 0.0))
            self.world.pool.run_all()
            self.successResultOf(queueing)
            self.prefetcher.start()
            for _ in range(moment):
                if self.world.pool.waiting:
                    self.world.pool.step()
            stopping = Deferred.fromCoroutine(self.prefetcher.stop())
            self.world.pool.run_all()
            self.successResultOf(stopping)
            self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_stop_while_asleep(self) -> None:
        """
        It stops while it has nothing to do, before it was started, and twice.
        """
        self.now(self.prefetcher.stop())
        self.prefetcher.start()
        self.now(self.prefetcher.stop())
        self.now(self.prefetcher.stop())
        self.prefetcher.wake()
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_stop_leaves_the_fill(self) -> None:
        """
        A fill that it waited for is not its own to stop.
        """
        fill = self.start()
        self.queue(IMAGE)
        self.prefetcher.start()
        ended = fill.ended()
        self.now(self.prefetcher.stop())
        self.assertNoResult(ended)
        self.send()
        self.successResultOf(ended)
        self.assertEqual(self.flushLoggedErrors(CancelledError), [])
