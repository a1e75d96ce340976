"""
Tests of where data comes from.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from glance_cache.cache import Cache, CacheState, Served
from glance_cache.catalog import CHUNK_BYTES
from glance_cache.errors import (
    CacheFull,
    FillFailed,
    FolderUnusable,
    UpstreamMismatch,
    UpstreamRefused,
    UpstreamUnavailable,
)
from glance_cache.fills import Fills, FillTools
from glance_cache.interfaces import ImageFacts, UpstreamCredentials
from glance_tx.streaming.errors import BodyLost
from glance_tx.streaming.ranges import ByteRange
from glance_tx.streaming.units import KiB, MiB
from tests.doubles.pools import SteppedPool
from tests.proxy.filling import FRIEND, OWNER, FillTestCase, Reader
from tests.proxy.folders import DATA, IMAGE, FailingFiles, UnsyncedFiles, World, facts_of

REFUSED = UpstreamRefused(403, (), b"no")


class UnlistedFiles(UnsyncedFiles):
    """
    A disk that does not say what is on it.
    """

    def list(self, path: Path) -> Iterator[os.DirEntry[str]]:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


class CacheTestCase(FillTestCase):
    """
    A cache over a folder and fills.
    """

    def started(self) -> None:
        self.cache = Cache(self.world.store, self.fills)

    def open(
        self,
        part: ByteRange | None = None,
        credentials: UpstreamCredentials = OWNER,
        facts: ImageFacts | None = None,
    ) -> Deferred[Served | None]:
        return Deferred.fromCoroutine(self.cache.open(facts or self.facts, credentials, part))

    def opened(self, part: ByteRange | None = None, credentials: UpstreamCredentials = OWNER) -> tuple[str, Reader]:
        """
        What a client is served at once.
        """
        served = self.successResultOf(self.open(part, credentials))
        assert served is not None
        return served.state, Reader(served.body)

    def assert_bypass(self, opening: Deferred[Served | None]) -> None:
        self.assertIsNone(self.successResultOf(opening))

    def hold(self) -> Deferred[None]:
        """
        Let the upstream take its time before it begins.
        """
        waiting: Deferred[None] = Deferred()
        self.upstream.outcomes.append(waiting)
        return waiting


class OpenTests(CacheTestCase):
    """
    `Cache.open` serves from the cache, from a fill, or not at all.
    """

    def test_fill_follow_hit(self) -> None:
        """
        The first client causes a fill, those who come meanwhile follow it, those who come later are hits; all of them
        cost one transfer.
        """
        clients = [self.opened(), self.opened(), self.opened()]
        self.send()
        clients.append(self.opened())
        self.assertEqual([state for state, _ in clients], ["fill", "follow", "follow", "hit"])
        for _, reader in clients:
            self.successResultOf(reader.ended)
            self.assertEqual(reader.data, DATA)
        self.assertEqual(self.upstream.asked, [("owner", 0)])

    def test_images_above_the_most(self) -> None:
        """
        What is larger than an image may be is left to the upstream, and cannot be prefetched either; what is cached
        already is served, and an image of just that size is cached.
        """
        self.cache = Cache(self.world.store, self.fills, len(DATA) - 1)
        self.assert_bypass(self.open())
        self.failureResultOf(Deferred.fromCoroutine(self.cache.fill(self.facts, OWNER)), CacheFull)
        self.assertEqual(self.upstream.asked, [])
        self.cache = Cache(self.world.store, self.fills, len(DATA))
        self.assertEqual(self.opened()[0], "fill")
        self.send()
        self.cache = Cache(self.world.store, self.fills, 1)
        self.assertEqual(self.opened()[0], "hit")
        self.successResultOf(Deferred.fromCoroutine(self.cache.fill(self.facts, OWNER)))

    def test_herd_waits_for_one(self) -> None:
        """
        Those who come before the upstream has begun wait for it, and are served together.
        """
        begins = self.hold()
        openings = [self.open() for _ in range(20)]
        for opening in openings:
            self.assertNoResult(opening)
        begins.callback(None)
        states = [self.successResultOf(opening) for opening in openings]
        self.assertEqual([served and served.state for served in states], ["fill"] + ["follow"] * 19)
        self.assertEqual(len(self.upstream.asked), 1)
        for served in states:
            assert served is not None
            served.body.close()
        self.send()

    def test_leaving(self) -> None:
        """
        The client that causes a fill may leave before it has begun; it goes on for the others.
        """
        begins = self.hold()
        first, second = self.open(), self.open()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        begins.callback(None)
        served = self.successResultOf(second)
        assert served is not None
        reader = Reader(served.body)
        self.send()
        self.assertEqual(reader.data, DATA)

    def test_over_at_once(self) -> None:
        """
        A fill that is over before its own client looks has made the image a hit.
        """
        self.upstream.ready[IMAGE] = DATA
        state, reader = self.opened()
        self.assertEqual((state, reader.data), ("hit", DATA))

    def test_no_bytes(self) -> None:
        """
        An image of no bytes is not for a cache.
        """
        self.assert_bypass(self.open(facts=ImageFacts(IMAGE, 0)))
        self.assertEqual(self.upstream.asked, [])

    def test_parts_of_a_hit(self) -> None:
        """
        Any part of a complete image is a hit.
        """
        self.opened()[1].body.close()
        self.send()
        for offset, length in ((0, 1), (CHUNK_BYTES - 1, 2), (len(DATA) - 5, 5)):
            state, reader = self.opened(ByteRange(offset, length))
            self.assertEqual((state, reader.data), ("hit", DATA[offset : offset + length]))

    def test_part_of_nothing(self) -> None:
        """
        A part alone is no reason to fetch an image.
        """
        self.assert_bypass(self.open(ByteRange(0, 10)))
        self.assertEqual(self.upstream.asked, [])

    def test_parts_of_a_fill(self) -> None:
        """
        A part that needs the last chunk waits for a fill; any other one, and one that is far ahead, does not.
        """
        _, client = self.opened()
        self.source.send(DATA[: CHUNK_BYTES // 2])
        self.assert_bypass(self.open(ByteRange(0, CHUNK_BYTES)))
        state, reader = self.opened(ByteRange(len(DATA) - 10, 10))
        self.assertEqual((state, reader.data), ("follow", b""))
        self.send(DATA[CHUNK_BYTES // 2 :])
        self.assertEqual((reader.data, client.data), (DATA[-10:], DATA))

    def test_far_ahead(self) -> None:
        """
        "Far" is more than what comes in a moment.
        """
        facts = self.upstream.facts[IMAGE] = ImageFacts(IMAGE, 20 * MiB)
        opening = self.open(facts=facts)
        served = self.successResultOf(opening)
        assert served is not None
        served.body.close()
        end = 20 * MiB
        self.assert_bypass(self.open(ByteRange(end - 1, 1), facts=facts))
        self.source.send(bytes(12 * MiB - 1))
        follower = self.successResultOf(self.open(ByteRange(end - 1, 1), facts=facts))
        assert follower is not None
        self.assertEqual(follower.state, CacheState.FOLLOW)
        follower.body.close()

    def test_damaged(self) -> None:
        """
        A cached image whose file is gone is fetched anew.
        """
        self.opened()[1].body.close()
        self.send()
        self.world.data_path(self.facts).unlink()
        self.restart()
        state, _ = self.opened()
        self.assertEqual(state, "fill")
        self.send()


class TroubleTests(CacheTestCase):
    """
    Who is told what, where there is no image to be had by a fill.
    """

    def test_refused(self) -> None:
        """
        The upstream's refusal is told to whom it was meant for; those who waited along try it for themselves, and the
        first of them is followed by the others.
        """
        begins = self.hold()
        openings = [self.open(), *(self.open(credentials=FRIEND) for _ in range(5))]
        begins.errback(REFUSED)
        self.assertEqual(self.failureResultOf(openings[0], UpstreamRefused).value.status, 403)
        states = [self.successResultOf(opening) for opening in openings[1:]]
        self.assertEqual([served and served.state for served in states], ["fill"] + ["follow"] * 4)
        self.assertEqual(self.upstream.asked, [("owner", 0), ("friend", 0)])
        for served in states:
            assert served is not None
            served.body.close()

    def test_all_refused(self) -> None:
        """
        Where all of them are refused, all of them hear it.
        """
        begins = self.hold()
        openings = [self.open(), self.open(credentials=FRIEND), self.open(credentials=FRIEND)]
        self.upstream.outcomes += [REFUSED, REFUSED]
        begins.errback(REFUSED)
        for opening in openings:
            self.failureResultOf(opening, UpstreamRefused)

    def test_refused_later(self) -> None:
        """
        A follower's credentials keep a fill going that its own do not any more.
        """
        clients = [self.opened(), self.opened(credentials=FRIEND)]
        self.source.send(DATA[:100])
        self.upstream.outcomes = [UpstreamRefused(401, (), b"")]
        self.source.fail(BodyLost(100, "cut"))
        self.world.clock.advance(0.1)
        self.send(DATA[100:])
        self.assertEqual([reader.data for _, reader in clients], [DATA] * 2)

    def test_unavailable(self) -> None:
        """
        Where nobody answers, everybody hears it.
        """
        begins = self.hold()
        openings = [self.open(), self.open(credentials=FRIEND)]
        begins.errback(UpstreamUnavailable("away"))
        for opening in openings:
            self.failureResultOf(opening, UpstreamUnavailable)
        self.assertEqual(len(self.upstream.asked), 1)

    def test_contradiction(self) -> None:
        """
        An upstream that contradicts itself serves its clients itself: they get what it has to give, or break.
        """
        self.upstream.outcomes = [7]
        self.assert_bypass(self.open())
        self.assertIn("offers 7 bytes", " ".join(self.warnings))

    def test_unforeseen(self) -> None:
        """
        A defect in a fill costs a client the cache, and not the image.
        """
        self.upstream.outcomes = [ZeroDivisionError()]
        self.assert_bypass(self.open())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_no_room(self) -> None:
        """
        An image that does not fit goes past the cache, for every client.
        """
        self.restart(max_bytes=MiB)
        for _ in range(2):
            self.assert_bypass(self.open())
        self.assertEqual(self.upstream.asked, [])
        self.assertIn("do not fit", " ".join(self.warnings))

    def test_disk_fails(self) -> None:
        """
        Whatever step of the beginning the disk fails at, the image goes past the cache, and no file stays open.
        """
        tried = 0
        while True:
            files = FailingFiles(10_000, OSError)
            self.restart(files)
            before = len(files.calls)
            files._step = before + tried
            files._failure = lambda: OSError(errno.EIO, "broken")
            opening = self.open()
            if not files.failed:
                break
            tried += 1
            served = self.successResultOf(opening)
            if served is not None:  # the disk failed at something that can be done without
                served.body.close()
            files._step = 10_000
            self.end_fills()
        self.assertGreater(tried, 3)
        served = self.successResultOf(opening)
        assert served is not None
        served.body.close()

    def end_fills(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.fills.stop()))
        self.now(self.world.store.clear())

    def test_unreadable_folder(self) -> None:
        """
        A folder that cannot be looked through is no reason to refuse anybody.
        """
        self.end()
        self.world = World(self.path, UnlistedFiles())
        self.fills = Fills(FillTools(self.upstream, self.world.store, self.world.lanes, self.world.clock, 60))
        self.started()
        self.now(self.world.store.start())
        opening = self.open()
        self.assertNoResult(opening)
        self.failureResultOf(Deferred.fromCoroutine(self.world.store.scan()), FolderUnusable)
        self.assert_bypass(opening)

    def test_written_by_somebody_else(self) -> None:
        """
        An entry that is being written already, and not by a fill of this cache, is not waited for.
        """
        writer = self.now(self.world.store.begin(self.facts))
        self.assert_bypass(self.open())
        self.now(writer.suspend())

    def test_stopping(self) -> None:
        """
        Who waits for a fill that the daemon's end stops is sent to the upstream.
        """
        self.hold()
        openings = [self.open(), self.open()]
        stopping = Deferred.fromCoroutine(self.fills.stop())
        self.successResultOf(stopping)
        for opening in openings:
            self.assert_bypass(opening)


class BusyTests(CacheTestCase):
    """
    Between two looks at a thing it may change.
    """

    def setUp(self) -> None:
        super().setUp()
        self.end()
        self.begin(pool=SteppedPool())

    def test_every_interleaving(self) -> None:
        """
        A client that comes at any moment of a fill gets the image, or is sent to the upstream, and never an error.
        """
        states = set()
        for moment in range(60):
            self.upstream.sources.clear()
            first = self.open()
            self.run_steps(moment)
            late = self.open()
            self.finish()
            for opening in (first, late):
                served = self.successResultOf(opening)
                assert served is not None
                states.add(served.state)
                reader = Reader(served.body)
                self.finish()
                self.successResultOf(reader.ended)
                self.assertEqual(reader.data, DATA)
            clearing = Deferred.fromCoroutine(self.world.store.clear())
            self.world.pool.run_all()
            self.successResultOf(clearing)
        self.assertEqual(states, {CacheState.FILL, CacheState.FOLLOW, CacheState.HIT})
        self.assertEqual(len(self.upstream.asked), 60)

    def run_steps(self, count: int) -> None:
        for _ in range(count):
            if self.upstream.sources and not self.source.cancelled and self.source.reading:
                self.send()
            if self.world.pool.waiting:
                self.world.pool.step()

    def finish(self) -> None:
        while self.world.pool.waiting or (self.upstream.sources and self.source.reading):
            self.run_steps(1)


class FillTests(CacheTestCase):
    """
    `Cache.fill` brings an image in for nobody.
    """

    def fill(self, credentials: UpstreamCredentials = FRIEND) -> Deferred[None]:
        return Deferred.fromCoroutine(self.cache.fill(self.facts, credentials))

    def test_fills(self) -> None:
        """
        It is over when the image is there; again it has nothing to do.
        """
        filling = self.fill()
        self.assertNoResult(filling)
        self.send()
        self.successResultOf(filling)
        self.successResultOf(self.fill())
        self.assertEqual(len(self.upstream.asked), 1)
        self.assertEqual(self.cached(), DATA)

    def test_joins(self) -> None:
        """
        It joins a fill that runs, and clients join its own.
        """
        _, client = self.opened()
        filling = self.fill()
        self.send()
        self.successResultOf(filling)
        self.successResultOf(client.ended)
        self.assertEqual(len(self.upstream.asked), 1)

    def test_joined_in_vain(self) -> None:
        """
        What a fill that it joined was refused, or died of, it tries by itself.
        """
        for reason in (REFUSED, UpstreamUnavailable("away")):
            begins = self.hold()
            opening = self.open()
            filling = self.fill()
            begins.errback(Failure(reason))
            self.failureResultOf(opening, type(reason))
            self.assertEqual(self.upstream.asked[-1], ("friend", 0))
            self.send()
            self.successResultOf(filling)
            self.now(self.world.store.clear())

    def test_fails(self) -> None:
        """
        It says why the image is not there.
        """
        self.upstream.outcomes = [REFUSED]
        self.failureResultOf(self.fill(), UpstreamRefused)
        filling = self.fill()
        self.send(bytes(len(DATA)))
        self.failureResultOf(filling, UpstreamMismatch)
        filling = self.fill()
        self.successResultOf(Deferred.fromCoroutine(self.fills.stop()))
        self.failureResultOf(filling, FillFailed)
        self.restart(max_bytes=MiB)
        self.failureResultOf(self.fill(), CacheFull)

    def test_cancelled(self) -> None:
        """
        Who waits no longer does not stop it.
        """
        filling = self.fill()
        filling.cancel()
        self.failureResultOf(filling, CancelledError)
        self.send()
        self.assertEqual(self.cached(), DATA)


class ManyTests(CacheTestCase):
    """
    Many images at once.
    """

    def test_apart(self) -> None:
        """
        Fills of different images, and of different data of one, do not meet.
        """
        other = evolve(facts_of(DATA[: 70 * KiB]), image_id="11111111-d94f-49cd-a114-e12490b328d9")
        self.upstream.facts[other.image_id] = other
        first = self.successResultOf(self.open())
        second = self.successResultOf(self.open(facts=other))
        assert first is not None
        assert second is not None
        self.assertEqual((first.state, second.state), ("fill", "fill"))
        readers = [Reader(first.body), Reader(second.body)]
        for source, data in zip(self.upstream.sources, (DATA, DATA[: 70 * KiB]), strict=True):
            source.send(data)
            source.end()
        self.assertEqual([reader.data for reader in readers], [DATA, DATA[: 70 * KiB]])
