"""
Letting cached data go only after it was found right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from glance_cache.catalog import CHUNK_BYTES, chunk_count
from glance_cache.errors import EntryChanged, EntryCorrupt
from glance_cache.stamps import Stamp
from glance_tx.streaming.interfaces import IGrowth

__all__ = ["Verdict", "VerifiedGrowth", "Verifier"]

_AHEAD_CHUNKS: Final = 4
_LEAP_CHUNKS: Final = 8
_ATTEMPTS: Final = 5

# Note [Verified once]
# A chunk is hashed once since the daemon started: by the fill that wrote it, or for the first reader that needs it; all
# others that need it meanwhile wait for the same look at it. That holds while the file keeps its stamp. The stamp is
# compared before every step, so a reader is never more than a few chunks ahead of a change, and again before the
# last chunk of its body is let go. If the file changed, nobody can vouch for what was sent since the last look:
# readers under way are reset, the chunks count as never verified, and new readers have them hashed anew. What is left
# is a change between that last look and the moment in which the kernel takes the last bytes from the page cache.
#
# A disk that goes bad leaves the stamp as it is: that is for the scrub to find. From the moment in which a chunk is
# found wrong, by whomever, it is not let go in any process of the node, and whoever was let go to it, and may have sent
# it since, is reset.


@frozen
class Verdict:
    """
    What a look at one chunk told.

    :param stamp: Of the file before the look.
    :param steady: Whether it was the same after it.
    :param right: Whether the chunk matches its record.
    """

    stamp: Stamp
    steady: bool
    right: bool


class Verifier:
    """
    Which chunks of one entry were found right.

    :param image_id: For errors.
    :param size_bytes: Of the data.
    :param look: Begins a look at a chunk, in a lane. It is given the stamp that the verifier knows, and settles the
        file's time (see Note [Settled times]) before it looks where the file has another one.
    :param on_corrupt: Told of a chunk that is not right, where no other one is known.
    :param on_spoiled: Told of every chunk that is not right.
    """

    def __init__(
        self,
        image_id: str,
        size_bytes: int,
        look: Callable[[int, Stamp | None], Deferred[Verdict]],
        on_corrupt: Callable[[EntryCorrupt], None],
        on_spoiled: Callable[[int], object] = lambda chunk: None,
    ) -> None:
        self.image_id = image_id
        self.generation = 0
        self.doubts: list[int] = []
        """Chunks that were found wrong, here or by another process, in the order of that; repaired since or not."""
        self._look = look
        self._on_corrupt = on_corrupt
        self._on_spoiled = on_spoiled
        self._stamp: Stamp | None = None
        self._right = bytearray(-(-chunk_count(size_bytes) // 8))
        self._looking: dict[int, list[Deferred[None]]] = {}
        self._doubted_meanwhile: set[int] = set()
        self.bad: set[int] = set()
        """Chunks that were found wrong, until somebody put them right and takes them out."""

    def trust(self, stamp: Stamp) -> None:
        """
        Take every chunk as right, as long as the file keeps this stamp.
        """
        self._stamp = stamp
        self._right = bytearray(b"\xff" * len(self._right))

    def observe(self, stamp: Stamp) -> None:
        """
        Take note of the stamp that the file has now. Another one than before begins a new ``generation``.
        """
        if self._stamp is not None and stamp != self._stamp:
            self._forget_all()

    def _forget_all(self) -> None:
        self._stamp = None
        self._right = bytearray(len(self._right))
        self.generation += 1

    def spoil(self, chunk: int) -> None:
        """
        Take a chunk as wrong that somebody else looked at.
        """
        self.doubt(chunk)
        first = not self.bad
        self.bad.add(chunk)
        self._on_spoiled(chunk)
        if first:
            self._on_corrupt(EntryCorrupt(self.image_id, chunk))

    def doubt(self, chunk: int) -> None:
        """
        Have a chunk looked at anew that another process found wrong, and may have repaired since.
        """
        self._right[chunk // 8] &= ~(1 << chunk % 8)
        self.doubts.append(chunk)
        if chunk in self._looking:
            self._doubted_meanwhile.add(chunk)

    def is_right(self, chunk: int) -> bool:
        """
        Whether a chunk was found right, and the file was not seen to change since.
        """
        return bool(self._right[chunk // 8] & 1 << chunk % 8)

    def look_at(self, chunk: int) -> Deferred[None]:
        """
        Wait for a look at a chunk; it is taken once for all who wait.

        :return: Fires when it was taken, fails with `EntryCorrupt` where the chunk is not right. Ask `is_right`
            afterwards: the file may have changed under the look. Cancelling it stops the wait and nothing else.
        """
        if chunk in self.bad:
            return fail(EntryCorrupt(self.image_id, chunk))
        if self.is_right(chunk):
            return succeed(None)
        looking = self._looking.get(chunk)
        waiters = [] if looking is None else looking
        waiting: Deferred[None] = Deferred(waiters.remove)
        waiters.append(waiting)
        if looking is None:
            self._begin(chunk, waiters)
        return waiting

    def look_ahead(self, chunk: int) -> None:
        """
        Begin to look at a chunk that somebody will soon wait for.
        """
        if not (chunk in self.bad or chunk in self._looking or self.is_right(chunk)):
            self._begin(chunk, [])

    def _begin(self, chunk: int, waiters: list[Deferred[None]]) -> None:
        self._looking[chunk] = waiters
        self._look(chunk, self._stamp).addCallbacks(self._looked, self._failed, (chunk,), errbackArgs=(chunk,))

    def _looked(self, verdict: Verdict, chunk: int) -> None:
        if not verdict.right:
            self._spoiled(chunk)
            return
        if verdict.stamp != self._stamp:
            if self._stamp is not None:
                self._forget_all()
            self._stamp = verdict.stamp
        if not verdict.steady:
            self._forget_all()
        elif chunk not in self._doubted_meanwhile:
            self._right[chunk // 8] |= 1 << chunk % 8
        for waiting in self._take_waiting(chunk):
            waiting.callback(None)

    def _spoiled(self, chunk: int) -> None:
        self.spoil(chunk)
        for waiting in self._take_waiting(chunk):
            waiting.errback(EntryCorrupt(self.image_id, chunk))

    def _failed(self, failure: Failure, chunk: int) -> None:
        # Nobody could look (the threads were stopped, say): that tells nothing about the chunk.
        for waiting in self._take_waiting(chunk):
            waiting.errback(failure)

    def _take_waiting(self, chunk: int) -> Iterator[Deferred[None]]:
        # Whoever is told first may ask for another look at once, or make others stop waiting.
        waiters = self._looking.pop(chunk)
        self._doubted_meanwhile.discard(chunk)
        while waiters:
            yield waiters.pop(0)


@implementer(IGrowth)
class VerifiedGrowth:
    """
    How far one body of an entry may be sent: a few chunks at a time, each of them found right, the file unchanged.

    :param verifier: The entry's.
    :param stamp: Tells the stamp that the file has now; called in the reactor.
    :param offset: Where the body begins in the file.
    :param end: Where it ends.
    """

    def __init__(self, verifier: Verifier, stamp: Callable[[], Stamp], offset: int, end: int) -> None:
        self.limit = offset
        self._verifier = verifier
        self._stamp = stamp
        self._begin = offset
        self._end = end
        self._last_chunk = max(offset, end - 1) // CHUNK_BYTES
        self._generation = verifier.generation
        self._doubts = len(verifier.doubts)
        self._let_go_at = offset
        self._stopped = False

    def wait_beyond(self, offset: int) -> Deferred[None]:
        """
        Wait until there is more (see `IGrowth`).

        :return: Fails with `EntryCorrupt` where the next chunk is not right, or one that was sent since the last call
            turned out not to be, with `EntryChanged` where the file was changed since this body began.
        """
        if self.limit > offset:
            return succeed(None)
        try:
            grown = self._grows_beyond(offset)
        except (CancelledError, EntryChanged, EntryCorrupt, OSError):
            return fail()
        return succeed(None) if grown else Deferred.fromCoroutine(self._grow_beyond(offset))

    def stop(self) -> None:
        """
        Touch the file no more: its descriptor is about to be closed.
        """
        self._stopped = True

    async def _grow_beyond(self, offset: int) -> None:
        chunk = offset // CHUNK_BYTES
        for _ in range(_ATTEMPTS):
            self._look_ahead(chunk)
            await self._verifier.look_at(chunk)
            if self._grows_beyond(offset):
                return
        # Somebody keeps writing to the file.
        raise EntryChanged(self._verifier.image_id)

    def _grows_beyond(self, offset: int) -> bool:
        self._compare()
        chunk = offset // CHUNK_BYTES
        if self._verifier.is_right(chunk):
            self._let_go(chunk)
            self._let_go_at = offset
        return self.limit > offset

    def _compare(self) -> None:
        if self._stopped:
            raise CancelledError
        self._verifier.observe(self._stamp())
        if self._generation != self._verifier.generation:
            if self.limit > self._begin:
                raise EntryChanged(self._verifier.image_id)
            self._generation = self._verifier.generation
        doubts, self._doubts = self._verifier.doubts[self._doubts :], len(self._verifier.doubts)
        for chunk in doubts:
            if self._let_go_at < (chunk + 1) * CHUNK_BYTES and chunk * CHUNK_BYTES < self.limit:
                raise EntryCorrupt(self._verifier.image_id, chunk)

    def _let_go(self, chunk: int) -> None:
        following = chunk + 1
        # The last chunk is a step of its own, so that the file is compared once more before it.
        while following < min(chunk + _LEAP_CHUNKS, self._last_chunk) and self._verifier.is_right(following):
            following += 1
        self.limit = min(following * CHUNK_BYTES, self._end)
        self._look_ahead(following)

    def _look_ahead(self, chunk: int) -> None:
        for following in range(chunk, min(chunk + _AHEAD_CHUNKS, self._last_chunk + 1)):
            self._verifier.look_ahead(following)
