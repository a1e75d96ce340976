"""
What every store of image data does.
"""

from __future__ import annotations

import os

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from zope.interface import implementer
from zope.interface.verify import verifyObject

from glance_tx.stores.errors import LocationNotAllowed, LocationNotFound, LocationTaken, StoreUnavailable
from glance_tx.stores.interfaces import IStore, IStoreWriter
from glance_tx.streaming.errors import ShortFile
from glance_tx.streaming.interfaces import IBodyProducer
from glance_tx.streaming.units import MiB

KEY = "6b1c6c0e-0a1f-4d0b-9b8e-7e1f3b9b2f11"


@implementer(IConsumer)
class Collector:
    """
    A consumer that takes everything, and pauses its producer at each write as a slow socket does.
    """

    def __init__(self) -> None:
        self.data = bytearray()
        self._producer = None

    def registerProducer(self, producer, streaming) -> None:
        assert streaming
        self._producer = producer

    def unregisterProducer(self) -> None:
        self._producer = None

    def write(self, data: bytes) -> None:
        self.data += data
        self._producer.pauseProducing()
        self._producer.resumeProducing()


async def collect(body: IBodyProducer) -> bytes:
    """
    Take a whole body in, checking that the announced length is kept.
    """
    verifyObject(IBodyProducer, body)
    collector = Collector()
    collector.registerProducer(body, True)  # noqa: FBT003  (so says IConsumer)
    await body.startProducing(collector)
    assert len(collector.data) == body.length, (len(collector.data), body.length)
    return bytes(collector.data)


async def store(store: IStore, data: bytes, fence: int = 1, key: str = KEY) -> str:
    """
    Put an object into a store and tell its location.
    """
    writer = await store.open_writer(store.plan_location(key, fence), len(data))
    await writer.write(data)
    await writer.commit()
    return writer.location


async def fetch(store: IStore, location: str, offset: int = 0, length: int | None = None) -> bytes:
    """
    Read from a store.
    """
    return await collect(await store.open_reader(location, offset, length))


