"""
A node as it is, of which each process sees a part. See Note [Bulletins].
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from attrs import evolve, frozen
from twisted.internet.interfaces import IReactorTime

from glance_cache.bulletin import Bulletin, Event, Sighting
from glance_cache.bulletins import Bulletins
from glance_cache.entries import EntryStore
from glance_cache.entry import EntryInfo, EntryState
from glance_cache.interfaces import ISiblings
from glance_cache.tally import FROM_CACHE, MOST_MINUTES, Minute, Tally

__all__ = ["NodeEntries", "NodeTally", "Whole", "health_of_all", "outage_of_all"]

View = Callable[[], Mapping[str, Any]]
Others = Callable[[], Sequence[Bulletin]]
"""What the other processes said last."""


@frozen
class NodeEntries:
    """
    The entries as all processes together see them: one that another process fills or repairs is in that state, and
    those who read an entry are counted over all of them. What is not known here is not there: files are the truth.

    :param own: As this process sees them.
    """

    own: EntryStore
    others: Others

    def states(self) -> Mapping[str, EntryState]:
        """
        See `EntryStore.states`.
        """
        states = dict(self.own.states())
        for key, seen in self._sightings().items():
            if key in states:
                states[key] = _state(states[key], seen)
        return states

    def inventory(self) -> Sequence[EntryInfo]:
        """
        See `EntryStore.inventory`.
        """
        sightings = self._sightings()
        return [_seen(info, sightings.get(info.key, ())) for info in self.own.inventory()]

    def filling(self) -> Sequence[EntryInfo]:
        """
        List the entries that are being filled; cheaper than `inventory`.
        """
        sightings = self._sightings()
        keys = [key for key, state in self.states().items() if state is EntryState.FILLING]
        found = ((key, self.own.info(key)) for key in keys)
        return [_seen(info, sightings.get(key, ())) for key, info in found if info is not None]

    def _sightings(self) -> Mapping[str, Sequence[Sighting]]:
        sightings = defaultdict[str, list[Sighting]](list)
        for bulletin in self.others():
            for sighting in bulletin.sightings:
                sightings[sighting.key].append(sighting)
        return sightings


def _state(own: EntryState, seen: Iterable[Sighting]) -> EntryState:
    states = {sighting.state for sighting in seen}
    if own is EntryState.PARTIAL and EntryState.FILLING in states:
        return EntryState.FILLING
    # What was just completed is: the bulletin is of before.
    return EntryState.DAMAGED if own is EntryState.COMPLETE and EntryState.DAMAGED in states else own


def _seen(info: EntryInfo, seen: Sequence[Sighting]) -> EntryInfo:
    if not seen:
        return info
    state = _state(info.state, seen)
    present = info.present_bytes
    if state is EntryState.FILLING:
        present = max(present, *(sighting.present_bytes for sighting in seen))
    readers = info.readers + sum(sighting.readers for sighting in seen)
    return evolve(info, state=state, present_bytes=present, readers=readers)


@frozen
class NodeTally:
    """
    What all processes that run have served since each of them started (see `ITally`).

    :param own: By way of this process.
    """

    own: Tally
    others: Others

    @property
    def answers(self) -> Counter[str]:
        """
        See `ITally.answers`.
        """
        answers = Counter(self.own.answers)
        for bulletin in self.others():
            answers.update(bulletin.answers)
        return answers

    @property
    def from_cache(self) -> int:
        """
        See `ITally.from_cache`.
        """
        answers = self.answers
        return sum(answers[state] for state in FROM_CACHE)

    @property
    def hits(self) -> int:
        """
        See `ITally.hits`.
        """
        return self.own.hits + sum(bulletin.hits for bulletin in self.others())

    @property
    def hit_bytes(self) -> int:
        """
        See `ITally.hit_bytes`.
        """
        return self.own.hit_bytes + sum(bulletin.hit_bytes for bulletin in self.others())

    def rates(self) -> Mapping[str, float]:
        """
        See `ITally.rates`.
        """
        all_rates = [self.own.rates(), *(bulletin.rates for bulletin in self.others())]
        sums = {name: round(sum(rates[name] for rates in all_rates), 3) for name in all_rates[0]}
        return {**sums, "seconds": max(rates["seconds"] for rates in all_rates)}

    def minutes(self) -> Sequence[Minute]:
        """
        See `ITally.minutes`.
        """
        sums: dict[float, Minute] = {}
        for minutes in (self.own.minutes(), *(bulletin.minutes for bulletin in self.others())):
            for minute in minutes:
                sums[minute.at] = minute.plus(sums.get(minute.at))
        return tuple(sums[at] for at in sorted(sums))[-MOST_MINUTES:]


def health_of_all(own: Mapping[str, Any], others: Iterable[Mapping[str, Any]]) -> Mapping[str, object]:
    """
    Put together what processes say of that which they depend on: the worst counts, and what waits is added up.

    :param own: See `Vitals.view`.
    """
    views = [own, *others]
    heard = [view["changes_heard"] for view in views]
    return {
        **own,
        "upstreams": _upstreams([view["upstreams"] for view in views]),
        "index": {
            **own["index"],
            "reachable": all(view["index"]["reachable"] for view in views),
            "unsent": sum(view["index"]["unsent"] for view in views),
        },
        "offline_since": _earliest(view["offline_since"] for view in views),
        "changes_heard": None if None in heard else all(heard),
        "disk_full": any(view["disk_full"] for view in views),
    }


def _upstreams(views: Sequence[Sequence[Mapping[str, Any]]]) -> Sequence[Mapping[str, object]]:
    # While workers are replaced, others may have other ones.
    return [_upstream([view for of_one in views for view in of_one if view["url"] == own["url"]]) for own in views[0]]


def _upstream(views: Sequence[Mapping[str, Any]]) -> Mapping[str, object]:
    last = max(views, key=lambda view: view["last_error_at"] or 0.0)
    rests = [view["rests_until"] for view in views if view["rests_until"] is not None]
    return {
        **last,
        "well": all(view["well"] for view in views),
        "failures": max(view["failures"] for view in views),
        "rests_until": max(rests, default=None),
    }


def outage_of_all(own: Mapping[str, Any], others: Iterable[Mapping[str, Any]]) -> Mapping[str, object]:
    """
    Put together what processes say of the upstream's absence.

    :param own: See `Outage.view`.
    """
    views = [own, *others]
    return {
        **own,
        "since": _earliest(view["since"] for view in views),
        "times": max(view["times"] for view in views),
        "repeated": sum(view["repeated"] for view in views),
    }


def _earliest(times: Iterable[float | None]) -> float | None:
    return min((at for at in times if at is not None), default=None)


class Whole:
    """
    All processes of a node together, as far as this one knows.

    :param siblings: The other processes; ``None`` where there are none.
    :param entries: As this process sees them.
    :param tally: What it has served.
    :param health: See `Vitals.view`; asked when the node has started.
    :param outage: See `Outage.view`.
    :param happened: Told of each event of another process.
    :param process: This one's number in the system.
    :ivar entries: As all processes see them.
    :ivar tally: What all of them have served.
    """

    def __init__(
        self,
        siblings: ISiblings | None,
        entries: EntryStore,
        tally: Tally,
        health: View,
        outage: View,
        happened: Callable[[Event], object],
        clock: IReactorTime,
        process: int | None = None,
    ) -> None:
        self._process = os.getpid() if process is None else process
        self._bulletins = Bulletins(siblings, self._compose, happened, clock)
        self.entries = NodeEntries(entries, self._bulletins.others)
        self.tally = NodeTally(tally, self._bulletins.others)
        self._health = health
        self._outage = outage

    async def start(self) -> None:
        """
        Begin to tell the others of this process, and to hear of them.
        """
        await self._bulletins.start()

    async def stop(self) -> None:
        """
        Tell them no more.
        """
        await self._bulletins.stop()

    def event(self, kind: str, at: float, facts: Mapping[str, object]) -> None:
        """
        Have the others told of something that happened to this process (see `Event`).
        """
        self._bulletins.event(kind, at, facts)

    def health(self) -> Mapping[str, Any]:
        """
        Show how that does which the node depends on.
        """
        return health_of_all(self._health(), [bulletin.health for bulletin in self._bulletins.others()])

    def outage(self) -> Mapping[str, Any]:
        """
        Show whether the upstream can be reached.
        """
        return outage_of_all(self._outage(), [bulletin.outage for bulletin in self._bulletins.others()])

    def _compose(self) -> Bulletin:
        in_use = self.entries.own.in_use()
        return Bulletin.of(self._process, self.tally.own, in_use, self._health(), self._outage())
