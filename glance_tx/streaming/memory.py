"""
Bodies that lie in memory: small ones, and stand-ins for big ones in tests.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from zope.interface import implementer

from glance_tx.streaming.interfaces import IBodyProducer, IBodyReader
from glance_tx.streaming.units import KiB

__all__ = ["BytesReader", "MemoryBody"]

_PIECE_BYTES = 256 * KiB


@implementer(IBodyReader)
class BytesReader:
    """
    A body coming in that is all there.

    :param data: The body.
    :param announced: Whether ``length`` says how long it is.
    """

    def __init__(self, data: bytes, *, announced: bool = True) -> None:
        self._data = memoryview(data)
        self.length = len(data) if announced else None

    async def read(self, at_least: int) -> bytes:
        """
        Take the next piece, exactly as long as asked where so much is left.
        """
        piece, self._data = self._data[:at_least], self._data[at_least:]
        return bytes(piece)


@implementer(IBodyProducer)
class MemoryBody:
    """
    A body going out that is all there.

    :param data: The body.
    """

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._consumer: IConsumer | None = None
        self._done: Deferred[None] | None = None
        self._paused = False
        self._writing = False
        self.length = len(data)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """
        Write the body, 256 KiB at a time, for as long as the consumer takes it.
        """
        done: Deferred[None] = Deferred(lambda _: self.stopProducing())
        self._consumer, self._done = consumer, done
        self.resumeProducing()
        return done

    def pauseProducing(self) -> None:
        """
        Write nothing until told to resume.
        """
        self._paused = True

    def resumeProducing(self) -> None:
        """
        Go on writing.
        """
        self._paused = False
        if self._writing:  # called from within the consumer's write
            return
        self._writing = True
        try:
            self._write()
        finally:
            self._writing = False

    def _write(self) -> None:
        while self._consumer is not None and self._data and not self._paused:
            piece, self._data = self._data[:_PIECE_BYTES], self._data[_PIECE_BYTES:]
            self._consumer.write(bytes(piece))
        if self._done is not None and not self._data:
            done = self._done
            self.stopProducing()
            done.callback(None)

    def stopProducing(self) -> None:
        """
        Forget the consumer; the Deferred given out does not fire.
        """
        self._consumer = None
        self._done = None
