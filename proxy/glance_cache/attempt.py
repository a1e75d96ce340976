"""
One request on its way to one upstream, and the body that goes with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, ITransport
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.iweb import IResponse
from zope.interface import implementer

from glance_tx.streaming.errors import StreamingError
from glance_tx.streaming.interfaces import IBodyReader
from glance_tx.streaming.stall import StallWatch

__all__ = ["Attempt", "Discard", "Silent", "Upload"]


class Silent(Exception):
    """
    A server let its time pass.
    """


class Discard(Protocol):
    """
    Takes the body of an answer that nobody wants: closes its connection, unless nothing is to come.
    """

    def connectionMade(self) -> None:
        """
        Begin, and end.
        """
        cast(ITransport, self.transport).loseConnection()


@implementer(IBodyReader)
class Upload:
    """
    The body of a client's request, and what has become of it.

    :ivar received: Bytes that were taken from the client.
    :ivar awaited: The client has to send something before anything can go on.
    :ivar failure: Why there is no more, where that is the client's doing.
    """

    def __init__(self, reader: IBodyReader) -> None:
        self.length = reader.length
        self.received = 0
        self.awaited = False
        self.failure: StreamingError | None = None
        self._reader = reader

    async def read(self, at_least: int) -> bytes:
        """
        See `IBodyReader.read`.
        """
        self.awaited = True
        try:
            piece = await self._reader.read(at_least)
        except StreamingError as error:
            self.failure = error
            raise
        finally:
            self.awaited = False
        self.received += len(piece)
        return piece

    def progress(self) -> object:
        """
        Tell a value that changes for as long as it is not the server that is waited for.
        """
        return object() if self.awaited else self.received


class Attempt:
    """
    Waits for the head of an answer.

    However it is ended, nothing is left of it: a request that was given up is cancelled, and an answer that comes
    all the same is closed.

    :param seconds: How long the server may do nothing, to within a quarter.
    :param progress: Gives a value that changes while it is not the server that is waited for.
    :ivar answer: Fires with the answer, or fails as the request did, or with `Silent`. Cancelling it gives up.
    """

    def __init__(
        self,
        sending: Deferred[IResponse],
        clock: IReactorTime,
        seconds: float,
        progress: Callable[[], object],
    ) -> None:
        self.answer: Deferred[IResponse] = Deferred(lambda _: self._give_up())
        self._sending = sending
        self._over = False
        self._watch = StallWatch(clock, seconds, progress, self._stalled)
        self._watch.start()
        sending.addBoth(self._ended)

    def _ended(self, outcome: IResponse | Failure) -> None:
        if not self._over:
            self._over = True
            self._watch.stop()
            self.answer.callback(outcome)  # a Failure goes to the errbacks
        elif not isinstance(outcome, Failure):
            outcome.deliverBody(Discard())

    def _give_up(self) -> None:
        # Twisted's client has several ways to say that it was cancelled; none of them is heard from now on.
        self._over = True
        self._watch.stop()
        self._sending.cancel()

    def _stalled(self) -> None:
        self._give_up()
        self.answer.errback(Silent(f"no answer within {self._watch.seconds:g} seconds"))
