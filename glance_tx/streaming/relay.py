"""
Pass a body on as it comes in: an upload to another server, or another server's answer to a client.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.python.failure import Failure
from twisted.web.iweb import UNKNOWN_LENGTH
from zope.interface import implementer

from glance_tx.streaming.errors import BodyTooLong, BodyTooShort
from glance_tx.streaming.interfaces import IBodyProducer, IBodyReader


@implementer(IBodyProducer)
class ReaderBody:
    """
    A body going out that is pulled from one coming in, no faster than its consumer takes it.

    :param reader: Where the bytes come from.
    :param length: What they come to; ``None`` where nobody knows.
    :ivar passed: Bytes taken from the reader by now.
    """

    def __init__(self, reader: IBodyReader, length: int | None) -> None:
        self.length: int | str = UNKNOWN_LENGTH if length is None else length
        self.passed = 0
        self._reader = reader
        self._work: Deferred[None] | None = None
        self._done: Deferred[None] | None = None
        self._paused: Deferred[None] | None = None

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """
        Pass everything on.

        :return: Fires when the last byte was handed over. Fails as the reader does, and with ``BodyTooShort`` or
            ``BodyTooLong`` where the body does not come to its length; cancelling it stops the transfer.
        """
        done: Deferred[None] = Deferred(lambda _: self.stopProducing())
        self._done = done
        self._work = Deferred.fromCoroutine(self._pass_on(consumer))
        self._work.addCallbacks(self._succeeded, self._failed)
        return done

    def pauseProducing(self) -> None:
        """
        Hold the source: the consumer has enough for now.
        """
        if self._paused is None:
            self._paused = Deferred()

    def resumeProducing(self) -> None:
        """
        Let the source go on.
        """
        paused, self._paused = self._paused, None
        if paused is not None:
            paused.callback(None)

    def stopProducing(self) -> None:
        """
        Stop for good: nobody takes the rest. The source is not touched; its owner ends it.
        """
        # The interface's rule: a producer that was stopped does not fire the Deferred that it gave out.
        self._done = None
        if self._work is not None:
            self._work.cancel()

    def _succeeded(self, _: None) -> None:
        if self._done is not None:
            self._done.callback(None)

    def _failed(self, reason: Failure) -> None:
        if self._done is not None:
            self._done.errback(reason)

    async def _pass_on(self, consumer: IConsumer) -> None:
        while data := await self._reader.read(1):
            self.passed += len(data)
            if isinstance(self.length, int) and self.passed > self.length:
                raise BodyTooLong(self.length)
            consumer.write(data)
            if self._paused is not None:
                await self._paused
        if isinstance(self.length, int) and self.passed < self.length:
            raise BodyTooShort(self.length, self.passed)
