"""
Tests of downloads in progress.
"""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import CancelledError

from glance_cache.catalog import CHUNK_BYTES
from glance_cache.errors import (
    FillFailed,
    UpstreamMismatch,
    UpstreamRefused,
)
from glance_cache.fills import Fill
from glance_cache.interfaces import ImageFacts
from glance_tx.streaming.ranges import ByteRange
from glance_tx.streaming.units import KiB
from tests.doubles.pools import SteppedPool
from tests.proxy.filling import FillTestCase, Reader
from tests.proxy.folders import DATA, IMAGE, facts_of

HELD = 2 * CHUNK_BYTES
"""The start of the last chunk of `DATA`."""

WRONG = DATA[:100] + b"?" + DATA[101:]


class FillTests(FillTestCase):
    """
    A `Fill` brings an image into the cache, and its readers see it grow.
    """

    def test_whole(self) -> None:
        """
        When the upstream has sent everything the image is there, found right, for whoever asks next.
        """
        fill = self.start()
        self.assertIs(self.fills.running(self.facts), fill)
        self.assertNoResult(fill.ended())
        self.send()
        self.successResultOf(fill.ended())
        self.assertIsNone(self.fills.running(self.facts))
        self.assertEqual(self.cached(), DATA)
        self.assertTrue(self.world.store.inventory()[0].verified)

    def test_readers_follow(self) -> None:
        """
        A reader gets at once what has come, whenever he begins.
        """
        fill = self.start()
        first = self.reader(fill)
        for end in (1, 70 * KiB, CHUNK_BYTES + 5):
            self.source.send(DATA[len(first.data) : end])
            late = self.reader(fill)
            self.assertEqual((first.data, late.data), (DATA[:end], DATA[:end]))
            late.body.close()
        self.send(DATA[len(first.data) :])

    def test_last_chunk_is_held_back(self) -> None:
        """
        Nobody gets the last chunk before the image's hash was compared.
        """
        fill = self.start()
        reader = self.reader(fill)
        self.source.send(DATA)
        self.assertEqual(reader.data, DATA[:HELD])
        self.assertNoResult(reader.ended)
        self.source.end()
        self.successResultOf(reader.ended)
        self.assertEqual(reader.data, DATA)

    def test_lengths(self) -> None:
        """
        That holds for every length, a single byte and whole chunks included.
        """
        for size in (1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES):
            data = DATA[:size]
            facts = self.upstream.facts[IMAGE] = facts_of(data)
            fill = self.start(facts)
            reader = self.reader(fill)
            self.source.send(data)
            self.assertLessEqual(len(reader.data), size - 1)
            self.source.end()
            self.successResultOf(reader.ended)
            self.assertEqual((reader.data, self.cached(facts)), (data, data))

    def test_leaving_reader(self) -> None:
        """
        A reader that leaves changes nothing for the others.
        """
        fill = self.start()
        first, second = self.reader(fill), self.reader(fill)
        self.source.send(DATA[:100])
        first.body.close()
        self.send(DATA[100:])
        self.successResultOf(second.ended)
        self.assertEqual(first.data, DATA[:100])
        self.assertEqual(self.cached(), DATA)

    def test_leaving_waiters(self) -> None:
        """
        Nor does one who only waited.
        """
        fill = self.start()
        begun, ended = fill.begun(), fill.ended()
        self.successResultOf(begun)
        ended.cancel()
        self.failureResultOf(ended, CancelledError)
        self.send()
        self.successResultOf(fill.ended())

    def test_one_at_a_time(self) -> None:
        """
        There is one fill of an image's data at a time; other data of the same image, or another image, is apart.
        """
        self.start()
        with self.assertRaises(RuntimeError):
            self.start()
        other = self.upstream.facts[IMAGE] = facts_of(DATA[:-1])
        self.assertIsNone(self.fills.running(other))
        self.start(other)
        self.assertEqual(self.fills.count, 2)


