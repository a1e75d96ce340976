"""
What one process of a node says of itself to the others, once a second.

Note [Bulletins]

Whoever manages a node asks any of its processes, and means all of them. So each tells the others what it is at, in a
message that replaces the one before: what is lost is made up for a second later, and what a process said is forgotten
when it ends. Nobody waits for a bulletin, and none grows without bounds: of entries in use, and of events, a bulletin
has so many at most, and of minutes those that changed. A process that has just begun asks for all minutes, once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import asdict, astuple, evolve, frozen

from glance_cache.entry import EntryInfo, EntryState
from glance_cache.tally import MOST_MINUTES, Minute, Tally

__all__ = ["MOST_EVENTS", "MOST_SIGHTINGS", "Bulletin", "Event", "Sighting", "sightings"]

MOST_SIGHTINGS: Final = 200
"""Entries in a bulletin: fills first, then what most clients read."""

MOST_EVENTS: Final = 200
"""Events in a bulletin; watchers of other processes do not hear of further ones of that second."""


@frozen
class Sighting:
    """
    An entry that a process fills, reads or repairs.

    :param key: See `Entry.key`.
    :param readers: How many clients read it by way of that process.
    """

    key: str
    state: EntryState
    present_bytes: int
    readers: int


@frozen
class Event:
    """
    Something that happened to one process, and that others cannot see in the folder.

    :param at: When, in seconds since the epoch.
    """

    kind: str
    at: float
    facts: Mapping[str, object]


@frozen(kw_only=True)
class Bulletin:
    """
    What one process says. See Note [Bulletins].

    :param process: Its number in the system.
    :param answers: See `Tally`, as the following ones.
    :param minutes: In their order; on the way, only those that changed since the bulletin before.
    :param sightings: Of entries.
    :param health: What the process depends on (see `Vitals.view`).
    :param outage: Whether it reaches the upstream (see `Outage.view`).
    :param events: That happened since the bulletin before.
    """

    process: int
    answers: Mapping[str, int]
    hits: int
    hit_bytes: int
    rates: Mapping[str, float]
    minutes: Sequence[Minute]
    sightings: Sequence[Sighting]
    health: Mapping[str, Any]
    outage: Mapping[str, Any]
    events: Sequence[Event] = ()

    @classmethod
    def of(
        cls,
        process: int,
        tally: Tally,
        in_use: Sequence[EntryInfo],
        health: Mapping[str, object],
        outage: Mapping[str, object],
    ) -> Bulletin:
        """
        Say how things are now.

        :param in_use: The entries that somebody does something with.
        """
        return cls(
            process=process,
            answers=dict(tally.answers),
            hits=tally.hits,
            hit_bytes=tally.hit_bytes,
            rates=tally.rates(),
            minutes=tally.minutes(),
            sightings=sightings(in_use),
            health=health,
            outage=outage,
        )

    def said(self) -> Mapping[str, object]:
        """
        Put it in a form that JSON can say.
        """
        lists: dict[str, Sequence[Any]] = {"minutes": self.minutes, "sightings": self.sightings, "events": self.events}
        plain = asdict(self, recurse=False)
        return {**plain, **{name: [astuple(each) for each in values] for name, values in lists.items()}}

    @classmethod
    def heard(cls, said: Any) -> Bulletin:
        """
        Read what `said` made.
        """
        return cls(
            **{
                **said,
                "minutes": tuple(Minute(*each) for each in said["minutes"]),
                "sightings": tuple(Sighting(key, EntryState(state), *rest) for key, state, *rest in said["sightings"]),
                "events": tuple(Event(*each) for each in said["events"]),
            }
        )

    def since(self, at: float, events: Sequence[Event]) -> Bulletin:
        """
        Make what others have to be told who know the minutes before one.

        :param at: When that minute began.
        """
        return evolve(self, minutes=tuple(minute for minute in self.minutes if minute.at >= at), events=tuple(events))

    def after(self, before: Bulletin | None) -> Bulletin:
        """
        Make what is known of a process once it has said this.

        :param before: What was known of it.
        """
        known = {minute.at: minute for minute in (*(() if before is None else before.minutes), *self.minutes)}
        minutes = tuple(known[at] for at in sorted(known))
        return evolve(self, minutes=minutes[-MOST_MINUTES:], events=())


def sightings(in_use: Sequence[EntryInfo]) -> Sequence[Sighting]:
    """
    Choose what to say of entries, where it is too much to say all.
    """
    first = sorted(in_use, key=lambda info: (info.state is not EntryState.FILLING, -info.readers, info.key))
    return tuple(Sighting(i.key, i.state, i.present_bytes, i.readers) for i in first[:MOST_SIGHTINGS])
