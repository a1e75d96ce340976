"""
The hits of a whole node, of which each process counts its own.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from glance_cache.errors import FolderUnusable
from glance_cache.hit_journal import JournalFollower
from glance_cache.hit_keys import is_image_key
from glance_cache.hits import HitCounter
from glance_cache.interfaces import HitTotals
from glance_cache.seats import Seats
from glance_tx.streaming.interfaces import ILane

__all__ = ["NodeHits", "Orphans"]

_LOOK_SECONDS: Final = 1.0
_ORPHANS_SECONDS: Final = 300.0


class NodeHits:
    """
    Adds to this process's hits what the journals of other seats say, be anybody in them or not. See Note [Seats].

    :param own: Counts this process's; started and stopped by its owner.
    :param seat: This process's.
    :param lane: Where journals are read.
    """

    _log = Logger()

    def __init__(self, own: HitCounter, seats: Seats, seat: int, lane: ILane, clock: IReactorTime) -> None:
        self._own = own
        self._seats = seats
        self._seat = seat
        self._lane = lane
        self._others: dict[int, JournalFollower] = {}
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self.look()))
        self._loop.clock = clock

    async def start(self) -> None:
        """
        Read all journals, and follow them.
        """
        await self.look()
        self._loop.start(_LOOK_SECONDS, now=False).addErrback(lambda f: self._log.failure("a loop broke", f))

    async def stop(self) -> None:
        """
        Follow them no more.
        """
        if self._loop.running:
            self._loop.stop()

    async def look(self) -> None:
        """
        Find out what others have counted by now.
        """
        try:
            await self._lane.run(self._look)
        except OSError as error:
            self._log.warn("the hits of other workers cannot be read: {error}", error=str(error))

    def _look(self) -> None:
        for seat in self._seats.known():
            if seat == self._seat:
                continue
            if seat not in self._others:
                path, name = self._seats.journal(seat), self._seats.counter(seat)
                self._others = {**self._others, seat: JournalFollower(path, name, self._seats.files)}
            self._others[seat].look()

    def totals(self, image_id: str) -> HitTotals:
        """
        Tell what this node counted for an image, itself and before.
        """
        totals = self._own.totals(image_id)
        for other in self._others.values():
            totals = totals.plus(other.totals.get(image_id, HitTotals()))
        return totals

    def whole(self) -> HitTotals:
        """
        Tell what this node counted for all images together, itself and before.
        """
        whole = self._own.whole()
        for other in self._others.values():
            for key, totals in other.totals.items():
                if is_image_key(key):
                    whole = whole.plus(totals)
        return whole

    def top(self, most: int) -> Mapping[str, HitTotals]:
        """
        Tell the images with most hits on this node, so many of them.
        """
        if not self._others:
            return self._own.top(most)
        images = {*self._own.images(), *self._images_of_others()}
        return dict(
            heapq.nlargest(most, ((image, self.totals(image)) for image in images), key=lambda item: item[1].hits)
        )

    def _images_of_others(self) -> Iterator[str]:
        for other in self._others.values():
            yield from filter(is_image_key, list(other.totals))


class Orphans:
    """
    Tells the index what lies in the journals of seats that nobody has: of a worker that was killed and is not started
    anew, as there are to be fewer. Done again from time to time, as an index may have lost what it knew.

    :param seat: This process's own.
    :param make_counter: Makes a counter for a seat.
    :param own: Counts this process's hits; tells whether the index can be reached.
    """

    _log = Logger()

    def __init__(
        self,
        seats: Seats,
        seat: int,
        lane: ILane,
        clock: IReactorTime,
        make_counter: Callable[[int], HitCounter],
        own: HitCounter,
    ) -> None:
        self._seats = seats
        self._seat = seat
        self._lane = lane
        self._make_counter = make_counter
        self._own = own
        self._running: Deferred[None] | None = None
        self._loop = LoopingCall(self._begin)
        self._loop.clock = clock

    def begin(self) -> None:
        """
        Begin to do so.
        """
        self._loop.start(_ORPHANS_SECONDS).addErrback(lambda f: self._log.failure("a loop broke", f))

    async def stop(self) -> None:
        """
        Leave off, after what is under way.
        """
        if self._loop.running:
            self._loop.stop()
        if self._running is not None:
            await self._running

    def _begin(self) -> Deferred[None]:
        self._running = Deferred.fromCoroutine(self._tell_all())
        return self._running

    async def _tell_all(self) -> None:
        try:
            for seat in await self._lane.run(self._seats.known):
                if seat != self._seat and self._own.index_reachable:
                    await self._tell(seat)
        except (OSError, FolderUnusable) as error:
            self._log.warn("hits of workers that are gone cannot be read: {error}", error=str(error))
        except Exception:  # the next time may be better
            self._log.failure("telling of hits of workers that are gone met an unexpected condition")

    async def _tell(self, seat: int) -> None:
        held = await self._lane.run(self._seats.hold, seat)
        if held is None:
            return
        try:
            counter = self._make_counter(seat)
            await counter.start()
            await counter.stop()
        finally:
            await self._lane.run(self._seats.files.close, held)
