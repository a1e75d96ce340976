"""
One request to Keystone, and its answer whole.
"""

from __future__ import annotations

from typing import Final, cast

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import ITransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from glance_tx.identity.keystone.errors import KeystoneGarbage

__all__ = ["ANSWER_BYTES", "Answer", "Exchange"]

ANSWER_BYTES: Final = 1024 * 1024
"""The most of an answer that is taken into memory. One about a token takes some KiB without the catalog."""


@frozen
class Answer:
    """
    One answer, whole.
    """

    status: int
    headers: Headers = field(repr=False)
    body: bytes = field(repr=False)


class Exchange:
    """
    Waits for an answer. Given up at any moment, it leaves neither a request nor a connection behind.

    :param sending: The request on its way.
    :ivar answer: Fires with the answer, or fails as the request did, or with `KeystoneGarbage` where it is too long.
        Cancelling it gives up, and is never reported as anything else.
    """

    def __init__(self, sending: Deferred[IResponse]) -> None:
        self.answer: Deferred[Answer] = Deferred(lambda _: self._give_up())
        self._over = False
        self._sending = sending
        self._body: _Body | None = None
        sending.addCallbacks(self._begun, self._failed)

    def _begun(self, response: IResponse) -> None:
        self._body = _Body()
        response.deliverBody(self._body)
        if self._over:
            self._body.close()
        self._body.whole.addCallbacks(self._ended, self._failed, callbackArgs=(response,))

    def _ended(self, body: bytes, response: IResponse) -> None:
        if not self._over:
            self._over = True
            self.answer.callback(Answer(response.code, response.headers, body))

    def _failed(self, failure: Failure) -> None:
        if not self._over:
            self._over = True
            self.answer.errback(failure)

    def _give_up(self) -> None:
        # Twisted's client has several ways to say that it was cancelled; none of them is heard from now on.
        self._over = True
        self._sending.cancel()
        if self._body is not None:
            self._body.close()


class _Body(Protocol):
    """
    A body that is collected, up to the limit.
    """

    def __init__(self) -> None:
        self.whole: Deferred[bytes] = Deferred()
        self._pieces: list[bytes] = []
        self._size = 0

    def close(self) -> None:
        """
        Close the connection, unless the body has come.
        """
        if not self.whole.called:
            cast(ITransport, self.transport).loseConnection()

    def dataReceived(self, data: bytes) -> None:
        """
        Take a piece.
        """
        self._size += len(data)
        if self._size <= ANSWER_BYTES:
            self._pieces.append(data)
        elif not self.whole.called:
            self.close()
            self._pieces.clear()
            self.whole.errback(KeystoneGarbage(f"it answered more than {ANSWER_BYTES} bytes"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Take the end.
        """
        if self.whole.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.whole.callback(b"".join(self._pieces))
        else:
            self.whole.errback(reason)
