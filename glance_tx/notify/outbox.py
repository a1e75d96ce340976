"""
Messages waiting for one way out, bounded in number.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from glance_tx.notify.errors import DeliveryFailed
from glance_tx.notify.interfaces import ITransport, Message

__all__ = ["Outbox", "OutboxCounts"]

_log = Logger()

_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0

# A broker that is away must not keep the daemon from ending.
_FLUSH_SECONDS: Final = 2.0


@frozen
class OutboxCounts:
    """
    Told what became of messages.

    :param delivered: Called for each that arrived.
    :param dropped: Called for each that was given up.
    """

    delivered: Callable[[], None]
    dropped: Callable[[], None]


class Outbox:
    """
    Sends messages one after another, in order, as soon as the other side takes them.

    While it is away they wait. Where more wait than there is room for, the oldest goes: what happened last matters
    most to whoever comes back. A message whose delivery was not confirmed is sent again, so one may arrive twice,
    under the same id.

    :param size: Messages that may wait.
    """

    def __init__(self, transport: ITransport, clock: IReactorTime, size: int, counts: OutboxCounts) -> None:
        self._transport = transport
        self._clock = clock
        self._size = size
        self._counts = counts
        self._waiting: deque[Message] = deque()
        self._sending: Deferred[None] | None = None
        self._away = False
        self._stopped = False

    @property
    def waiting(self) -> int:
        """
        How many messages wait.
        """
        return len(self._waiting)

    def put(self, message: Message) -> None:
        """
        Add a message.
        """
        if self._stopped:
            self._counts.dropped()
            return
        if len(self._waiting) >= self._size:
            self._waiting.popleft()
            self._counts.dropped()
        self._waiting.append(message)
        if self._sending is None:
            sending = self._sending = Deferred.fromCoroutine(self._send())
            sending.addErrback(lambda failure: failure.trap(CancelledError))
            sending.addErrback(lambda failure: _log.failure("notifications stopped", failure))
            if sending.called:  # all of it went out at once
                self._sending = None

    async def stop(self) -> None:
        """
        Send what waits as far as that is quick, and let go.
        """
        self._stopped = True
        sending = self._sending
        if sending is not None:
            timer = self._clock.callLater(_FLUSH_SECONDS, sending.cancel)
            await sending
            if timer.active():
                timer.cancel()
        if self._waiting:
            _log.warn(
                "{count} notifications to {transport} were not delivered",
                count=len(self._waiting),
                transport=self._transport.name,
            )
        await self._transport.close()

    async def _send(self) -> None:
        pause = _FIRST_PAUSE
        try:
            while self._waiting:
                message = self._waiting[0]
                try:
                    await self._transport.deliver(message)
                except DeliveryFailed as problem:
                    self._note_away(problem)
                    await deferLater(self._clock, pause)
                    pause = min(2 * pause, _LONGEST_PAUSE)
                    continue
                except CancelledError:
                    raise
                except Exception:  # one message that cannot be sent must not keep all others from it
                    _log.failure("a notification of {type} is given up", type=message.event.event_type)
                    self._counts.dropped()
                else:
                    pause = _FIRST_PAUSE
                    self._note_back()
                    self._counts.delivered()
                # It may have been dropped meanwhile, to make room.
                if self._waiting and self._waiting[0] is message:
                    self._waiting.popleft()
        finally:
            self._sending = None

    def _note_away(self, problem: DeliveryFailed) -> None:
        if not self._away:
            self._away = True
            _log.warn(
                "{transport} takes no notifications: {problem}; they wait",
                transport=self._transport.name,
                problem=str(problem),
            )

    def _note_back(self) -> None:
        if self._away:
            self._away = False
            _log.info("{transport} takes notifications again", transport=self._transport.name)
