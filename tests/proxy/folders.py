"""
Cache folders for tests: real files, worked on in the test's own thread, and file calls that fail when they are told to.
"""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Callable, Container, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from glance_cache.catalog import CHUNK_BYTES
from glance_cache.entries import EntryStore
from glance_cache.errors import EntryCorrupt
from glance_cache.eviction import LeastFrequentlyUsed
from glance_cache.files import FileOps
from glance_cache.folder import CacheFolder
from glance_cache.interfaces import IChunkSource, ImageFacts, ISiblings, UpstreamCredentials
from glance_cache.names import EntryName
from glance_cache.space import SpaceAccount
from glance_tx.streaming.interfaces import IFileBody
from glance_tx.streaming.lanes import Lanes
from glance_tx.streaming.units import GiB
from tests.doubles.pools import InlinePool, SteppedPool, ThreadClock

T = TypeVar("T")

IMAGE = "71c675ab-d94f-49cd-a114-e12490b328d9"
OTHER = "11111111-d94f-49cd-a114-e12490b328d9"
DATA = b"".join(hashlib.sha512(b"%d" % block).digest() for block in range(CHUNK_BYTES * 5 // 128))
"""Two chunks and a half, no two pages of it alike."""


def facts_of(data: bytes, image_id: str = IMAGE) -> ImageFacts:
    return ImageFacts(image_id, len(data), hashlib.md5(data).hexdigest(), "sha512", hashlib.sha512(data).hexdigest())


def absolute(path: str) -> Path:
    return Path(path).absolute()


class UnsyncedFiles(FileOps):
    """
    File calls that wait for no disk: the machine does not lose its power during a test.
    """

    def sync(self, descriptor: int) -> None:
        pass

    def sync_data(self, descriptor: int) -> None:
        pass

    def sync_folder(self, path: Path) -> None:
        pass


class World:
    """
    One daemon's view of a cache folder. Several of them, one after the other, are restarts.
    """

    def __init__(
        self,
        path: str,
        files: FileOps | None = None,
        max_bytes: int = GiB,
        low_water_bytes: int | None = None,
        pool: SteppedPool | None = None,
        high_water_bytes: int | None = None,
        siblings: ISiblings | None = None,
        chunks: IChunkSource | None = None,
    ) -> None:
        self.path = absolute(path)
        self.clock = ThreadClock()
        self.clock.advance(time.time())
        self.pool = pool or InlinePool()
        self.lanes = Lanes(self.clock, self.pool)  # type: ignore[arg-type]
        self.folder = CacheFolder(self.path, files or UnsyncedFiles())
        self.account = SpaceAccount(max_bytes)
        self.policy = LeastFrequentlyUsed()
        self.corrupt: list[EntryCorrupt] = []
        self.store = EntryStore(
            self.folder,
            self.account,
            self.policy,
            self.lanes,
            self.clock,
            self.corrupt.append,
            low_water_bytes,
            high_water_bytes=high_water_bytes,
            siblings=siblings,
            chunks=chunks,
        )

    async def start(self) -> None:
        await self.store.start()
        await self.store.scan()

    async def stop(self) -> None:
        await self.store.stop()

    async def fill(self, data: bytes = DATA, image_id: str = IMAGE) -> ImageFacts:
        facts = facts_of(data, image_id)
        writer = await self.store.begin(facts)
        await writer.append(data[writer.written :])
        await writer.commit()
        return facts

    async def read(self, facts: ImageFacts, offset: int = 0, length: int | None = None) -> bytes | None:
        body = await self.store.open(facts, offset, length)
        return None if body is None else await body_bytes(body)

    def file_names(self) -> list[str]:
        return sorted(path.name for path in self.paths())

    def paths(self, pattern: str = "*") -> list[Path]:
        return list((self.path / "entries").glob(f"*/{pattern}"))

    def disk_bytes(self) -> int:
        """What the entries take, as the account counts."""
        return sum(-(-path.stat().st_size // 4096) * 4096 for path in self.paths())

    def data_path(self, facts: ImageFacts) -> Path:
        return self.folder.data_path(EntryName.of(facts))

    def overwrite(self, facts: ImageFacts, offset: int, data: bytes = b"\xff" * 4096) -> None:
        with self.data_path(facts).open("r+b") as file:
            file.seek(offset)
            file.write(data)


async def body_bytes(body: IFileBody) -> bytes:
    """Read a body to its end; raises what ends it before."""
    consumer = StringTransport()
    await body.startProducing(consumer)
    return consumer.value()


@implementer(IChunkSource)
class Chunks:
    """
    Brings parts of images.

    :ivar asked: Where each of them began.
    :ivar outcomes: What becomes of the next ones: an exception is raised, a Deferred waited for first, bytes come
        instead of the right ones.
    """

    def __init__(self, data: bytes, outcomes: Sequence[Exception | Deferred[None] | bytes] = ()) -> None:
        self.asked: list[int] = []
        self.offered: list[UpstreamCredentials] = []
        self.outcomes = list(outcomes)
        self._data = data

    async def fetch(self, image_id: str, offset: int, length: int) -> bytes:
        self.asked.append(offset)
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if isinstance(outcome, Exception):
            raise outcome
        if isinstance(outcome, Deferred):
            await outcome
        return outcome if isinstance(outcome, bytes) else self._data[offset : offset + length]

    def offer(self, image_id: str, credentials: UpstreamCredentials) -> None:
        self.offered.append(credentials)


class EntriesTestCase(TestCase):
    """
    Tests on one cache folder, after which no descriptor is left open.
    """

    def setUp(self) -> None:
        self.path = self.mktemp()
        self.addCleanup(lambda: self.assertEqual(open_files(self.path), []))

    async def started(self, files: FileOps | None = None) -> World:
        world = World(self.path, files)
        await world.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(world.stop()))
        return world

    async def left_behind(self, data: bytes) -> None:
        """Leave a fill in the folder as a daemon does that was stopped in the middle."""
        world = World(self.path)
        await world.start()
        writer = await world.store.begin(facts_of(DATA))
        await writer.append(data)
        await writer.suspend()
        await world.stop()

    def finish(self, world: World, work: Coroutine[Any, Any, T]) -> T:
        """Do a piece of work to its end where the pool does nothing by itself."""
        working = Deferred.fromCoroutine(work)
        world.pool.run_all()
        return self.successResultOf(working)

    def assert_tidy(self, world: World) -> None:
        """The account is what is on the disk."""
        self.assertEqual(world.account.taken_bytes, world.disk_bytes())


class SlowReader(StringTransport):
    """
    A consumer that takes one piece of a body whenever it is told to.
    """

    def __init__(self, body: IFileBody) -> None:
        super().__init__()
        self.body = body
        body.pauseProducing()
        self.ended: Deferred[None] = body.startProducing(self)

    def write(self, data: bytes) -> None:
        super().write(data)
        self.body.pauseProducing()

    def take(self) -> None:
        self.body.resumeProducing()


def _open_below(path: str | Path) -> dict[int, str]:
    links = {int(link.name): str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}
    root = str(Path(path).absolute())
    return {descriptor: link for descriptor, link in links.items() if link.startswith(root)}


def open_files(path: str | Path) -> list[str]:
    """List what is open in a folder, removed files included."""
    return sorted(_open_below(path).values())


def close_files(path: str | Path) -> None:
    """Close what a process that is gone would not have open any more."""
    for descriptor in _open_below(path):
        os.close(descriptor)


class BadSectors(UnsyncedFiles):
    """
    A disk on which no whole chunk can be read.
    """

    def read(self, descriptor: int, size_bytes: int, offset: int) -> bytes:
        if size_bytes == CHUNK_BYTES:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read(descriptor, size_bytes, offset)


class Died(Exception):
    """
    The process is gone.
    """


_NO_STEPS = {"now_ns", "read_some", "write_some"}  # the last two are parts of others


class FailingFiles(UnsyncedFiles):
    """
    File calls that go wrong at a chosen one of them.

    :param step: Which call, counted from 0.
    :param failure: Makes what it raises.
    :param for_good: Whether every later call fails as well, as if there were no process any more.
    :param torn: Whether half of a write is done before it fails.
    """

    _STEPS = frozenset(name for name in vars(FileOps) if not name.startswith("_")) - {
        "now_ns",
        "read_some",
        "write_some",
    }

    def __init__(
        self, step: int, failure: Callable[[], Exception], *, for_good: bool = False, torn: bool = False
    ) -> None:
        self.calls: list[str] = []
        self.failed = False
        self._step = step
        self._failure = failure
        self._for_good = for_good
        self._torn = torn

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name in FailingFiles._STEPS:
            return partial(self._call, name, value)
        return value

    def _call(self, name: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        number = len(self.calls)
        self.calls.append(name)
        if number == self._step or (number > self._step and self._for_good):
            if self._torn and name == "write" and not self.failed:
                descriptor, data, offset = args
                call(descriptor, data[: len(data) // 2], offset)
            self.failed = True
            if name != "close" or self._for_good:
                raise self._failure()
        return call(*args, **kwargs)


class ShortWrites(UnsyncedFiles):
    """
    A system that takes only a part of some writes.

    :param short: Which writes, counted from 0.
    :param failure: What the write that goes on fails with; ``None`` for none.
    """

    def __init__(self, short: Container[int], failure: OSError | None = None) -> None:
        self.writes = 0
        self.shortened = False
        self._short = short
        self._failure = failure
        self._failing = False

    def write_some(self, descriptor: int, data: bytes | memoryview, offset: int) -> int:
        number, self.writes = self.writes, self.writes + 1
        if self._failing and self._failure is not None:
            self._failing = False
            raise self._failure
        if number in self._short and len(data) > 1:
            self._failing = self.shortened = True
            data = data[: len(data) // 3 + 1]
        return super().write_some(descriptor, data, offset)
