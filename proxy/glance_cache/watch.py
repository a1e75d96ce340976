"""
A look at this node, every second.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from glance_cache.entry import EntryState
from glance_cache.events import Events, EventStream, IEventSource
from glance_cache.jobs import Job, JobState
from glance_cache.management_tools import job_view
from glance_cache.names import EntryName
from glance_cache.tally import Tally
from glance_cache.whole import Whole

__all__ = ["Watch", "WatchTools"]

_BEAT_SECONDS: Final = 15


@frozen
class WatchTools:
    """
    What is looked at.

    :param whole: The node, of which this process is a part.
    :param tally: This process's.
    """

    whole: Whole
    tally: Tally
    events: Events
    clock: IReactorTime


@implementer(IEventSource)
class Watch:
    """
    Tells those who watch what has changed: entries that came and went, fills that go on, jobs, evictions, damage, and
    whether the index answers. While nobody watches, only the rates are kept. What another process of the node is at is
    seen here (see `Whole`), and what happened to it is passed on.
    """

    _log = Logger()

    def __init__(self, tools: WatchTools) -> None:
        self._tools = tools
        self._states: Mapping[str, EntryState] | None = None
        self._present: dict[str, int] = {}
        self._healthy: tuple[bool, bool] | None = None
        self._looks = 0
        self._loop = LoopingCall(self._look)
        self._loop.clock = tools.clock

    async def start(self) -> None:
        """
        Begin to look.
        """
        self._loop.start(1.0).addErrback(lambda f: self._log.failure("a loop broke", f))

    async def stop(self) -> None:
        """
        Look no more.
        """
        if self._loop.running:
            self._loop.stop()

    def open(self) -> EventStream:
        """
        Begin to tell one client (see `IEventSource`).
        """
        stream = self._tools.events.open()
        if self._states is None:
            # What changes before the next look is told of, too.
            self._states = self._tools.whole.entries.states()
        return stream

    def close(self, stream: EventStream) -> None:
        """
        See `IEventSource.close`.
        """
        self._tools.events.close(stream)

    def _look(self) -> None:
        self._tools.tally.sample(self._tools.clock.seconds())
        self._look_at_health()
        if not self._tools.events.watchers:
            self._states = None
            return
        self._looks += 1
        self._look_at_entries()
        self._look_at_fills()
        if self._looks % _BEAT_SECONDS == 0:
            self._tools.events.beat()

    def _tell(self, kind: str, facts: Mapping[str, object]) -> None:
        self._tools.events.publish(kind, self._tools.clock.seconds(), facts)

    def _tell_all(self, kind: str, facts: Mapping[str, object]) -> None:
        self._tell(kind, facts)
        self._tools.whole.event(kind, self._tools.clock.seconds(), facts)

    def _look_at_entries(self) -> None:
        now, before = self._tools.whole.entries.states(), self._states or {}
        self._states = now
        for key in before.keys() - now.keys():
            self._tell("entry", {"image_id": _image_of(key), "state": "gone"})
        for key, state in now.items():
            if before.get(key) is not state:
                self._tell("entry", {"image_id": _image_of(key), "state": str(state)})

    def _look_at_fills(self) -> None:
        present = {}
        for info in self._tools.whole.entries.filling():
            present[info.key] = info.present_bytes
            if self._present.get(info.key) != info.present_bytes:
                progress = round(info.present_bytes / info.size_bytes, 4)
                facts = {"image_id": info.image_id, "size": info.size_bytes, "present_bytes": info.present_bytes}
                self._tell("fill", {**facts, "progress": progress})
        self._present = present

    def _look_at_health(self) -> None:
        healthy = (
            bool(self._tools.whole.health()["index"]["reachable"]),
            self._tools.whole.outage()["since"] is not None,
        )
        if healthy != self._healthy:
            facts = {"index_reachable": healthy[0], "offline": healthy[1]}
            self._tools.events.publish("health", self._tools.clock.seconds(), facts, keep=True)
        self._healthy = healthy

    def job(self, job: Job, state: JobState | None) -> None:
        """
        Tell of a job.

        :param state: What it is now; ``None`` where its image was fetched.
        """
        self._tell_all("job", {**job_view(job), "state": "fetched" if state is None else str(state)})

    def evicted(self, image_id: str, size_bytes: int) -> None:
        """
        Tell of an image that went to make room.
        """
        self._tell_all("evicted", {"image_id": image_id, "room": size_bytes})

    def damaged(self, image_id: str) -> None:
        """
        Tell of an image that turned out to be damaged.
        """
        self._tell_all("damaged", {"image_id": image_id})


def _image_of(key: str) -> str:
    name = EntryName.parse(key)
    return key if name is None else name.image_id
