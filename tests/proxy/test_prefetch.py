"""
Tests of fills that nobody waits for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from zope.interface import implementer
from zope.interface.verify import verifyObject

from glance_cache.cache import Cache
from glance_cache.errors import IndexUnavailable, UpstreamRefused, UpstreamUnavailable
from glance_cache.index_sqlite import SqliteIndex
from glance_cache.interfaces import ICacheIndex, ImageFacts, IOwnCredentials, UpstreamCredentials
from glance_cache.jobs import Job, JobState
from glance_cache.own import FixedCredentials
from glance_cache.pace import Bandwidth
from glance_cache.prefetch import Prefetcher
from glance_cache.prefetch_run import PrefetchTools
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
        self.told: list[tuple[str, JobState | None]] = []
        self.prefetcher = self.make_prefetcher()

    def make_prefetcher(self, concurrency: int = 1, **other: Any) -> Prefetcher:
        """
        Make one of this daemon, other than usual where that is said.
        """
        may_begin = other.pop("may_begin", lambda: True)
        tools = PrefetchTools(
            **{
                "cache": self.cache,
                "upstream": self.upstream,
                "index": self.index,
                "node": NODE,
                "worker": "worker",
                "credentials": NODES_OWN,
                "clock": self.world.clock,
                "told": lambda job, state: self.told.append((job.image_id, state)),
                "attempts": 3,
                **other,
            }
        )
        return Prefetcher(tools, concurrency, may_begin)

    def end(self) -> None:
        for stopping in (self.prefetcher.stop, self.index.stop):
            stopped = Deferred.fromCoroutine(stopping())
            self.world.pool.run_all()
            self.successResultOf(stopped)
        super().end()

    def queue(self, *image_ids: str) -> None:
        for image_id in image_ids:
            self.now(self.index.add_jobs(NODE, [image_id], 0, self.world.clock.seconds()))

    def jobs(self) -> list[Job]:
        return list(self.now(self.index.jobs(NODE)))

    def queued(self) -> list[str]:
        """
        What waits, or is on its way.
        """
        return [job.image_id for job in self.jobs() if job.state is not JobState.FAILED]

    def failed(self) -> list[str]:
        """
        What was given up.
        """
        return [job.image_id for job in self.jobs() if job.state is JobState.FAILED]

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
        self.now(self.index.add_jobs("node-2", [IMAGE], 0, 0.0))
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
        queueing = Deferred.fromCoroutine(self.index.add_jobs(NODE, [IMAGE], 0, 0.0))
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
        self.now(self.index.remove_job(NODE, OTHER))
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
        What the upstream will never give is given up at once, loudly, and stays to be seen; so does an image without
        data. Queued again, it is tried again.
        """
        for outcome in (
            *(UpstreamRefused(status, (), b"") for status in (400, 403, 404, 410)),
            None,
            ImageFacts(IMAGE, 0),
        ):
            self.upstream.facts[IMAGE] = outcome
            self.upstream.authorized.clear()
            self.queue(IMAGE)
            self.prefetcher.start()
            self.assertEqual((self.queued(), self.failed()), ([], [IMAGE]), outcome)
            self.world.clock.advance(3600)
            self.assertEqual(self.upstream.authorized, [IMAGE])
            self.now(self.prefetcher.stop())
        self.assertEqual(self.upstream.asked, [])
        self.assertEqual(
            [text.partition(":")[0] for text in self.warnings], [f"image {IMAGE} will not be prefetched"] * 6
        )
        self.assertEqual(self.told[-2:], [(IMAGE, JobState.RUNNING), (IMAGE, JobState.FAILED)])
        self.assertEqual(self.jobs()[0].last_error, "it has no data")

    def test_later(self) -> None:
        """
        What may be had later stays, lets others go first, and is tried again after pauses that double.
        """
        self.upstream.facts[IMAGE] = UpstreamRefused(503, (), b"")
        self.queue(IMAGE, OTHER)
        self.prefetcher.start()
        self.assertEqual(self.upstream.authorized, [IMAGE, OTHER])
        self.send()
        (job,) = self.jobs()
        self.assertEqual((job.image_id, job.attempts, job.last_error), (IMAGE, 1, "the upstream answered 503"))
        for pause in (30, 60):
            tries = len(self.upstream.authorized)
            for _ in range(pause - 1):
                self.world.clock.advance(1)
            self.assertEqual(len(self.upstream.authorized), tries)
            self.world.clock.advance(1)
            self.assertEqual(len(self.upstream.authorized), tries + 1)

    def test_given_up(self) -> None:
        """
        After as many attempts as are configured an image is given up, with the reason of the last one.
        """
        self.upstream.facts[IMAGE] = UpstreamRefused(500, (), b"")
        self.queue(IMAGE)
        self.prefetcher.start()
        self.world.clock.advance(30)
        self.assertEqual(self.failed(), [])
        self.world.clock.advance(60)
        self.assertEqual((self.failed(), len(self.upstream.authorized)), ([IMAGE], 3))
        self.assertEqual(
            self.jobs()[0].last_error, "3 attempts were in vain, the last one because the upstream answered 500"
        )
        self.queue(IMAGE)
        self.upstream.facts[IMAGE] = self.facts
        self.prefetcher.wake()
        self.send()
        self.assertEqual(self.jobs(), [])

    def test_upstream_away(self) -> None:
        """
        An upstream that cannot be reached is no attempt, and is left alone for longer and longer; so is one that does
        not take the node's credentials.
        """
        for outcome in (UpstreamUnavailable("away"), UpstreamRefused(401, (), b"")):
            self.upstream.facts[IMAGE] = self.upstream.facts[OTHER] = outcome
            self.upstream.authorized.clear()
            self.queue(IMAGE, OTHER)
            self.prefetcher.start()
            tries = [1]
            for _ in range(120):
                self.world.clock.advance(1)
                tries.append(len(self.upstream.authorized))
            self.assertEqual([tries.index(n) for n in range(1, tries[-1] + 1)], [0, 5, 45, 65, 105])
            self.assertEqual(sorted(self.upstream.authorized), sorted([OTHER, IMAGE] * 2 + [IMAGE]))
            self.assertEqual([job.attempts for job in self.jobs()], [0, 0])
            self.upstream.facts.update({IMAGE: self.facts, OTHER: evolve(self.facts, image_id=OTHER)})
            self.upstream.ready = {IMAGE: DATA, OTHER: DATA}
            self.world.clock.advance(60)
            self.world.clock.advance(60)
            self.assertEqual(self.jobs(), [])
            self.now(self.prefetcher.stop())
            self.prefetcher = self.make_prefetcher()

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
        prefetcher = self.make_prefetcher(index=index)
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
        self.prefetcher = self.make_prefetcher(credentials=credentials)
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

    def __getattr__(self, name: str) -> Any:
        async def ask(*words: object) -> object:
            if self.inner is None:
                raise IndexUnavailable("there is no index")
            return await getattr(self.inner, name)(*words)

        return ask


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
        job = self.jobs()[0]
        self.assertEqual((job.image_id, job.state, job.attempts), (IMAGE, "queued", 0))
        self.assertEqual(self.queued(), [IMAGE, OTHER])
        self.prefetcher.start()
        self.assertEqual(self.upstream.asked[-1], ("node", 1024 * 1024))
        self.send(DATA[1024 * 1024 :])
        self.send()
        self.assertEqual(self.queued(), [])

    def test_killed(self) -> None:
        """
        What a killed process was at is fetched when its lease is over, and not before; an image that kills it again
        and again is given up.
        """
        self.queue(IMAGE)
        for _ in range(3):
            now = self.world.clock.seconds()
            self.now(self.index.claim_job(NODE, "killed", now, now + 30, 1))
            self.world.clock.advance(31)
        self.prefetcher.start()
        self.assertEqual(self.failed(), [IMAGE])
        self.assertEqual(self.jobs()[0].last_error, "this node ended in the midst of it 3 times")
        self.assertEqual(self.upstream.authorized, [])
        now = self.world.clock.seconds()
        self.queue(OTHER)
        self.now(self.index.claim_job(NODE, "killed", now, now + 30, 1))
        self.prefetcher.wake()
        self.world.clock.advance(29)
        self.prefetcher.wake()
        self.assertEqual(self.upstream.authorized, [])
        self.world.clock.advance(1)
        self.prefetcher.wake()
        self.assertEqual(self.upstream.authorized, [OTHER])
        self.send()

    def test_stop_at_any_moment(self) -> None:
        """
        It stops whatever it is at, and at once. Nothing is left of it when the fills have stopped, too.
        """
        for moment in range(25):
            self.end()
            self.begin(pool=SteppedPool())
            queueing = Deferred.fromCoroutine(self.index.add_jobs(NODE, [IMAGE], 0, 0.0))
            self.world.pool.run_all()
            self.successResultOf(queueing)
            self.prefetcher.start()
            for _ in range(moment):
                if self.world.pool.waiting:
                    self.world.pool.step()
            stopping = Deferred.fromCoroutine(self.prefetcher.stop())
            self.world.pool.run_all()
            self.successResultOf(stopping)

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


