"""
Tests of what all processes of a node together are, as each of them tells it.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from glance_cache.bulletin import MOST_EVENTS, MOST_SIGHTINGS, Bulletin, Event, sightings
from glance_cache.bulletins import Bulletins
from glance_cache.catalog import CHUNK_BYTES
from glance_cache.entry import EntryInfo, EntryState
from glance_cache.events import Events, EventStream
from glance_cache.tally import MOST_MINUTES, Minute, Tally
from glance_cache.watch import Watch, WatchTools
from glance_cache.whole import Whole, health_of_all, outage_of_all
from tests.doubles.siblings import Family, Sibling
from tests.proxy.folders import DATA, IMAGE, OTHER
from tests.proxy.lookers import Counted, health_view, outage_view
from tests.proxy.test_siblings import Process, SiblingsTestCase
from tests.proxy.test_watch import events_in


class Looker:
    """
    One process of a node, as somebody sees it who manages the node.
    """

    def __init__(self, process: Process, sibling: Sibling, number: int) -> None:
        world = self.world = process.world
        self.tally = Tally(Counted(), lambda _: None)
        self.events = Events(5)
        self.whole = Whole(
            sibling, world.store, self.tally, self.health, outage_view, self.happened, world.clock, number
        )
        self.watch = Watch(WatchTools(self.whole, self.tally, self.events, world.clock))
        self.reachable = True

    def happened(self, event: Event) -> None:
        self.events.publish(event.kind, event.at, event.facts)

    def health(self) -> dict[str, Any]:
        return health_view(reachable=self.reachable)

    def entry(self) -> EntryInfo:
        (info,) = self.whole.entries.inventory()
        return info


class WholeTestCase(SiblingsTestCase):
    """
    Two processes, which tell each other what they are at.
    """

    def setUp(self) -> None:
        super().setUp()
        members = self.family.members
        self.lookers = [
            Looker(process, member, number)
            for number, (process, member) in enumerate(zip((self.first, self.second), members, strict=True))
        ]
        for looker in self.lookers:
            for part in (looker.whole, looker.watch):
                self.successResultOf(Deferred.fromCoroutine(part.start()))
        self.one, self.two = self.lookers

    def end(self) -> None:
        for looker in self.lookers:
            for part in (looker.whole, looker.watch):
                self.successResultOf(Deferred.fromCoroutine(part.stop()))
        super().end()

    def pass_second(self) -> None:
        """
        Let all tell what they have to, and look at what they were told.
        """
        for _ in range(2):
            for looker in self.lookers:
                looker.world.clock.advance(1)

    def seen(self, stream: EventStream) -> list[tuple[str, Any]]:
        """
        What a client was told that watches.
        """
        if not stream._waiting:
            return []
        return events_in(self.successResultOf(Deferred.fromCoroutine(stream.read(1))))


class NodeTests(WholeTestCase):
    """
    What one process is at all of them tell.
    """

    def test_a_fill_of_another(self) -> None:
        """
        A fill shows in every process, with how far it is and with all who read it; and so it does no more when it has
        come to its end.
        """
        self.both(CHUNK_BYTES + 1000)
        self.pass_second()
        seen = [looker.entry() for looker in self.lookers]
        self.assertEqual({info.state for info in seen}, {EntryState.FILLING})
        self.assertEqual({info.present_bytes for info in seen}, {CHUNK_BYTES + 1000})
        self.assertEqual({info.readers for info in seen}, {2})
        for looker in self.lookers:
            self.assertEqual([info.image_id for info in looker.whole.entries.filling()], [IMAGE])
            self.assertEqual(list(looker.whole.entries.states().values()), [EntryState.FILLING])
        self.send(self.first, DATA[CHUNK_BYTES + 1000 :])
        # The bulletins are of before, and what is whole is.
        self.assertEqual({looker.entry().state for looker in self.lookers}, {EntryState.COMPLETE})
        self.assertEqual([looker.whole.entries.filling() for looker in self.lookers], [[], []])
        self.pass_second()
        self.assertEqual([looker.entry().present_bytes for looker in self.lookers], [len(DATA)] * 2)

    def test_readers_of_another(self) -> None:
        """
        Those who read what is whole are counted over all processes.
        """
        self.successResultOf(Deferred.fromCoroutine(self.first.world.fill()))
        bodies = [
            self.successResultOf(Deferred.fromCoroutine(process.world.store.open(self.facts())))
            for process in (self.first, self.second, self.second)
        ]
        self.pass_second()
        self.assertEqual([looker.entry().readers for looker in self.lookers], [3, 3])
        for body in bodies:
            assert body is not None
            body.close()
        self.pass_second()
        self.assertEqual([looker.entry().readers for looker in self.lookers], [0, 0])

    def facts(self) -> Any:
        return self.first.upstream.facts[IMAGE]

    def test_the_part_of_a_process_that_ended(self) -> None:
        """
        What a process said vanishes with it, fills included: nobody goes on with them.
        """
        self.reader(self.first, self.successResultOf(self.ask(self.first)))
        self.first.upstream.sources[-1].send(DATA[:1000])
        self.one.tally.count("fill")
        self.pass_second()
        self.assertEqual(self.two.entry().state, EntryState.FILLING)
        self.assertEqual(self.two.whole.tally.answers, {"fill": 1})
        self.family.members[1].learn_of_end(0)
        self.assertEqual(self.two.entry().state, EntryState.PARTIAL)
        self.assertEqual(self.two.whole.tally.answers, {})

    def test_numbers(self) -> None:
        """
        Answers, hits, rates and minutes are those of all processes, whichever is asked.
        """
        self.pass_second()
        for looker, times in zip(self.lookers, (2, 3), strict=True):
            for _ in range(times):
                looker.tally.count("hit")
                looker.tally.record(IMAGE, 100)
            looker.tally.count("offline" if times == 2 else "fill")
        self.pass_second()
        for looker in self.lookers:
            tally = looker.whole.tally
            self.assertEqual(tally.answers, {"hit": 5, "offline": 1, "fill": 1})
            self.assertEqual((tally.from_cache, tally.hits, tally.hit_bytes), (6, 5, 500))
            rates = tally.rates()
            self.assertAlmostEqual(rates["hit_bytes"], 100 * rates["hits"], places=0)
            self.assertGreater(rates["hits"], looker.tally.rates()["hits"])
            self.assertLess(rates["seconds"], 10)
            minutes = tally.minutes()
            self.assertEqual(sum(minute.answers for minute in minutes), 7)
            self.assertEqual(sum(minute.hits for minute in minutes), 6)
            self.assertEqual(sum(minute.hit_bytes for minute in minutes), 500)
            self.assertEqual(len({minute.at for minute in minutes}), len(minutes))

    def test_events(self) -> None:
        """
        Whoever watches by way of one process hears what happens in all of them, each thing once.
        """
        streams = [looker.watch.open() for looker in self.lookers]
        self.pass_second()
        for stream in streams:
            self.seen(stream)
        self.reader(self.first, self.successResultOf(self.ask(self.first)))
        self.first.upstream.sources[-1].send(DATA[: len(DATA) // 2])
        self.one.watch.evicted(OTHER, 4096)
        self.two.watch.damaged(OTHER)
        self.pass_second()
        for stream in streams:
            told = sorted((kind, facts.get("state") or facts.get("progress")) for kind, facts in self.seen(stream))
            states = [("damaged", None), ("entry", "filling"), ("evicted", None), ("fill", 0.5)]
            # By way of another process it may have been there before it was seen to go on.
            self.assertEqual([each for each in told if each != ("entry", "partial")], states)
        self.send(self.first, DATA[len(DATA) // 2 :])
        self.pass_second()
        for stream in streams:
            self.assertEqual(self.seen(stream), [("entry", {"image_id": IMAGE, "state": "complete"})])
        self.pass_second()
        self.assertEqual([self.seen(stream) for stream in streams], [[], []])

    def test_health(self) -> None:
        """
        Where one process cannot reach the index all say so, to those who watch as well.
        """
        stream = self.two.watch.open()
        self.pass_second()
        self.seen(stream)
        self.one.reachable = False
        self.pass_second()
        self.assertEqual(self.seen(stream), [("health", {"index_reachable": False, "offline": False})])
        self.assertFalse(self.two.whole.health()["index"]["reachable"])
        self.assertIsNone(self.two.whole.outage()["since"])


class BulletinsTests(SynchronousTestCase):
    """
    `Bulletins`: how often, and how much.
    """

    def setUp(self) -> None:
        self.family = Family()
        self.clock = Clock()
        self.tallies: list[Tally] = []
        self.happened: list[Event] = []
        self.heard: list[Any] = []
        self.family.join().hear("bulletin", self.heard.append)

    def join(self) -> Bulletins:
        tally, number = Tally(Counted(), lambda _: None), len(self.tallies)
        self.tallies.append(tally)

        def compose() -> Bulletin:
            return Bulletin.of(number, tally, [], health_view(), outage_view())

        bulletins = Bulletins(self.family.join(), compose, self.happened.append, self.clock)
        self.successResultOf(Deferred.fromCoroutine(bulletins.start()))
        self.addCleanup(lambda: self.successResultOf(Deferred.fromCoroutine(bulletins.stop())))
        return bulletins

    def test_once_a_second(self) -> None:
        """
        However much happens there is one bulletin a second, and nothing after the end.
        """
        bulletins = self.join()
        del self.heard[:]
        for number in range(30):
            bulletins.event("damaged", float(number), {})
            self.clock.advance(0.1)
        self.assertEqual(len(self.heard), 3)
        self.successResultOf(Deferred.fromCoroutine(bulletins.stop()))
        self.clock.advance(10)
        self.assertEqual(len(self.heard), 3)

    def test_events_are_bounded(self) -> None:
        """
        So many events are passed on, and each once.
        """
        first, _ = self.join(), self.join()
        for number in range(MOST_EVENTS + 5):
            first.event("damaged", float(number), {"image_id": IMAGE})
        self.clock.advance(1)
        self.assertEqual([event.at for event in self.happened], [float(number) for number in range(MOST_EVENTS)])
        self.assertEqual(self.happened[0], Event("damaged", 0.0, {"image_id": IMAGE}))
        self.clock.advance(1)
        self.assertEqual(len(self.happened), MOST_EVENTS)

    def test_minutes(self) -> None:
        """
        Minutes are told as they change; a process that comes later gets all there are, once.
        """
        first, tally = self.join(), self.tallies[0]
        for second in range(601):
            tally.count("hit")
            tally.sample(float(second))
            if second % 30 == 0:
                self.clock.advance(1)
        self.assertLessEqual(max(len(said["minutes"]) for said in self.heard), 2)
        late = self.join()
        self.assertEqual(late.others(), ())
        self.clock.advance(1)
        (known,) = late.others()
        self.assertEqual(known.minutes, tally.minutes())
        self.assertEqual(len(known.minutes), 11)
        self.clock.advance(1)
        self.assertEqual(len(self.heard[-2]["minutes"]) + len(self.heard[-1]["minutes"]), 1)
        self.assertEqual(late.others()[0].minutes, tally.minutes())
        self.assertEqual(len(first.others()), 1)

    def test_alone(self) -> None:
        """
        A single process tells nobody, and keeps nothing for others.
        """
        bulletins = Bulletins(None, self.fail, self.happened.append, self.clock)
        self.successResultOf(Deferred.fromCoroutine(bulletins.start()))
        bulletins.event("damaged", 1.0, {})
        self.assertEqual((bulletins.others(), self.clock.getDelayedCalls()), ((), []))
        self.successResultOf(Deferred.fromCoroutine(bulletins.stop()))


class BulletinTests(SynchronousTestCase):
    """
    `Bulletin`.
    """

    def test_minutes_are_bounded(self) -> None:
        """
        Of another process as many minutes are kept as of this one, the last ones.
        """
        known: Bulletin | None = None
        for number in range(MOST_MINUTES + 5):
            known = self.bulletin(Minute(60.0 * number, 1), Minute(60.0 * number + 60)).after(known)
        assert known is not None
        self.assertEqual(len(known.minutes), MOST_MINUTES)
        self.assertEqual([minute.answers for minute in known.minutes[-3:]], [1, 1, 0])

    def bulletin(self, *minutes: Minute) -> Bulletin:
        return Bulletin(
            process=1,
            answers={},
            hits=0,
            hit_bytes=0,
            rates={},
            minutes=minutes,
            sightings=(),
            health={},
            outage={},
        )

    def test_sightings_are_bounded(self) -> None:
        """
        Where too much is in use, fills are told first, and then what most clients read.
        """
        many = [self.info(number, EntryState.COMPLETE, number) for number in range(MOST_SIGHTINGS)]
        filling = self.info(0, EntryState.FILLING, 999)
        told = sightings([*many, filling])
        self.assertEqual(len(told), MOST_SIGHTINGS)
        self.assertEqual((told[0].key, told[0].state), ("999", EntryState.FILLING))
        self.assertEqual([seen.readers for seen in told[1:3]], [MOST_SIGHTINGS - 1, MOST_SIGHTINGS - 2])
        self.assertEqual(told[-1].readers, 1)

    def info(self, readers: int, state: EntryState, key: int) -> EntryInfo:
        return EntryInfo(
            key=str(key),
            image_id=IMAGE,
            size_bytes=10,
            present_bytes=5,
            state=state,
            verified=True,
            pinned=False,
            last_verified=None,
            last_modified=1.0,
            users=readers,
            readers=readers,
        )


class TogetherTests(SynchronousTestCase):
    """
    What processes depend on: the worst counts.
    """

    def test_health(self) -> None:
        """
        One process that cannot reach something, or hears of no changes, is enough; what waits is added up.
        """
        well = {"url": "http://a", "well": True, "failures": 1, "rests_until": None}
        well |= {"last_error": "old", "last_error_at": 5.0}
        other = {**well, "url": "http://b", "last_error": None, "last_error_at": None}
        sick = {**well, "well": False, "failures": 3, "rests_until": 99.0, "last_error": "new", "last_error_at": 9.0}
        mine = health_view(unsent=2, upstreams=[well, other], changes_heard=True)
        theirs = health_view(reachable=False, unsent=3, upstreams=[sick], changes_heard=False, disk_full=True)
        for own, others in ((mine, theirs), ({**theirs, "upstreams": [sick, other]}, {**mine, "upstreams": [well]})):
            self.assertEqual(
                health_of_all(own, [others]),
                health_view(reachable=False, unsent=5, upstreams=[sick, other], changes_heard=False, disk_full=True),
            )
        self.assertEqual(health_of_all(mine, []), mine)
        since = health_of_all(mine, [health_view(offline_since=7.0, changes_heard=True)])
        self.assertEqual((since["offline_since"], since["changes_heard"]), (7.0, True))

    def test_outage(self) -> None:
        """
        A node is offline since the first of its processes was, as often as the one that was most often.
        """
        together = outage_of_all(outage_view(None, 1, 4), [outage_view(9.0, 3, 2), outage_view(7.0, 2, 1)])
        self.assertEqual(together, outage_view(7.0, 3, 7))