class StoreContract:
    """
    Mixed into a `twisted.trial.unittest.TestCase` that has ``make_store``.
    """

    def make_store(self) -> IStore:
        raise NotImplementedError

    def foreign_locations(self, store: IStore) -> list[str]:
        """
        Locations that must be refused, beyond those of other schemes.
        """
        raise NotImplementedError

    async def test_interface(self) -> None:
        """
        A store and its writers provide their interfaces.
        """
        store_ = self.make_store()
        verifyObject(IStore, store_)
        writer = await store_.open_writer(store_.plan_location(KEY, 1), None)
        verifyObject(IStoreWriter, writer)
        await writer.abort()

    async def test_what_goes_in_comes_out(self) -> None:
        """
        An object written in pieces reads back as one, and knows its size.
        """
        store_ = self.make_store()
        pieces = [os.urandom(MiB), b"", b"x", os.urandom(3 * MiB + 17)]
        location = store_.plan_location(KEY, 1)
        writer = await store_.open_writer(location, sum(map(len, pieces)))
        for piece in pieces:
            await writer.write(piece)
        await writer.commit()
        self.assertEqual(writer.location, location)
        self.assertEqual(await fetch(store_, location), b"".join(pieces))
        self.assertEqual(await store_.size_bytes(location), 4 * MiB + 18)

    async def test_empty_object(self) -> None:
        """
        An object without a byte is an object.
        """
        store_ = self.make_store()
        location = await store(store_, b"")
        self.assertEqual(await store_.size_bytes(location), 0)
        self.assertEqual(await fetch(store_, location), b"")

    async def test_size_unknown_or_wrong(self) -> None:
        """
        The announced size is a hint: an object has the bytes that were written, be they more or fewer.
        """
        store_ = self.make_store()
        for fence, announced in enumerate([None, 0, 3, 5000], start=1):
            writer = await store_.open_writer(store_.plan_location(KEY, fence), announced)
            await writer.write(b"y" * 100)
            await writer.commit()
            self.assertEqual(await store_.size_bytes(writer.location), 100)
            self.assertEqual(await fetch(store_, writer.location), b"y" * 100)

    async def test_ranges(self) -> None:
        """
        A range of an object is sent exactly.
        """
        store_ = self.make_store()
        data = os.urandom(700_001)
        location = await store(store_, data)
        for offset, length in [(0, 1), (0, 700_001), (1, None), (300_000, 300_001), (700_000, 1), (700_001, 0), (5, 0)]:
            expected = data[offset:] if length is None else data[offset : offset + length]
            self.assertEqual(await fetch(store_, location, offset, length), expected)

    async def test_range_beyond_the_end(self) -> None:
        """
        A range that the object cannot fill is refused before anything is sent.
        """
        store_ = self.make_store()
        location = await store(store_, b"0123456789")
        for offset, length in [(11, None), (11, 0), (5, 6), (0, 11)]:
            error = await self.assertFailure(
                Deferred.fromCoroutine(store_.open_reader(location, offset, length)), ShortFile
            )
            self.assertEqual(error.at, 10)

    async def test_nothing_before_commit(self) -> None:
        """
        An object that is still being written cannot be read.
        """
        store_ = self.make_store()
        writer = await store_.open_writer(store_.plan_location(KEY, 1), 10)
        await writer.write(b"0123456789")
        await self._assert_absent(store_, writer.location)
        await writer.commit()
        self.assertEqual(await fetch(store_, writer.location), b"0123456789")

    async def test_abort(self) -> None:
        """
        An aborted object leaves nothing; aborting again does no harm, and the location is free.
        """
        store_ = self.make_store()
        writer = await store_.open_writer(store_.plan_location(KEY, 1), 10)
        await writer.write(b"01234")
        await writer.abort()
        await writer.abort()
        await self._assert_absent(store_, writer.location)
        await self.assertFailure(Deferred.fromCoroutine(store_.delete(writer.location)), LocationNotFound)
        self.assertEqual(await fetch(store_, await store(store_, b"again")), b"again")

    async def test_ended_writer(self) -> None:
        """
        A writer that was ended takes no bytes, and cannot be committed.
        """
        store_ = self.make_store()
        aborted = await store_.open_writer(store_.plan_location(KEY, 1), None)
        await aborted.abort()
        committed = await store_.open_writer(store_.plan_location(KEY, 2), None)
        await committed.commit()
        for writer in (aborted, committed):
            await self.assertFailure(Deferred.fromCoroutine(writer.write(b"x")), StoreUnavailable)
            await self.assertFailure(Deferred.fromCoroutine(writer.commit()), StoreUnavailable)
        await self._assert_absent(store_, aborted.location)

    async def test_abort_after_commit(self) -> None:
        """
        Once a commit returned, aborting changes nothing: the object is kept.
        """
        store_ = self.make_store()
        writer = await store_.open_writer(store_.plan_location(KEY, 1), None)
        await writer.write(b"kept")
        await writer.commit()
        await writer.abort()
        self.assertEqual(await fetch(store_, writer.location), b"kept")

    async def test_one_object_per_location(self) -> None:
        """
        A location in use, whole or being written, is taken; the one who has it is not disturbed.
        """
        store_ = self.make_store()
        location = store_.plan_location(KEY, 1)
        writer = await store_.open_writer(location, 3)
        await self.assertFailure(Deferred.fromCoroutine(store_.open_writer(location, 3)), LocationTaken)
        await writer.write(b"one")
        await writer.commit()
        await self.assertFailure(Deferred.fromCoroutine(store_.open_writer(location, 3)), LocationTaken)
        self.assertEqual(await fetch(store_, location), b"one")

    async def test_attempts_do_not_meet(self) -> None:
        """
        Attempts with different fences write side by side, each to a location of its own.
        """
        store_ = self.make_store()
        writers = [await store_.open_writer(store_.plan_location(KEY, fence), None) for fence in (1, 2, 3)]
        self.assertEqual(len({writer.location for writer in writers}), 3)
        for piece in range(4):
            for number, writer in enumerate(writers):
                await writer.write(b"%d-%d " % (number, piece))
        await writers[0].commit()
        await writers[1].abort()
        await writers[2].commit()
        self.assertEqual(await fetch(store_, writers[0].location), b"0-0 0-1 0-2 0-3 ")
        await self._assert_absent(store_, writers[1].location)
        self.assertEqual(await fetch(store_, writers[2].location), b"2-0 2-1 2-2 2-3 ")

    async def test_plan_is_stable(self) -> None:
        """
        The same key and fence always lie at the same place.
        """
        store_ = self.make_store()
        self.assertEqual(store_.plan_location(KEY, 7), store_.plan_location(KEY, 7))
        self.assertIn(store_.plan_location(KEY, 7).partition(":")[0], store_.schemes)

    async def test_delete(self) -> None:
        """
        A deleted object is gone, and can be deleted once.
        """
        store_ = self.make_store()
        location = await store(store_, b"data")
        other = await store(store_, b"other", fence=2)
        await store_.delete(location)
        await self._assert_absent(store_, location)
        await self.assertFailure(Deferred.fromCoroutine(store_.delete(location)), LocationNotFound)
        self.assertEqual(await fetch(store_, other), b"other")

    async def test_delete_half_written(self) -> None:
        """
        What a dead writer left can be deleted by its location; a living one cannot commit after that.
        """
        store_ = self.make_store()
        writer = await store_.open_writer(store_.plan_location(KEY, 1), 100)
        await writer.write(b"half")
        await store_.delete(writer.location)
        await self.assertFailure(Deferred.fromCoroutine(writer.commit()), StoreUnavailable)
        await writer.abort()
        await self._assert_absent(store_, writer.location)
        await self.assertFailure(Deferred.fromCoroutine(store_.delete(writer.location)), LocationNotFound)

    async def test_reader_outlives_delete(self) -> None:
        """
        A transfer that has begun is not cut by the object's deletion.
        """
        store_ = self.make_store()
        data = os.urandom(MiB)
        location = await store(store_, data)
        body = await store_.open_reader(location)
        await store_.delete(location)
        self.assertEqual(await collect(body), data)

    async def test_foreign_locations(self) -> None:
        """
        No location of another store, or outside this one, can be read, written, measured or deleted.
        """
        store_ = self.make_store()
        common = ["", "x", "https://example.org/a", "swift://a/b", "file:///etc/passwd", "memory://other/x"]
        for location in [*common, *self.foreign_locations(store_)]:
            for attempt in (
                store_.open_reader(location),
                store_.open_writer(location, None),
                store_.size_bytes(location),
                store_.delete(location),
            ):
                await self.assertFailure(Deferred.fromCoroutine(attempt), LocationNotAllowed)

    async def _assert_absent(self, store_: IStore, location: str) -> None:
        await self.assertFailure(Deferred.fromCoroutine(store_.open_reader(location)), LocationNotFound)
        await self.assertFailure(Deferred.fromCoroutine(store_.size_bytes(location)), LocationNotFound)
