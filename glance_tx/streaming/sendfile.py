"""
From a file to a socket without copying.
"""

from __future__ import annotations

import errno
import os
from typing import Final, TypeGuard

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPullProducer, IReactorTime, ISSLTransport
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from zope.interface import implementer

from glance_tx.streaming.cursor import FileCursor
from glance_tx.streaming.errors import ReceiverLost, ShortFile, TransferStalled
from glance_tx.streaming.interfaces import IFileBody
from glance_tx.streaming.stall import StallWatch, unaccepted_bytes
from glance_tx.streaming.units import MiB

__all__ = ["SendfileProducer", "takes_sendfile"]

# Most bytes of one system call.
_CALL_BYTES: Final = 1 * MiB

# Most bytes of one turn of the reactor: what a fast client may take before the others have their turn.
_TURN_BYTES: Final = 4 * MiB

_CONNECTION_GONE: Final = frozenset(
    {errno.EPIPE, errno.ECONNRESET, errno.ECONNABORTED, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTUNREACH}
)


def takes_sendfile(transport: object) -> TypeGuard[Connection]:
    """
    Tell whether what goes into this transport's socket is what its peer receives.

    True for TCP and UNIX sockets as such. A wrapper (TLS, a policy) claims every interface of what it wraps, so
    only the class tells.
    """
    return isinstance(transport, Connection) and not ISSLTransport.providedBy(transport)


@implementer(IPullProducer)
class SendfileProducer:
    """
    Sends a file body down a socket, by public calls of its transport only.

    A transport calls a pull producer whenever its own buffer is empty: what was written before, a response's head,
    is out before the first byte of the file; and a full socket is waited for as in every other write.

    :param transport: Has no producer, and nobody else writes to it before this ends (see `takes_sendfile`).
    :param body: Stays open until this ends; its owner closes it.
    :param stall_seconds: A receiver that accepts no byte for that long is dropped. Waiting for the file to grow
        is not held against it.
    :ivar sent: Bytes the socket has taken.
    """

    def __init__(self, transport: Connection, body: IFileBody, clock: IReactorTime, stall_seconds: float) -> None:
        self.sent = 0
        self._transport = transport
        self._body = body
        self._cursor = FileCursor(body, self._go_on, self._fail)
        self._watch = StallWatch(clock, stall_seconds, self._progress, self._stalled)
        self._done: Deferred[None] | None = None
        self._registered = False
        self._turning = False

    def start(self) -> Deferred[None]:
        """
        Send the body: what the socket takes now at once, in one turn's share, the rest as the reactor says.

        :return: Fires when the socket has taken the last byte, and the transport has no producer again. In every
            other case the connection is being aborted, and it fails: with `ReceiverLost`, `TransferStalled`,
            `ShortFile`, an OSError of the disk, the reason for which the growth gave up, or CancelledError.
        """
        done: Deferred[None] = Deferred(self._cancelled)
        self._done = done
        self._transport.registerProducer(self, False)  # noqa: FBT003  (a pull producer; Twisted's signature)
        # At once and not after a turn of the reactor, which costs more than a small part does. A socket that turns out
        # to be broken is still among those that are to be written, so the reactor meets the same error and handles it.
        if self._going:
            self._transport.doWrite()
        if self._going:
            self._watch.start()
        return done

    def resumeProducing(self) -> None:
        """
        Send as much as the socket takes, up to this turn's share.
        """
        if not self._registered:
            # The call every pull producer gets while it is being registered: there may still be a head to be sent.
            self._registered = True
            self._transport.startWriting()
            return
        self._go_on()

    def stopProducing(self) -> None:
        """
        Take note that the connection is lost.
        """
        self._end(Failure(ReceiverLost(self.sent, "the connection was closed")))

    @property
    def _going(self) -> bool:
        return self._done is not None

    def _may_send(self) -> bool:
        return self._going and not self._cursor.waiting

    def _go_on(self) -> None:
        if self._turning or not self._may_send():
            return
        self._turning = True
        try:
            self._turn()
        except BlockingIOError:
            pass
        except OSError as exc:
            self._abort(Failure(self._named(exc)))
        finally:
            self._turning = False
        # A transport stops watching its socket when it asks its producer for more.
        if self._may_send():
            self._transport.startWriting()

    def _turn(self) -> None:
        cursor, share = self._cursor, _TURN_BYTES
        while share > 0 and self._may_send():
            if cursor.left == 0:
                self._end(None)
            elif cursor.ready == 0:
                cursor.wait()
            else:
                share -= self._send(min(cursor.ready, _CALL_BYTES))

    def _send(self, size: int) -> int:
        cursor = self._cursor
        count = os.sendfile(self._transport.fileno(), self._body.descriptor, cursor.position, size)
        if count == 0:
            self._abort(Failure(ShortFile(cursor.position, cursor.end)))
        cursor.position += count
        self.sent += count
        return count

    def _named(self, exc: OSError) -> Exception:
        return ReceiverLost(self.sent, str(exc)) if exc.errno in _CONNECTION_GONE else exc

    def _progress(self) -> object:
        if self._cursor.waiting:
            return object()  # unlike any other: nobody is waiting for the receiver
        return self.sent - unaccepted_bytes(self._transport.fileno())

    def _stalled(self) -> None:
        self._abort(Failure(TransferStalled(self._watch.seconds)))

    def _fail(self, reason: Failure) -> None:
        self._abort(reason)

    def _cancelled(self, _: Deferred[None]) -> None:
        self._release()
        self._transport.abortConnection()

    def _abort(self, reason: Failure) -> None:
        # Never an end that looks like a good one: the receiver must see that something is missing.
        self._transport.abortConnection()
        self._end(reason)

    def _end(self, reason: Failure | None) -> None:
        done = self._done
        if done is not None:
            self._release()
            done.callback(reason)

    def _release(self) -> None:
        self._done = None
        self._watch.stop()
        self._cursor.stop()
        self._transport.unregisterProducer()