class ManyTests(PrefetchTestCase):
    """
    Several images at a time, and how fast.
    """

    def test_concurrency(self) -> None:
        """
        As many images are fetched at the same time as may be, over all processes of the node.
        """
        third = "22222222-d94f-49cd-a114-e12490b328d9"
        self.upstream.facts[third] = evolve(self.facts, image_id=third)
        self.queue(IMAGE, OTHER, third)
        self.prefetcher = self.make_prefetcher(concurrency=2)
        sibling = self.make_prefetcher(concurrency=2, worker="sibling")
        self.prefetcher.start()
        sibling.start()
        self.assertEqual(self.upstream.authorized, [IMAGE, OTHER])
        self.send()
        self.assertEqual(self.upstream.authorized, [IMAGE, OTHER, third])
        self.assertEqual([job.state for job in self.jobs()], [JobState.RUNNING] * 2)
        self.now(sibling.stop())

    def test_progress(self) -> None:
        """
        A job that runs tells how far it is, how fast, and how long it will take; its lease is kept meanwhile.
        """
        self.queue(IMAGE)
        self.prefetcher.start()
        self.source.send(DATA[: 1024 * 1024])
        self.world.clock.advance(2)
        (job,) = self.jobs()
        self.assertEqual((job.size_bytes, job.present_bytes, job.fetched_bytes), (len(DATA), 1024 * 1024, 1024 * 1024))
        self.assertEqual(job.bytes_per_second, 512 * 1024)
        self.assertEqual(job.seconds_left, (len(DATA) - 1024 * 1024) / (512 * 1024))
        for _ in range(50):
            self.world.clock.advance(2)
        (job,) = self.jobs()
        self.assertEqual((job.attempts, job.lease_until), (1, self.world.clock.seconds() + 30))
        self.send(DATA[1024 * 1024 :])
        self.assertEqual((self.jobs(), self.told[-1]), ([], (IMAGE, None)))

    def test_progress_of_a_fill_that_goes_on(self) -> None:
        """
        What was here before does not count for how fast it is.
        """
        self.test_progress_is_kept()
        self.prefetcher.start()
        self.source.send(DATA[1024 * 1024 : 1024 * 1024 + 1000])
        self.world.clock.advance(2)
        (job,) = self.jobs()
        self.assertEqual((job.present_bytes, job.fetched_bytes), (1024 * 1024 + 1000, 1000))

    def test_progress_is_kept(self) -> None:
        """
        A job that waits again tells how much of its image is here.
        """
        self.queue(IMAGE)
        self.prefetcher.start()
        self.source.send(DATA[: 1024 * 1024])
        self.restart()
        (job,) = self.jobs()
        self.assertEqual((job.state, job.present_bytes, job.seconds_left), (JobState.QUEUED, 1024 * 1024, None))

    def test_taken_out(self) -> None:
        """
        A job that is taken out while it runs is left alone from then on, and the next one begins.
        """
        self.queue(IMAGE, OTHER)
        self.prefetcher.start()
        self.now(self.index.remove_job(NODE, IMAGE))
        self.world.clock.advance(2)
        self.assertEqual(self.upstream.authorized, [IMAGE, OTHER])
        self.assertEqual(self.queued(), [OTHER])
        self.assertEqual(self.warnings, [])

    def test_index_goes_away_under_it(self) -> None:
        """
        An index that goes away ends nothing that runs; the image is found in the cache when it is back.
        """
        index = AwayIndex()
        index.inner = self.index
        self.queue(IMAGE)
        self.prefetcher = self.make_prefetcher(index=index)
        self.prefetcher.start()
        index.inner = None
        self.world.clock.advance(2)
        self.send()
        self.assertTrue(self.is_cached())
        index.inner = self.index
        self.world.clock.advance(30)
        self.assertEqual(self.jobs(), [])
        self.assertEqual(len(self.upstream.sources), 1)

    def test_window(self) -> None:
        """
        Nothing is begun at other times than may be; what was begun is fetched to its end.
        """
        open_now = [False]
        self.prefetcher = self.make_prefetcher(may_begin=lambda: open_now[0])
        self.queue(IMAGE, OTHER)
        self.prefetcher.start()
        self.world.clock.advance(30)
        self.assertEqual(self.upstream.authorized, [])
        open_now[0] = True
        self.world.clock.advance(30)
        open_now[0] = False
        self.send()
        self.assertEqual((self.is_cached(), self.upstream.authorized, self.queued()), (True, [IMAGE], [OTHER]))


