"""
How far a file may be sent by now: what is written, and what is in memory.
"""

from __future__ import annotations

from copy import copy

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from glance_tx.streaming.errors import ShortFile
from glance_tx.streaming.interfaces import IGrowth, ILane
from glance_tx.streaming.readahead import ReadAhead, in_memory
from glance_tx.streaming.units import MiB

__all__ = ["GrowingFile", "Resident", "WholeFile"]


@implementer(IGrowth)
class WholeFile:
    """
    A file that is all there.

    :param end: Offset after its last byte.
    """

    def __init__(self, end: int) -> None:
        self.limit = end

    def wait_beyond(self, offset: int) -> Deferred[None]:
        """
        Do not wait: there is more already, or there never will be (`ShortFile`).
        """
        return succeed(None) if offset < self.limit else fail(ShortFile(self.limit, offset + 1))


@implementer(IGrowth)
class GrowingFile:
    """
    A file that someone still writes, or verifies, and any number of others send meanwhile.

    :param limit: Bytes that may be sent to begin with.
    """

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit
        self._failure: Exception | None = None
        self._waiting: list[tuple[int, Deferred[None]]] = []

    def grow(self, limit: int) -> None:
        """
        Let more be sent.

        :param limit: Offset after the last byte that may be sent; never less than before.
        """
        self.limit = max(limit, self.limit)
        ready = [waiting for offset, waiting in self._waiting if offset < self.limit]
        self._waiting = [entry for entry in self._waiting if entry[0] >= self.limit]
        # Once through, however many there are. Whoever is told may ask for more, or make another one stop waiting.
        for waiting in ready:
            if not waiting.called:
                waiting.callback(None)

    def give_up(self, reason: Exception) -> None:
        """
        Tell everyone who waits, and who will, that there is no more. What may be sent by now still may.
        """
        # Each gets one of his own: a raised exception collects tracebacks.
        self._failure = reason
        while self._waiting:
            _, waiting = self._waiting.pop(0)
            waiting.errback(copy(reason))

    def wait_beyond(self, offset: int) -> Deferred[None]:
        """
        Wait until the file has grown beyond an offset (see `IGrowth`).
        """
        if self.limit > offset:
            return succeed(None)
        if self._failure is not None:
            return fail(copy(self._failure))
        waiting: Deferred[None] = Deferred(self._forget)
        self._waiting.append((offset, waiting))
        return waiting

    def _forget(self, waiting: Deferred[None]) -> None:
        self._waiting = [entry for entry in self._waiting if entry[1] is not waiting]


@implementer(IGrowth)
class Resident:
    """
    Another growth's file, as far as it is in memory: a cold disk never stops the reactor.

    Window by window it is looked whether the pages are in memory. If one is missing, a thread reads this window
    and asks the disk for the next one; a hot file never leaves the reactor. One for each sender: it knows of one
    place in the file only.

    :param inner: How far the file may be sent at all.
    :param descriptor: The file. Whoever closes it cancels the waits first; what a thread still reads it reads by
        a duplicate.
    :param lane: Where cold pages are read; this sender's own, or it waits behind others' reads.
    :param window_bytes: How much is looked at, and read, at a time.
    """

    def __init__(self, inner: IGrowth, descriptor: int, lane: ILane, window_bytes: int = 8 * MiB) -> None:
        self._inner = inner
        self._descriptor = descriptor
        self._lane = lane
        self._window_bytes = window_bytes
        self._resident = 0

    @property
    def limit(self) -> int:
        """
        Absolute offset up to which bytes may be sent without waiting for the disk.
        """
        return min(self._resident, self._inner.limit)

    def wait_beyond(self, offset: int) -> Deferred[None]:
        """
        Wait until there is a byte beyond an offset, and in memory (see `IGrowth`).
        """
        if self.limit > offset:
            return succeed(None)
        if self._inner.limit > offset:
            return self._bring(None, offset)
        return self._inner.wait_beyond(offset).addCallback(self._bring, offset)

    def _bring(self, _: None, offset: int) -> Deferred[None]:
        end = min(offset + self._window_bytes, self._inner.limit)
        try:
            here = in_memory(self._descriptor, offset, end)
        except OSError:
            return fail()
        if here:
            self._resident = end
            return succeed(None)
        reading = ReadAhead(self._descriptor, offset, end, self._window_bytes).begin(self._lane)
        return reading.addCallback(self._brought, end)

    def _brought(self, _: None, end: int) -> None:
        self._resident = end
