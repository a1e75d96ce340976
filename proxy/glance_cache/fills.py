"""
Downloads in progress: one for each image, however many clients wait for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from glance_cache.audience import Audience
from glance_cache.catalog import CHUNK_BYTES
from glance_cache.entries import EntryStore
from glance_cache.errors import EntryBusy, FilledElsewhere, FillFailed, UpstreamMismatch
from glance_cache.fillwatch import WatchedState
from glance_cache.following import LOOK_SECONDS, follow, require_no_less
from glance_cache.interfaces import ImageFacts, IOwnCredentials, IUpstream, UpstreamCredentials
from glance_cache.names import EntryName
from glance_cache.occasion import Occasion
from glance_cache.pace import Bandwidth, Pace
from glance_cache.sponsors import Sponsors
from glance_cache.steady import SteadySource
from glance_cache.watched import Watched
from glance_cache.writer import EntryWriter
from glance_tx.errors import FactualError
from glance_tx.streaming.digest import Digests
from glance_tx.streaming.growth import GrowingFile
from glance_tx.streaming.interfaces import IFileBody
from glance_tx.streaming.lanes import Lanes
from glance_tx.streaming.pump import Sink, pump
from glance_tx.streaming.ranges import ByteRange

__all__ = ["Fill", "FillTools", "Fills"]

# Note [The last chunk]
# Clients are sent what a fill has written at once, and yet none may complete a body that is not the image. So the
# last chunk is held back until the hash of the whole image was compared; a fill that turns out wrong resets its
# clients instead. For the same reason a Range joins a fill only if it reaches into the last chunk: one that ends
# before it would be complete before anything was compared.


@frozen
class FillTools:
    """
    What fills work with.

    :param patience_seconds: For how long without a byte a fill keeps asking the upstream.
    :param own: The node's own credentials, for a fill whose caller's have ended in the middle.
    :param bandwidth: For all fills together; ``None`` where there is no limit.
    :param abandon_below_percent: A fill that everybody left is stopped where less than that is there.
    :param linger_seconds: For how long nobody must have waited.
    """

    upstream: IUpstream
    entries: EntryStore
    lanes: Lanes
    clock: IReactorTime
    patience_seconds: float
    own: IOwnCredentials | None = None
    bandwidth: Bandwidth | None = None
    abandon_below_percent: int = 0
    linger_seconds: float = 5.0


class Fill:
    """
    One image on its way into the cache. It goes on when the client that caused it leaves; when all have left, it may be
    stopped, for a later one to go on with.

    :ivar abandoned: It was stopped because all had left.
    :param credentials: Of whoever caused it; shown to the upstream and to nobody else.
    :param pace: Held until the first client reads; ``None`` for as fast as can be.
    """

    def __init__(
        self, tools: FillTools, facts: ImageFacts, credentials: UpstreamCredentials, pace: Pace | None = None
    ) -> None:
        self.facts = facts
        self._pace = pace
        self._tools = tools
        self._sponsors = Sponsors(credentials, tools.own)
        self._growth = GrowingFile()
        self._writer: EntryWriter | None = None
        self._readable = True
        self.is_own = False
        """Whether this process fetches the data, and not another one of this node."""
        self._source: EntryWriter | Watched | None = None
        self._begun = Occasion()
        self._ended = Occasion()
        self._audience = Audience(tools.clock, tools.linger_seconds, self._abandon)
        self._running: Deferred[None] | None = None
        self.abandoned = False
        # The start of the last chunk. See Note [The last chunk].
        self._held = (facts.size - 1) // CHUNK_BYTES * CHUNK_BYTES

    @property
    def present_bytes(self) -> int:
        """
        How much of the image is there by now.
        """
        return self._growth.limit if self._writer is None else self._writer.written

    def begun(self) -> Deferred[None]:
        """
        Wait until the upstream has begun to send.

        :return: Fails as the fill does, if it does before that.
        """
        return self._audience.until(self._begun.wait())

    def ended(self) -> Deferred[None]:
        """
        Wait until the image is in the cache.

        :return: Fails as the fill does.
        """
        return self._audience.until(self._ended.wait())

    def sponsor(self, credentials: UpstreamCredentials) -> None:
        """
        Let the fill go on in the name of somebody else who may read the image, if need be.
        """
        self._sponsors.add(credentials)

    def serves(self, part: ByteRange | None, ahead_bytes: int) -> bool:
        """
        Tell whether a client can be served from this fill.

        :param part: What the client wants; ``None`` for all of it.
        :param ahead_bytes: How far from what is there a range may begin; a client that would wait for longer is
            better served by the upstream.
        """
        if not self._is_readable():
            return False
        if part is None or self._growth.limit == self.facts.size:
            return True
        return part.end > self._held and part.offset <= self.present_bytes + ahead_bytes

    def _is_readable(self) -> bool:
        # What is compared is only to be made durable: should the disk fail at that, the writer drops the entry.
        compared = self._growth.limit == self.facts.size
        return self._readable and not (compared and self._writer is not None and not self._writer.is_wanted)

    def open_body(self, part: ByteRange | None) -> IFileBody | None:
        """
        Make a body of the file as it grows. The fill must have begun.

        :return: ``None`` where the fill has ended meanwhile.
        :raises FolderUnusable: There are too many open files.
        """
        if self._source is None or not self._is_readable():
            return None
        offset, length = (0, self.facts.size) if part is None else (part.offset, part.length)
        body = self._source.open_body(offset, length, self._growth, self._audience.leave)
        self._audience.enter()
        if self._pace is not None:
            self._pace.hurry()
        return body

    def start(self) -> Deferred[None]:
        """
        Begin to fill.

        :return: Fires when it is over; cancelling it stops the fill.
        """
        self._running = Deferred.fromCoroutine(self._run())
        return self._running

    def _abandon(self) -> None:
        enough = self.present_bytes * 100 >= self._tools.abandon_below_percent * self.facts.size
        if not enough and self._running is not None:
            self._readable = False
            self.abandoned = True
            self._running.cancel()

    async def _run(self) -> None:
        """
        Fill, from where an earlier fill of the same data stopped, or follow the process of this node that does.

        :raises CacheError: The image is not in the cache.
        """
        digests = Digests(self._tools.lanes, self._algorithms())
        writer = await self._begin(digests)
        if writer is None:
            return
        self._writer = self._source = writer
        try:
            require_no_less(self.facts, self._growth, writer.written)
            await self._receive(writer, digests)
            await writer.show_all()
        except UpstreamMismatch:
            self._readable = False
            await writer.abort()
            raise
        except BaseException:
            self._readable = False
            await writer.suspend()
            raise
        # In one go: where a client has all of it, nothing keeps it from getting into the cache any more.
        self._growth.grow(self.facts.size)
        await writer.commit()

    async def _begin(self, digests: Digests) -> EntryWriter | None:
        """
        Wait until it is on this process to fill.

        :return: ``None`` where the image is in the cache.
        """
        tools = self._tools
        watched: Watched | None = None
        try:
            while True:
                try:
                    writer = await tools.entries.begin(self.facts, [digests.update])
                except EntryBusy as error:
                    if watched is None and not isinstance(error, FilledElsewhere):
                        raise
                else:
                    self.is_own = True
                    return writer
                watched = watched or await tools.entries.watch(self.facts)
                if watched is None:  # it has just ended, or is just being made
                    await deferLater(tools.clock, LOOK_SECONDS)
                    continue
                self._source = watched
                outcome = await follow(watched, self._growth, self._begun.fire, tools.clock, 2 * tools.patience_seconds)
                if outcome is WatchedState.COMPLETE:
                    return None
                if outcome is WatchedState.GONE:
                    watched.close()
                    watched = self._source = None
        finally:
            if watched is not None:
                watched.close()

    def conclude(self, error: FactualError | None) -> None:
        """
        Tell everybody how the fill ended; whoever still reads is reset where it failed.
        """
        self._readable = False
        self._audience.close()
        if error is not None:
            reason = error.reason if isinstance(error, FillFailed) else str(error)
            self._growth.give_up(FillFailed(self.facts.image_id, reason))
        self._begun.fire(error)
        self._ended.fire(error)

    async def _receive(self, writer: EntryWriter, digests: Digests) -> None:
        self._grow()
        tools = self._tools
        source = SteadySource(tools.upstream, self.facts, self._sponsors, tools.clock, tools.patience_seconds)
        try:
            await source.open(writer.written)
            self._begun.fire(None)
            await pump(source, [self._append, digests.update, *self._limits()], piece_bytes=1)
            self._compare(digests)
        except UpstreamMismatch:
            source.distrust()
            raise
        finally:
            source.cancel()

    def _limits(self) -> Iterator[Sink]:
        if self._pace is not None:
            yield self._pace.keep
        if self._tools.bandwidth is not None:
            yield Pace(self._tools.bandwidth).keep

    async def _append(self, piece: bytes) -> None:
        assert self._writer is not None  # noqa: S101  # it has begun
        await self._writer.append(piece)
        self._grow()

    def _grow(self) -> None:
        self._growth.grow(min(self.present_bytes, self._held))

    def _algorithms(self) -> tuple[str, ...]:
        if self.facts.os_hash_algo is not None:
            return (self.facts.os_hash_algo,)
        return ("md5",) if self.facts.checksum is not None else ()

    def _compare(self, digests: Digests) -> None:
        expected = self.facts.os_hash_value if self.facts.os_hash_algo is not None else self.facts.checksum
        for algorithm, found in digests.hexdigests().items():
            if found != expected:
                raise UpstreamMismatch(
                    self.facts.image_id, f"the upstream's data has the {algorithm} {found} instead of {expected}"
                )


class Fills:
    """
    All fills of this node.

    :param most: So many at a time are enough; 0 where any number is welcome.
    :ivar count: Fills begun.
    :ivar abandoned: Fills stopped because everybody had left.
    """

    _log = Logger()

    def __init__(self, tools: FillTools, most: int = 0) -> None:
        self._tools = tools
        self._most = most
        self.abandoned = 0
        self._running: dict[EntryName, Fill] = {}
        self._tasks: set[Deferred[None]] = set()
        self.count = 0

    def running(self, facts: ImageFacts) -> Fill | None:
        """
        Find the fill of some data.
        """
        return self._running.get(EntryName.of(facts))

    @property
    def enough(self) -> bool:
        """
        Whether as many run as should.
        """
        return 0 < self._most <= len(self._running)

    @property
    def under_way(self) -> Sequence[Fill]:
        """
        Those that run now.
        """
        return tuple(self._running.values())

    def start(self, facts: ImageFacts, credentials: UpstreamCredentials, pace: Pace | None = None) -> Fill:
        """
        Begin to fill. There must be no fill of the same data.

        :param pace: See `Fill`.
        """
        name = EntryName.of(facts)
        if name in self._running:
            raise RuntimeError(f"image {facts.image_id} is being filled already")
        fill = self._running[name] = Fill(self._tools, facts, credentials, pace)
        self.count += 1
        task = fill.start()
        self._tasks.add(task)
        task.addBoth(self._over, task, fill, name)
        return fill

    async def stop(self) -> None:
        """
        Stop all fills, each to be gone on with later, and wait for that.
        """
        tasks = [self._watch(task) for task in self._tasks]
        for task in tuple(self._tasks):
            task.cancel()
        await DeferredList(tasks)

    @staticmethod
    def _watch(task: Deferred[None]) -> Deferred[None]:
        over: Deferred[None] = Deferred()
        task.addBoth(lambda _: over.callback(None))
        return over

    def _over(self, outcome: Failure | None, task: Deferred[None], fill: Fill, name: EntryName) -> None:
        # First of all: whoever is told that it failed may begin another one.
        self._tasks.discard(task)
        del self._running[name]
        fill.conclude(self._reason(outcome, fill) if isinstance(outcome, Failure) else None)

    def _reason(self, failure: Failure, fill: Fill) -> FactualError:
        error = failure.value
        image_id = fill.facts.image_id
        if isinstance(error, CancelledError) and fill.abandoned:
            self.abandoned += 1
            self._log.info(
                "the fill of image {image_id} stops at {present} of {size} bytes, as nobody waits for it any more",
                image_id=image_id,
                present=fill.present_bytes,
                size=fill.facts.size,
            )
            return FillFailed(image_id, "nobody waited for it any more")
        if isinstance(error, CancelledError):
            return FillFailed(image_id, "this node stops")
        if not isinstance(error, FactualError):
            self._log.failure("the fill of image {image_id} failed", failure, image_id=image_id)
            return FillFailed(image_id, "this node met an unexpected condition")
        if isinstance(error, EntryBusy):
            return error
        if isinstance(error, UpstreamMismatch):
            self._log.error("the fill of image {image_id} was wrong: {error}", image_id=image_id, error=str(error))
        else:
            self._log.warn("the fill of image {image_id} ended: {error}", image_id=image_id, error=str(error))
        return error
