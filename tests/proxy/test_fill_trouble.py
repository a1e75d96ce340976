"""
Tests of downloads that meet with trouble.
"""

from __future__ import annotations

import errno
import os

from twisted.internet.defer import Deferred

from glance_cache.catalog import CHUNK_BYTES
from glance_cache.errors import (
    CacheFull,
    FillFailed,
    FolderUnusable,
    UpstreamMismatch,
    UpstreamRefused,
    UpstreamUnavailable,
)
from glance_cache.fills import Fill
from glance_cache.interfaces import ImageFacts
from glance_tx.streaming.errors import BodyLost
from tests.doubles.pools import SteppedPool
from tests.proxy.filling import FRIEND, OWNER, PATIENCE_SECONDS, FillTestCase, Reader
from tests.proxy.folders import DATA, IMAGE, UnsyncedFiles, facts_of

HELD = 2 * CHUNK_BYTES
"""The start of the last chunk of `DATA`."""

WRONG = DATA[:100] + b"?" + DATA[101:]


class FullDisk(UnsyncedFiles):
    """
    A disk that fills up, or breaks, when the test says.
    """

    error: int | None = None
    name = "write"

    def write(self, descriptor: int, data: bytes | memoryview, offset: int) -> None:
        self._check("write")
        super().write(descriptor, data, offset)

    def sync(self, descriptor: int) -> None:
        self._check("sync")

    def duplicate(self, descriptor: int) -> int:
        self._check("duplicate")
        return super().duplicate(descriptor)

    def _check(self, name: str) -> None:
        if self.error is not None and name == self.name:
            raise OSError(self.error, os.strerror(self.error))


