"""
Tests of fills that everybody left, and of how many there are, and how fast.
"""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from glance_cache.audience import Audience
from glance_cache.cache import Cache, CacheState
from glance_cache.catalog import CHUNK_BYTES
from glance_cache.errors import FillFailed
from glance_cache.fills import Fill
from glance_cache.pace import Bandwidth
from tests.proxy.filling import FRIEND, OWNER, FillTestCase, Reader
from tests.proxy.folders import DATA, IMAGE, OTHER

LINGER_SECONDS = 5.0


class AudienceTests(SynchronousTestCase):
    """
    `Audience` notices that everybody has left.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.left = 0
        self.audience = Audience(self.clock, LINGER_SECONDS, self._note)

    def _note(self) -> None:
        self.left += 1

    def test_left(self) -> None:
        """
        Once the last one is gone, and a while has passed.
        """
        self.audience.enter()
        self.audience.enter()
        self.audience.leave()
        self.clock.advance(60)
        self.audience.leave()
        self.clock.advance(LINGER_SECONDS - 1)
        self.assertEqual(self.left, 0)
        self.clock.advance(1)
        self.clock.advance(60)
        self.assertEqual(self.left, 1)

    def test_comes_back(self) -> None:
        """
        Whoever comes in that while stays with them.
        """
        self.audience.enter()
        self.audience.leave()
        self.clock.advance(4)
        self.audience.enter()
        self.clock.advance(60)
        self.assertEqual(self.left, 0)

    def test_waits(self) -> None:
        """
        Somebody who waits is there until it is over, whichever way.
        """
        for end in (lambda d: d.callback(None), lambda d: d.errback(ZeroDivisionError()), lambda d: d.cancel()):
            self.left = 0
            waiting = self.audience.until(Deferred())
            self.clock.advance(60)
            self.assertEqual(self.left, 0)
            end(waiting)
            waiting.addErrback(lambda failure: failure.trap(ZeroDivisionError, CancelledError))
            self.clock.advance(60)
            self.assertEqual(self.left, 1)

    def test_close(self) -> None:
        """
        At the end nothing is said, and no timer is left, whoever leaves later.
        """
        self.audience.enter()
        self.audience.enter()
        self.audience.leave()
        self.audience.close()
        self.audience.leave()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class AbandonTests(FillTestCase):
    """
    A fill that everybody left.
    """

    options = {"abandon_below_percent": 50, "linger_seconds": LINGER_SECONDS}

    def begun(self) -> tuple[Fill, Reader]:
        fill = self.start()
        self.successResultOf(fill.begun())
        return fill, self.reader(fill)

    def leave(self, *readers: Reader, seconds: float = LINGER_SECONDS) -> None:
        for reader in readers:
            reader.ended.addErrback(lambda failure: failure.trap(CancelledError))
            reader.ended.cancel()
            reader.body.close()
        self.world.clock.advance(seconds)

    def test_abandoned(self) -> None:
        """
        With little there it is stopped, in order, and the next one goes on from there.
        """
        fill, reader = self.begun()
        self.source.send(DATA[: CHUNK_BYTES + 10])
        self.leave(reader)
        self.assertTrue(self.source.cancelled)
        self.assertEqual(self.fills.under_way, ())
        self.assertEqual(self.fills.abandoned, 1)
        self.assertIn("nobody waited", str(self.failureResultOf(fill.ended(), FillFailed).value))
        self.assertEqual(self.warnings, [])
        reader = self.reader(self.start(credentials=FRIEND))
        self.assertEqual(self.upstream.asked, [("owner", 0), ("friend", CHUNK_BYTES + 10)])
        self.send(DATA[CHUNK_BYTES + 10 :])
        self.successResultOf(reader.ended)
        self.assertEqual((reader.data, self.cached()), (DATA, DATA))

    def test_enough_is_there(self) -> None:
        """
        With much there it goes on.
        """
        _, reader = self.begun()
        self.source.send(DATA[: len(DATA) // 2])
        self.leave(reader, seconds=60)
        self.send(DATA[len(DATA) // 2 :])
        self.assertEqual((self.cached(), self.fills.abandoned), (DATA, 0))

    def test_one_stays(self) -> None:
        """
        So it does for one who stays, or comes soon.
        """
        fill, reader = self.begun()
        other = self.reader(fill)
        self.leave(reader, seconds=60)
        self.leave(other, seconds=LINGER_SECONDS - 1)
        other = self.reader(fill)
        self.world.clock.advance(60)
        self.send()
        self.successResultOf(other.ended)
        self.assertEqual(other.data, DATA)

    def test_gone_before_it_began(self) -> None:
        """
        Those who wait for its beginning count, and may leave as well.
        """
        opening: Deferred[None] = Deferred()
        self.upstream.outcomes = [opening]
        fill = self.start()
        waiting = fill.begun()
        self.world.clock.advance(60)
        self.assertEqual(self.fills.under_way, (fill,))
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.world.clock.advance(LINGER_SECONDS)
        self.assertEqual((self.fills.under_way, self.fills.abandoned), ((), 1))

    def test_prefetch(self) -> None:
        """
        A prefetch waits for its end, and is somebody.
        """
        cache = Cache(self.world.store, self.fills)
        fill, reader = self.begun()
        fetching = Deferred.fromCoroutine(cache.fill(self.facts, FRIEND))
        self.leave(reader, seconds=60)
        self.assertEqual(self.fills.under_way, (fill,))
        self.send()
        self.successResultOf(fetching)
        self.assertEqual(self.cached(), DATA)

    def test_closed_twice(self) -> None:
        """
        A reader leaves once.
        """
        fill, reader = self.begun()
        self.reader(fill)
        self.leave(reader)
        self.leave(reader, seconds=60)
        self.assertEqual(self.fills.under_way, (fill,))
        self.send()


class NeverAbandonedTests(FillTestCase):
    """
    The default.
    """

    def test_goes_on(self) -> None:
        """
        A fill goes on without anybody.
        """
        fill = self.start()
        reader = self.reader(fill)
        reader.ended.addErrback(lambda failure: failure.trap(CancelledError))
        reader.ended.cancel()
        reader.body.close()
        self.world.clock.advance(600)
        self.send()
        self.assertEqual(self.cached(), DATA)


class MostTests(FillTestCase):
    """
    As many fills at a time as should be.
    """

    most = 1

    def test_one_more(self) -> None:
        """
        What comes above that is passed through; who wants what is on its way joins, and a prefetch has limits of its
        own.
        """
        cache = Cache(self.world.store, self.fills)
        other = evolve(self.facts, image_id=OTHER)
        self.upstream.facts[OTHER] = other
        served = self.now(cache.open(self.facts, OWNER, None))
        assert served is not None
        self.assertIsNone(self.now(cache.open(other, OWNER, None)))
        follower = self.now(cache.open(self.facts, FRIEND, None))
        assert follower is not None
        self.assertEqual((served.state, follower.state), (CacheState.FILL, CacheState.FOLLOW))
        fetching = Deferred.fromCoroutine(cache.fill(other, OWNER))
        self.assertEqual([fill.facts.image_id for fill in self.fills.under_way], [IMAGE, OTHER])
        for source in self.upstream.sources:
            source.send(DATA)
            source.end()
        self.successResultOf(fetching)
        for body in (served.body, follower.body):
            body.close()
        self.assertFalse(self.fills.enough)


class BandwidthTests(FillTestCase):
    """
    Fills share a line.
    """

    def begin(self, *args: object, **options: object) -> None:
        self.clock = Clock()
        self.options = {"bandwidth": Bandwidth(self.clock, CHUNK_BYTES)}
        super().begin(*args, **options)  # type: ignore[arg-type]

    def test_shared(self) -> None:
        """
        What comes is taken no faster than it may, by all of them together, and all of it comes.
        """
        other = evolve(self.facts, image_id=OTHER)
        self.upstream.facts[OTHER] = other
        fills = [self.start(), self.start(other)]
        pieces = [DATA[start : start + CHUNK_BYTES // 4] for start in range(0, len(DATA), CHUNK_BYTES // 4)]
        for piece in pieces:
            for source in self.upstream.sources:
                source.send(piece)
        for source in self.upstream.sources:
            source.end()
        steps = 0
        while self.fills.under_way and steps < 400:
            self.assertLessEqual(sum(fill.present_bytes for fill in fills), (steps / 20 + 1) * CHUNK_BYTES)
            self.clock.advance(0.05)
            steps += 1
        self.assertTrue(80 <= steps <= 120, steps)
        self.assertEqual((self.cached(), self.cached(other)), (DATA, DATA))