class HashTests(FillTestCase):
    """
    What the upstream says of an image decides whether its data is right.
    """

    def test_wrong_bytes(self) -> None:
        """
        Data that is not the image resets every reader, is reported, and leaves nothing; the next fill begins anew.
        """
        fill = self.start()
        readers = [self.reader(fill), self.reader(fill)]
        self.send(WRONG)
        for reader in readers:
            self.failureResultOf(reader.ended, FillFailed)
            self.assertLess(len(reader.data), len(DATA))
        self.failureResultOf(fill.ended(), UpstreamMismatch)
        self.assertIn("has the sha512", " ".join(self.warnings))
        self.assertEqual(self.world.file_names(), [])
        self.assertEqual(self.world.account.reserved_bytes, 0)
        self.start()
        self.send()
        self.assertEqual(self.cached(), DATA)
        self.assertEqual(self.upstream.asked, [("owner", 0)] * 2)

    def variant(self, **values: str | None) -> ImageFacts:
        facts = evolve(facts_of(DATA), **values)
        self.upstream.facts[IMAGE] = facts
        return facts

    def test_strong_hash_counts(self) -> None:
        """
        Where there is a strong hash, the MD5 is not asked.
        """
        facts = self.variant(checksum="0" * 32)
        self.start(facts)
        self.send()
        self.assertEqual(self.cached(facts), DATA)

    def test_checksum(self) -> None:
        """
        Where there is none, the MD5 decides.
        """
        for checksum, right in ((facts_of(DATA).checksum, True), ("0" * 32, False)):
            facts = self.variant(checksum=checksum, os_hash_algo=None, os_hash_value=None)
            reader = self.reader(self.start(facts))
            self.send()
            if right:
                self.successResultOf(reader.ended)
            else:
                self.failureResultOf(reader.ended, FillFailed)
            self.assertEqual(self.cached(facts), DATA if right else None)

    def test_no_hash(self) -> None:
        """
        Where there is no hash at all, the length decides, and the entry says so.
        """
        facts = self.variant(checksum=None, os_hash_algo=None, os_hash_value=None)
        self.start(facts)
        self.send(WRONG)
        self.assertEqual(self.cached(facts), WRONG)
        self.assertFalse(self.world.store.inventory()[0].verified)

    def test_more_than_announced(self) -> None:
        """
        More bytes than there should be are a contradiction, hash or not.
        """
        self.upstream.says_length = False
        facts = self.variant(checksum=None, os_hash_algo=None, os_hash_value=None)
        fill = self.start(facts)
        reader = self.reader(fill)
        self.source.send(DATA + b"x")
        self.failureResultOf(fill.ended(), UpstreamMismatch)
        self.failureResultOf(reader.ended, FillFailed)
        self.assertEqual(self.world.file_names(), [])
        self.assertTrue(self.source.cancelled)


class ServesTests(FillTestCase):
    """
    Who is served by a fill, and who had better ask the upstream.
    """

    AHEAD = 100 * KiB

    def serves(self, fill: Fill, offset: int, length: int) -> bool:
        return fill.serves(ByteRange(offset, length), self.AHEAD)

    def test_parts(self) -> None:
        """
        A part waits for a fill if it reaches into the last chunk, and begins not far from what is there: one that
        ended before would be complete before anything was compared.
        """
        fill = self.start()
        self.source.send(DATA[: HELD - 50 * KiB])
        self.assertTrue(fill.serves(None, 0))
        for offset, length, served in (
            (0, len(DATA), True),
            (HELD, 1, True),
            (HELD - 1, 2, True),
            (HELD - 1, 1, False),
            (0, HELD, False),
            (HELD + 50 * KiB, 1, True),
            (HELD + 50 * KiB + 1, 1, False),
        ):
            self.assertEqual(self.serves(fill, offset, length), served, (offset, length))

    def test_compared(self) -> None:
        """
        When everything was compared, and is only being made durable, every part is served.
        """
        self.end()
        self.begin(pool=SteppedPool())
        fill = self.start()
        self.world.pool.run_all()
        self.send()
        while not fill.serves(ByteRange(0, 1), 0):
            self.world.pool.step()
        self.assertIsNotNone(self.fills.running(self.facts))
        body = fill.open_body(ByteRange(7, 3))
        assert body is not None
        self.assertEqual(Reader(body).data, DATA[7:10])
        self.world.pool.run_all()
        self.successResultOf(fill.ended())

    def test_failing(self) -> None:
        """
        A fill that has failed, and still clears up, serves nobody.
        """
        for finish, failure in (
            (lambda: self.send(WRONG), UpstreamMismatch),
            (lambda: self.source.fail(UpstreamRefused(404, (), b"")), UpstreamRefused),
        ):
            self.end()
            self.begin(pool=SteppedPool())
            fill = self.start()
            self.world.pool.run_all()
            self.source.send(b"")
            finish()
            while fill.serves(None, 0):
                self.world.pool.step()
            self.assertIsNotNone(self.fills.running(self.facts))
            self.assertIsNone(fill.open_body(None))
            self.world.pool.run_all()
            self.failureResultOf(fill.ended(), failure)

    def test_not_begun(self) -> None:
        """
        A fill that has not begun makes no bodies.
        """
        self.end()
        self.begin(pool=SteppedPool())
        fill = self.start()
        self.assertTrue(fill.serves(None, 0))
        self.assertIsNone(fill.open_body(None))
        self.world.pool.run_all()