class UpstreamTests(FillTestCase):
    """
    What an upstream may do to a fill.
    """

    def test_refused_at_the_start(self) -> None:
        """
        A refusal before the first byte is everybody's, each in an exception of his own, and leaves nothing behind.
        """
        self.upstream.outcomes = [UpstreamRefused(403, ((b"X-A", b"1"),), b"no")]
        fill = self.start()
        errors = [self.failureResultOf(waiting, UpstreamRefused).value for waiting in (fill.begun(), fill.ended())]
        self.assertEqual([(error.status, error.body) for error in errors], [(403, b"no")] * 2)
        self.assertIsNot(*errors)
        self.assertIsNone(fill.open_body(None))
        self.assertIsNone(self.fills.running(self.facts))
        self.assertEqual(self.world.file_names(), [])

    def test_unavailable_at_the_start(self) -> None:
        """
        Where nobody answers the fill ends at once.
        """
        self.upstream.outcomes = [UpstreamUnavailable("away")]
        self.failureResultOf(self.start().begun(), UpstreamUnavailable)

    def interrupt(self) -> tuple[Fill, Reader]:
        """
        A fill whose connection breaks off after a chunk and a bit.
        """
        fill = self.start()
        reader = self.reader(fill)
        self.source.send(DATA[: CHUNK_BYTES + 1000])
        self.source.fail(BodyLost(0, "cut"))
        return fill, reader

    def test_breaks_off(self) -> None:
        """
        A connection that breaks off is resumed at the byte where it stopped; readers notice nothing.
        """
        _, reader = self.interrupt()
        self.world.clock.advance(0.1)
        self.assertEqual(self.upstream.asked[-1], ("owner", CHUNK_BYTES + 1000))
        self.send(DATA[CHUNK_BYTES + 1000 :])
        self.successResultOf(reader.ended)
        self.assertEqual((reader.data, self.cached()), (DATA, DATA))

    def test_stays_away(self) -> None:
        """
        An upstream that stays away resets the readers in the end; what was there is kept, and fetched only once.
        """
        fill, reader = self.interrupt()
        self.upstream.outcomes = [UpstreamUnavailable("away")] * 100
        self.world.clock.pump([1] * int(PATIENCE_SECONDS + 10))
        self.failureResultOf(fill.ended(), UpstreamUnavailable)
        self.failureResultOf(reader.ended, FillFailed)
        self.assertEqual(reader.data, DATA[: CHUNK_BYTES + 1000])
        self.upstream.outcomes = []
        reader = self.reader(self.start())
        self.assertEqual(reader.data, DATA[: CHUNK_BYTES + 1000])
        self.assertEqual(self.upstream.asked[-1], ("owner", CHUNK_BYTES + 1000))
        self.send(DATA[CHUNK_BYTES + 1000 :])
        self.assertEqual((reader.data, self.cached()), (DATA, DATA))

    def test_refused_in_the_middle(self) -> None:
        """
        So does one that refuses to go on, if there is nobody else to ask for.
        """
        fill, reader = self.interrupt()
        self.upstream.outcomes = [UpstreamRefused(401, (), b"")]
        self.world.clock.advance(0.1)
        self.failureResultOf(fill.ended(), UpstreamRefused)
        self.failureResultOf(reader.ended, FillFailed)
        self.start()
        self.assertEqual(self.upstream.asked[-1], ("owner", CHUNK_BYTES + 1000))

    def test_sponsors(self) -> None:
        """
        With another reader's credentials it goes on, and nobody is reset.
        """
        fill, reader = self.interrupt()
        fill.sponsor(OWNER)
        fill.sponsor(FRIEND)
        self.upstream.outcomes = [UpstreamRefused(401, (), b"")]
        self.world.clock.advance(0.1)
        self.assertEqual(self.upstream.asked[-2:], [(who, CHUNK_BYTES + 1000) for who in ("owner", "friend")])
        self.send(DATA[CHUNK_BYTES + 1000 :])
        self.successResultOf(reader.ended)

    def test_unforeseen(self) -> None:
        """
        A defect ends the fill, with a traceback in the log and none for the readers.
        """
        fill = self.start()
        reader = self.reader(fill)
        self.source.fail(ZeroDivisionError("the details"))
        failure = self.failureResultOf(fill.ended(), FillFailed)
        self.assertEqual(str(failure.value), f"the fill of image {IMAGE} failed: this node met an unexpected condition")
        self.assertEqual(str(self.failureResultOf(reader.ended, FillFailed).value), str(failure.value))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_back_pressure(self) -> None:
        """
        The upstream is held back while the disk has enough to do.
        """
        self.end()
        self.begin(pool=SteppedPool())
        self.upstream.facts[IMAGE] = facts = ImageFacts(IMAGE, 100 * CHUNK_BYTES)
        self.start(facts)
        self.world.pool.run_all()
        self.source.send(bytes(CHUNK_BYTES))
        self.source.send(bytes(CHUNK_BYTES))
        for _ in range(10):
            self.source.send(bytes(CHUNK_BYTES))
        self.assertTrue(self.source.held)
        self.world.pool.run_all()
        self.assertFalse(self.source.held)


class StopTests(FillTestCase):
    """
    A fill survives the end of the daemon.
    """

    def test_stop(self) -> None:
        """
        Stopping resets readers, waits for the disk, and keeps what is there for the next daemon to go on with.
        """
        fill = self.start()
        reader = self.reader(fill)
        self.source.send(DATA[: CHUNK_BYTES + 10])
        self.end()
        self.failureResultOf(fill.ended(), FillFailed)
        self.failureResultOf(reader.ended, FillFailed)
        self.assertTrue(self.source.cancelled)
        self.begin()
        fill = self.start()
        reader = self.reader(fill)
        self.assertEqual(self.upstream.asked, [("owner", 0), ("owner", CHUNK_BYTES)])
        self.send(DATA[CHUNK_BYTES:])
        self.successResultOf(reader.ended)
        self.assertEqual((reader.data, self.cached()), (DATA, DATA))

    def test_everything_was_there(self) -> None:
        """
        A fill that was stopped when only the comparison was left asks the upstream for nothing.
        """
        data = DATA[:HELD]
        facts = self.upstream.facts[IMAGE] = facts_of(data)
        self.start(facts)
        self.source.send(data)
        self.restart()
        fill = self.start(facts)
        self.successResultOf(fill.ended())
        self.assertEqual(self.cached(facts), data)
        self.assertEqual(len(self.upstream.asked), 1)

    def test_wrong_in_two_parts(self) -> None:
        """
        What an earlier daemon fetched is hashed as well.
        """
        self.start()
        self.source.send(WRONG[:CHUNK_BYTES])
        self.restart()
        fill = self.start()
        self.send(DATA[CHUNK_BYTES:])
        self.failureResultOf(fill.ended(), UpstreamMismatch)
        self.assertEqual(self.world.file_names(), [])

    def test_waits_for_the_disk(self) -> None:
        """
        Stopping is over when nothing is at work any more.
        """
        self.end()
        self.begin(pool=SteppedPool())
        self.start()
        self.world.pool.run_all()
        self.source.send(DATA[:100])
        stopping = Deferred.fromCoroutine(self.fills.stop())
        while self.world.pool.waiting:
            self.assertNoResult(stopping)
            self.world.pool.step()
        self.successResultOf(stopping)

    def test_stopped_while_it_begins(self) -> None:
        """
        A fill that waits for its upstream, or for the disk, can be stopped as well.
        """
        for steps in range(6):
            self.end()
            self.begin(pool=SteppedPool())
            fill = self.start()
            for _ in range(min(steps, self.world.pool.waiting)):
                self.world.pool.step()
            self.end()
            self.failureResultOf(fill.begun() if not self.upstream.sources else fill.ended(), FillFailed)
            self.begin()


