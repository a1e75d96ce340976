"""
What happens on this node, told to whoever watches: server-sent events.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

import orjson
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import Interface, implementer

from glance_cache.errors import TooManyWatchers
from glance_tx.streaming.errors import BodyLost
from glance_tx.streaming.interfaces import IBodyReader
from glance_tx.streaming.units import KiB

__all__ = ["EventStream", "Events", "IEventSource"]

_WAITING_BYTES: Final = 256 * KiB
"""A client that is so far behind is dropped."""

_HEARTBEAT: Final = b": \n\n"


@implementer(IBodyReader)
class EventStream:
    """
    The events for one client, for as long as it takes them.
    """

    length: int | None = None

    def __init__(self) -> None:
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._taken = 0
        self._reading: Deferred[None] | None = None
        self._ended = False
        self._overrun = False

    @property
    def over(self) -> bool:
        """
        Whether nothing more goes to this client.
        """
        return self._ended or self._overrun

    async def read(self, at_least: int) -> bytes:
        """
        See `IBodyReader.read`. Waits for an event; the body ends when the node stops.

        :raises BodyLost: The client took too little of what happened.
        """
        if not self._waiting and not self.over:
            self._reading = Deferred()
            try:
                await self._reading
            finally:
                self._reading = None
        if self._overrun:
            raise BodyLost(self._taken, "the client does not take what happens as fast as it does")
        taken, self._waiting, self._waiting_bytes = b"".join(self._waiting), deque(), 0
        self._taken += len(taken)
        return taken

    def put(self, event: bytes) -> None:
        """
        Add an event; drops a client that is too far behind.
        """
        if self.over:
            return
        self._waiting.append(event)
        self._waiting_bytes += len(event)
        if self._waiting_bytes > _WAITING_BYTES:
            self._overrun = True
            self._waiting.clear()
        self._tell()

    def end(self) -> None:
        """
        End in good order, after what was put.
        """
        self._ended = True
        self._tell()

    def _tell(self) -> None:
        if self._reading is not None and not self._reading.called:
            self._reading.callback(None)


class IEventSource(Interface):
    """
    Tells clients what happens.
    """

    def open() -> EventStream:
        """
        Begin to tell one client of all that happens from now on.

        :raises TooManyWatchers: There are too many.
        """

    def close(stream: EventStream) -> None:  # noqa: N805
        """
        Tell a client no more.
        """


@implementer(IEventSource)
class Events:
    """
    Passes on what happens to everybody who watches.

    :param most_watchers: As many may watch at the same time.
    """

    _log = Logger()

    def __init__(self, most_watchers: int) -> None:
        self._most_watchers = most_watchers
        self._streams: set[EventStream] = set()
        self._kept: dict[str, bytes] = {}
        self._stopped = False

    @property
    def watchers(self) -> int:
        """
        How many watch.
        """
        return len(self._streams)

    def open(self) -> EventStream:
        """
        Begin to tell one client (see `IEventSource`).
        """
        if len(self._streams) >= self._most_watchers:
            raise TooManyWatchers(self._most_watchers)
        stream = EventStream()
        for event in self._kept.values():
            stream.put(event)
        if self._stopped:
            stream.end()
        self._streams.add(stream)
        return stream

    def close(self, stream: EventStream) -> None:
        """
        See `IEventSource.close`.
        """
        stream.end()
        self._streams.discard(stream)

    def publish(self, kind: str, at: float, facts: Mapping[str, object], *, keep: bool = False) -> None:
        """
        Tell everybody of something.

        :param at: When, in seconds since the epoch.
        :param keep: Whether those who come later are told, too, until there is another event of that kind.
        """
        if not self._streams and not keep:
            return
        event = b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"at": round(at, 3), **facts}))
        if keep:
            self._kept[kind] = event
        self._put(event)

    def beat(self) -> None:
        """
        Show everybody that the connection still is one.
        """
        self._put(_HEARTBEAT)

    def stop(self) -> None:
        """
        End all streams, and those that are still to come.
        """
        self._stopped = True
        for stream in tuple(self._streams):
            stream.end()

    def _put(self, event: bytes) -> None:
        for stream in tuple(self._streams):
            stream.put(event)
            if stream.over:
                self._streams.discard(stream)
                self._log.info("a client that watches is too slow, and is dropped")
