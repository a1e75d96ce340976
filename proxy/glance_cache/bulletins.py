"""
How processes of one node hear of each other what they are at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from glance_cache.bulletin import MOST_EVENTS, Bulletin, Event
from glance_cache.interfaces import ISiblings

__all__ = ["Bulletins"]

_PAUSE_SECONDS: Final = 1.0

_BULLETIN: Final = "bulletin"
_WANTED: Final = "bulletins wanted"


class Bulletins:
    """
    Tells the other processes of this one, and knows what they said last. See Note [Bulletins].

    :param siblings: The others; ``None`` where there are none.
    :param compose: Makes what there is to say now.
    :param happened: Told of each event of another process.
    """

    _log = Logger()

    def __init__(
        self,
        siblings: ISiblings | None,
        compose: Callable[[], Bulletin],
        happened: Callable[[Event], object],
        clock: IReactorTime,
    ) -> None:
        self._siblings = siblings
        self._compose = compose
        self._happened = happened
        self._others: dict[int, Bulletin] = {}
        self._events: list[Event] = []
        self._told_at = float("-inf")
        self._loop = LoopingCall(self._tell)
        self._loop.clock = clock

    async def start(self) -> None:
        """
        Begin to tell and to hear.
        """
        if self._siblings is None:
            return
        self._siblings.hear(_BULLETIN, self._hear)
        self._siblings.hear(_WANTED, self._tell_all_next)
        self._siblings.hear_of_ends(self._forget)
        self._siblings.tell(_WANTED, None)
        self._loop.start(_PAUSE_SECONDS).addErrback(lambda f: self._log.failure("a loop broke", f))

    async def stop(self) -> None:
        """
        Tell no more.
        """
        if self._loop.running:
            self._loop.stop()

    def others(self) -> Sequence[Bulletin]:
        """
        Say what is known of each of the other processes.
        """
        return tuple(self._others.values())

    def event(self, kind: str, at: float, facts: Mapping[str, object]) -> None:
        """
        Have the others told of an event, with the next bulletin.
        """
        if self._siblings is not None and len(self._events) < MOST_EVENTS:
            self._events.append(Event(kind, at, facts))

    def _tell(self) -> None:
        assert self._siblings is not None  # noqa: S101  # or the loop does not run
        events, self._events = self._events, []
        bulletin = self._compose()
        self._siblings.tell(_BULLETIN, bulletin.since(self._told_at, events).said())
        self._told_at = max((minute.at for minute in bulletin.minutes), default=self._told_at)

    def _tell_all_next(self, _: object) -> None:
        self._told_at = float("-inf")

    def _hear(self, said: object) -> None:
        bulletin = Bulletin.heard(said)
        self._others[bulletin.process] = bulletin.after(self._others.get(bulletin.process))
        for event in bulletin.events:
            self._happened(event)

    def _forget(self, process: int) -> None:
        self._others.pop(process, None)