class BandwidthTests(PrefetchTestCase):
    """
    A limit on how fast images are fetched.
    """

    def begin_slowly(self) -> None:
        """
        Fetch two images, with 100 kB a second for both.
        """
        self.prefetcher = self.make_prefetcher(concurrency=2, bandwidth=Bandwidth(self.world.clock, 100_000))
        self.queue(IMAGE, OTHER)
        self.prefetcher.start()

    def fed(self, number: int) -> int:
        """
        Send pieces of 10 kB until one has to wait, and tell how many were taken.
        """
        source = self.upstream.sources[number]
        pieces = 0
        while not source.held and source.reading:
            source.send(bytes(10_000))
            pieces += 1
        return pieces

    def test_shared(self) -> None:
        """
        What comes in a time is no more than may, for all together, however long it was quiet before.
        """
        self.begin_slowly()
        self.fed(0)
        self.world.clock.advance(1000)
        taken = 0
        for _ in range(100):
            taken += self.fed(0) + self.fed(1)
            self.world.clock.advance(0.1)
        # One piece is in work and one more is read meanwhile, of each image.
        self.assertTrue(100 <= taken <= 104, taken)

    def test_hurry(self) -> None:
        """
        It ends for an image as soon as a client reads that one.
        """
        self.begin_slowly()
        self.source.send(DATA[:10_000])
        source = self.upstream.sources[0]
        source.send(DATA[: 1024 * 1024])
        self.world.clock.advance(0)
        source.send(DATA[1024 * 1024 :])
        source.end()
        self.assertFalse(self.is_cached())
        fill = self.fills.running(self.facts)
        assert fill is not None
        reader = self.reader(fill)
        self.successResultOf(reader.ended)
        self.assertEqual(reader.data, DATA)
        self.assertEqual(self.queued(), [OTHER])

    def test_stopped_meanwhile(self) -> None:
        """
        A fill that waits for its turn can be stopped.
        """
        self.begin_slowly()
        self.source.send(DATA[: 1024 * 1024])
        self.restart()
        self.assertEqual(self.queued(), [IMAGE, OTHER])
