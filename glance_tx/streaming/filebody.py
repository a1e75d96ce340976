"""
A body that lies in a file.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.python.failure import Failure
from zope.interface import implementer

from glance_tx.streaming.cursor import FileCursor
from glance_tx.streaming.errors import ShortFile
from glance_tx.streaming.interfaces import IFileBody, IGrowth
from glance_tx.streaming.units import KiB

__all__ = ["FileBody"]

# Larger pieces cost more than they save on the way through TLS.
_PIECE_BYTES: Final = 256 * KiB


@implementer(IFileBody)
class FileBody:
    """
    Some bytes of a file, in one piece.

    Where there is a socket they are best sent by `SendfileProducer`. For every other consumer this is a push
    producer of 256 KiB a piece. It reads in the reactor: give it a growth that says what is in memory
    (`Resident`) where that could wait for a disk.

    :param descriptor: Open for reading; owned by the body from now on. Its position is never used.
    :param offset: Absolute offset of the first byte.
    :param length: How many bytes.
    :param growth: How far the file may be sent by now.
    :param release: Closes the descriptor. That of a file which was deleted meanwhile takes as long as it takes to free
        its blocks, which is too long for the reactor.
    """

    def __init__(
        self,
        descriptor: int,
        offset: int,
        length: int,
        growth: IGrowth,
        release: Callable[[int], object] = os.close,
    ) -> None:
        self.descriptor = descriptor
        self.offset = offset
        self.length = length
        self.growth = growth
        self._release = release
        self._cursor = FileCursor(self, self._go_on, self._fail)
        self._consumer: IConsumer | None = None
        self._done: Deferred[None] | None = None
        self._paused = False
        self._writing = False

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """
        Write the body for as long as the consumer takes it.

        :return: Fires when the last byte was written. Fails with `ShortFile` where the file ended before, with
            OSError where it could not be read, and with what the growth gave up for. The descriptor is closed by
            then. Cancelling it is the same as `stopProducing`.
        """
        done: Deferred[None] = Deferred(lambda _: self.stopProducing())
        self._consumer, self._done = consumer, done
        self._go_on()
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
        self._go_on()

    def stopProducing(self) -> None:
        """
        Write no more and release the descriptor; the Deferred given out does not fire.
        """
        self.close()

    def close(self) -> None:
        """
        Release the descriptor. Harmless when repeated; ends a transfer that is under way.
        """
        self._consumer = self._done = None
        self._cursor.stop()
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            self._release(descriptor)

    def _go_on(self) -> None:
        if self._writing:  # called from within a write, or a wait that was none: the loop below goes on
            return
        self._writing = True
        try:
            while self._consumer is not None and not self._paused and not self._cursor.waiting:
                self._step(self._consumer)
        finally:
            self._writing = False

    def _step(self, consumer: IConsumer) -> None:
        cursor = self._cursor
        if cursor.left == 0:
            self._end(None)
        elif cursor.ready == 0:
            cursor.wait()
        elif (piece := self._read(min(cursor.ready, _PIECE_BYTES))) is not None:
            cursor.position += len(piece)
            consumer.write(piece)

    def _read(self, size: int) -> bytes | None:
        try:
            piece = os.pread(self.descriptor, size, self._cursor.position)
        except OSError:
            self._fail(Failure())
            return None
        if not piece:
            self._fail(Failure(ShortFile(self._cursor.position, self._cursor.end)))
            return None
        return piece

    def _fail(self, reason: Failure) -> None:
        self._end(reason)

    def _end(self, reason: Failure | None) -> None:
        done = self._done
        self.close()
        if done is not None:
            done.callback(reason)  # a Failure goes to the errbacks