class RemovedTests(FillTestCase):
    """
    An image that is removed from the cache while it comes.
    """

    def test_removed(self) -> None:
        """
        Its readers, and who joins them, get all of it; afterwards nothing is left, and the next fill begins anew.
        """
        fill = self.start()
        reader = self.reader(fill)
        self.source.send(DATA[:100])
        self.now(self.world.store.remove(IMAGE))
        self.assertTrue(fill.serves(None, 0))
        late = self.reader(fill)
        self.send(DATA[100:])
        self.successResultOf(fill.ended())
        self.assertEqual((reader.data, late.data), (DATA, DATA))
        self.assertIsNone(self.cached())
        self.assertEqual(self.world.file_names(), [])
        self.start()
        self.assertEqual(self.upstream.asked, [("owner", 0)] * 2)


class DiskTests(FillTestCase):
    """
    A disk that fails under a fill.
    """

    def broken(self, error: int, name: str = "write", pool: SteppedPool | None = None) -> FullDisk:
        files = FullDisk()
        files.name = name
        self.restart(files, pool=pool)
        self.fill = self.start()
        self.world.pool.run_all()
        self.client = self.reader(self.fill)
        self.source.send(DATA[:100])
        files.error = error
        return files

    def test_full(self) -> None:
        """
        A disk that is full before its time resets the readers: no one completes what is not there.
        """
        files = self.broken(errno.ENOSPC)
        self.source.send(DATA[100:])
        self.failureResultOf(self.fill.ended(), CacheFull)
        self.failureResultOf(self.client.ended, FillFailed)
        self.assertTrue(self.source.cancelled)
        files.error = None

    def test_commit_fails(self) -> None:
        """
        When everything was compared and only durability is missing, readers have got their image.
        """
        files = self.broken(errno.EIO, "sync")
        self.send(DATA[100:])
        self.failureResultOf(self.fill.ended(), FolderUnusable)
        self.successResultOf(self.client.ended)
        self.assertEqual(self.client.data, DATA)
        self.assertIsNone(self.cached())
        files.error = None

    def test_commit_is_failing(self) -> None:
        """
        While what is left of such an entry is being removed the fill takes no readers any more.
        """
        files = self.broken(errno.EIO, "sync", SteppedPool())
        self.send(DATA[100:])
        seen = []
        while self.world.pool.waiting:
            self.world.pool.step()
            body = self.fill.open_body(None)
            seen.append(body is not None)
            self.assertEqual(self.fill.serves(None, 0), body is not None)
            if body is not None:
                body.close()
        self.assertEqual(sorted(seen, reverse=True), seen)
        self.assertEqual((seen[0], seen[-1]), (True, False))
        self.failureResultOf(self.fill.ended(), FolderUnusable)
        files.error = None

    def test_too_many_open_files(self) -> None:
        """
        Where a file cannot be opened for one more reader, that is this one's misfortune alone.
        """
        files = self.broken(errno.EMFILE, "duplicate")
        with self.assertRaises(FolderUnusable):
            self.fill.open_body(None)
        files.error = None
        self.send(DATA[100:])
        self.successResultOf(self.client.ended)
