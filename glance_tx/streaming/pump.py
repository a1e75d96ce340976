"""
Moving a body from its reader into everything that wants to see it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from glance_tx.streaming.interfaces import IBodyReader
from glance_tx.streaming.settle import settle
from glance_tx.streaming.units import MiB

__all__ = ["Sink", "pump"]

Sink = Callable[[bytes], Awaitable[object]]
"""
Takes one piece; done when the piece may be forgotten. Gets no second piece before.
"""


async def pump(reader: IBodyReader, sinks: Sequence[Sink], piece_bytes: int = MiB) -> int:
    """
    Read a body to its end and give every piece to every sink.

    Two pieces are held at most: one in work in all sinks while the next one arrives. A sink that fails ends the
    transfer at once, also while nothing arrives. Whichever way this ends, no sink is still at work then: those
    that were are cancelled and awaited.

    :param piece_bytes: How much to collect before handing it on; pieces may be longer by one socket read.
    :return: Bytes moved.
    :raises BodyLost: And whatever else the reader or a sink raises.
    """
    work = _Work(sinks)
    moved = 0
    try:
        while piece := await work.meanwhile(reader, piece_bytes):
            await work.done()
            work.begin(piece)
            moved += len(piece)
        await work.done()
    finally:
        await work.abandon()
    return moved


class _Work:
    """
    The piece that is in work, in all sinks.
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = sinks
        self._running: Deferred[list[None]] | None = None
        self._reading: Deferred[bytes] | None = None
        self._failure: Failure | None = None
        self._waiting: Deferred[None] | None = None

    def begin(self, piece: bytes) -> None:
        """
        Give a piece to every sink. The one before must be done.
        """
        self._running = settle([Deferred.fromCoroutine(_feed(sink, piece)) for sink in self._sinks])
        self._running.addCallbacks(self._succeeded, self._failed)

    def _succeeded(self, _: list[None]) -> None:
        self._running = None
        self._tell()

    def _failed(self, failure: Failure) -> None:
        self._running = None
        self._failure = failure
        if self._reading is not None:
            self._reading.cancel()
        self._tell()

    def _tell(self) -> None:
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            waiting.callback(None)

    async def meanwhile(self, reader: IBodyReader, piece_bytes: int) -> bytes:
        """
        Read the next piece; a sink that fails meanwhile cuts this short with its failure.
        """
        self._raise_failure()
        self._reading = Deferred.fromCoroutine(_read(reader, piece_bytes))
        try:
            return await self._reading
        except CancelledError:
            self._raise_failure()
            raise
        finally:
            self._reading = None

    async def done(self) -> None:
        """
        Wait until no piece is in work, and raise what a sink raised.
        """
        if self._running is not None:
            await self._end()
        self._raise_failure()

    def _end(self) -> Deferred[None]:
        waiting: Deferred[None] = Deferred(self._forget)
        self._waiting = waiting
        return waiting

    def _forget(self, _: Deferred[None]) -> None:
        self._waiting = None

    def _raise_failure(self) -> None:
        if self._failure is not None:
            self._failure.raiseException()

    async def abandon(self) -> None:
        """
        Cancel what is in work and wait for its end; nothing to do after a good end.
        """
        if self._running is not None:
            end = self._end()
            self._running.cancel()
            await end


async def _read(reader: IBodyReader, piece_bytes: int) -> bytes:
    # A coroutine of our own: a reader may as well return a Deferred.
    return await reader.read(piece_bytes)


async def _feed(sink: Sink, piece: bytes) -> None:
    await sink(piece)
