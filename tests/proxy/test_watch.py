"""
Tests of what a node shows of itself.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from glance_cache.errors import TooManyWatchers
from glance_cache.events import Events, EventStream, IEventSource
from glance_cache.interfaces import HitTotals
from glance_cache.jobs import Job, JobState
from glance_cache.tally import Minute, Tally
from glance_cache.watch import Watch, WatchTools
from glance_cache.whole import Whole
from glance_tx.streaming.errors import BodyLost
from glance_tx.streaming.interfaces import IBodyReader
from tests.proxy.filling import FillTestCase
from tests.proxy.folders import DATA, IMAGE, OTHER
from tests.proxy.lookers import Counted, health_view, outage_view
from tests.proxy.test_management import LAST_AT, NODE, ManagementTestCase
from tests.web.raw import until


def events_in(text: bytes) -> list[tuple[str, Any]]:
    """
    Read events: kind, and what is said without the time.
    """
    found = []
    for block in text.split(b"\n\n"):
        lines = dict(line.split(b": ", 1) for line in block.split(b"\n") if b": " in line)
        if b"event" in lines:
            facts = json.loads(lines[b"data"])
            del facts["at"]
            found.append((lines[b"event"].decode(), facts))
    return found


class StreamTests(SynchronousTestCase):
    """
    `Events` and `EventStream`.
    """

    def setUp(self) -> None:
        self.events = Events(2)

    def read(self, stream: EventStream) -> Deferred[bytes]:
        return Deferred.fromCoroutine(stream.read(1))

    def test_everybody(self) -> None:
        """
        Everybody who watches is told what happens from then on; who reads late gets all of it at once.
        """
        first = self.events.open()
        verifyObject(IBodyReader, first)
        waiting = self.read(first)
        self.assertNoResult(waiting)
        self.events.publish("entry", 1.5, {"a": 1})
        self.assertEqual(self.successResultOf(waiting), b'event: entry\ndata: {"at":1.5,"a":1}\n\n')
        second = self.events.open()
        self.events.publish("job", 2.0, {})
        self.events.beat()
        for stream in (first, second):
            self.assertEqual(self.successResultOf(self.read(stream)), b'event: job\ndata: {"at":2.0}\n\n: \n\n')

    def test_most(self) -> None:
        """
        No more watch than may; who leaves makes room.
        """
        first = self.events.open()
        self.events.open()
        self.assertRaises(TooManyWatchers, self.events.open)
        self.events.close(first)
        self.events.open()
        self.assertEqual(self.events.watchers, 2)

    def test_slow(self) -> None:
        """
        Who takes nothing is dropped, with no more than a little kept for him; others notice nothing.
        """
        slow, quick = self.events.open(), self.events.open()
        for _ in range(300):
            self.events.publish("fill", 1.0, {"x": "y" * 1000})
            self.assertTrue(self.successResultOf(self.read(quick)))
        self.assertEqual((self.events.watchers, len(slow._waiting)), (1, 0))
        self.failureResultOf(self.read(slow), BodyLost)

    def test_cancelled(self) -> None:
        """
        A read that nobody waits for any more loses nothing.
        """
        stream = self.events.open()
        reading = self.read(stream)
        reading.cancel()
        self.failureResultOf(reading)
        self.events.publish("job", 2.0, {})
        self.assertIn(b"job", self.successResultOf(self.read(stream)))

    def test_stop(self) -> None:
        """
        Streams end in good order when the node stops, and so do those that are opened after.
        """
        stream = self.events.open()
        reading = self.read(stream)
        self.events.publish("job", 2.0, {})
        self.events.stop()
        self.assertIn(b"job", self.successResultOf(reading))
        self.assertEqual(self.successResultOf(self.read(stream)), b"")
        self.assertEqual(self.successResultOf(self.read(self.events.open())), b"")


class TallyTests(SynchronousTestCase):
    """
    `Tally`.
    """

    def test_tally(self) -> None:
        """
        Hits and answers are passed on, added up, and told by the second over the last minute.
        """
        counted, states = Counted(), list[str]()
        tally = Tally(counted, states.append)
        self.assertEqual(tally.rates()["hits"], 0.0)
        tally.sample(0.0)
        self.assertEqual(tally.rates()["hits"], 0.0)
        for second in range(1, 101):
            tally.count("hit")
            if second > 70:
                tally.record(IMAGE, 1000)
            tally.sample(float(second))
        self.assertEqual(tally.rates(), {"seconds": 60.0, "answers": 1.0, "hits": 0.5, "hit_bytes": 500.0})
        self.assertEqual((tally.hits, tally.hit_bytes, tally.answers["hit"], len(states)), (30, 30000, 100, 100))
        self.assertEqual(counted.hits[0], (IMAGE, 1000))

    def test_minutes(self) -> None:
        """
        What each minute brought is kept for three hours; a clock that is set back adds to the minute that there is.
        """
        tally = Tally(Counted(), lambda _: None)
        self.assertEqual(tally.minutes(), ())
        for second in range(90, 90 + 4 * 3600):
            tally.count("hit" if second % 2 else "fill")
            if second % 2:
                tally.record(IMAGE, 10)
            tally.sample(float(second))
        minutes = tally.minutes()
        self.assertEqual(len(minutes), 180)
        self.assertEqual([b.at - a.at for a, b in itertools.pairwise(minutes)], [60.0] * 179)
        self.assertEqual(set(minutes[:-1]), {Minute(m.at, 60, 30, 300) for m in minutes[:-1]})
        tally.count("offline")
        tally.sample(100.0)
        self.assertEqual(
            tally.minutes()[-1],
            Minute(minutes[-1].at, minutes[-1].answers + 1, minutes[-1].hits + 1, minutes[-1].hit_bytes),
        )


class WatchTests(FillTestCase):
    """
    `Watch` tells of what it sees.
    """

    def started(self) -> None:
        self.events = Events(2)
        self.reachable, self.offline = True, False
        tally, clock = Tally(Counted(), lambda _: None), self.world.clock
        whole = Whole(None, self.world.store, tally, self.health, self.outage, lambda _: None, clock)
        self.watch = Watch(WatchTools(whole, tally, self.events, clock))
        self.now(self.watch.start())

    def health(self) -> dict[str, Any]:
        return health_view(reachable=self.reachable)

    def outage(self) -> dict[str, Any]:
        return outage_view(1.0 if self.offline else None)

    def end(self) -> None:
        self.now(self.watch.stop())
        super().end()

    def seen(self, stream: EventStream) -> list[tuple[str, Any]]:
        self.world.clock.advance(1)
        return events_in(self.now(stream.read(1))) if stream._waiting else []

    def test_life_of_an_entry(self) -> None:
        """
        Fills are told of as they go on, entries when they change, and nothing is said twice.
        """
        self.world.clock.advance(1)
        for _ in range(2):
            stream = self.watch.open()
            self.assertEqual(self.seen(stream), [("health", {"index_reachable": True, "offline": False})])
        self.start()
        fill = {"image_id": IMAGE, "size": len(DATA)}
        began = [
            ("entry", {"image_id": IMAGE, "state": "filling"}),
            ("fill", {**fill, "present_bytes": 0, "progress": 0.0}),
        ]
        self.assertEqual(self.seen(stream), began)
        self.source.send(DATA[: len(DATA) // 2])
        self.assertEqual(self.seen(stream), [("fill", {**fill, "present_bytes": len(DATA) // 2, "progress": 0.5})])
        self.assertEqual(self.seen(stream), [])
        self.send(DATA[len(DATA) // 2 :])
        self.assertEqual(self.seen(stream), [("entry", {"image_id": IMAGE, "state": "complete"})])
        self.now(self.world.store.remove(IMAGE))
        self.assertEqual(self.seen(stream), [("entry", {"image_id": IMAGE, "state": "gone"})])
        self.reachable = False
        self.assertEqual(self.seen(stream), [("health", {"index_reachable": False, "offline": False})])
        self.offline = True
        self.assertEqual(self.seen(stream), [("health", {"index_reachable": False, "offline": True})])

    def test_at_once(self) -> None:
        """
        What becomes of an entry between the first look for a client and the one before it is told to that client.
        """
        self.now(self.world.fill(DATA, OTHER))
        self.world.clock.advance(1)
        verifyObject(IEventSource, self.watch)
        stream = self.watch.open()
        self.start()
        self.send(DATA)
        told = [facts for kind, facts in self.seen(stream) if kind == "entry"]
        self.assertEqual(told, [{"image_id": IMAGE, "state": "complete"}])
        self.watch.close(stream)
        self.assertEqual(self.events.watchers, 0)

    def test_heartbeat(self) -> None:
        """
        Where nothing happens the connection is shown to be one every 15 seconds.
        """
        stream = self.watch.open()
        self.seen(stream)
        for _ in range(14):
            self.world.clock.advance(1)
        self.assertEqual(self.now(stream.read(1)), b": \n\n")

    def test_told(self) -> None:
        """
        Jobs, evictions and damage are told of at once.
        """
        stream = self.watch.open()
        self.now(stream.read(1))
        job = Job(image_id=IMAGE, place=1, queued_at=1.0)
        self.watch.job(job, JobState.FAILED)
        self.watch.job(job, None)
        self.watch.evicted(OTHER, 4096)
        self.watch.damaged(OTHER)
        told = events_in(self.now(stream.read(1)))
        self.assertEqual([kind for kind, _ in told], ["job", "job", "evicted", "damaged"])
        self.assertEqual([facts.get("state") for _, facts in told], ["failed", "fetched", None, None])
        self.assertEqual(told[2][1], {"image_id": OTHER, "room": 4096})


class RouteTests(ManagementTestCase):
    """
    ``GET /v2/cache/stats`` and ``GET /v2/cache/events``.
    """

    async def test_stats(self) -> None:
        """
        Numbers of this node, and hits of all of them.
        """
        await self.put_in()
        await self.entries.pin(IMAGE)
        await self.enqueue(OTHER)
        await self.index.merge_hits(
            "other",
            dict.fromkeys((IMAGE, "project:p", "hour:2026-01-01T00"), HitTotals(3, 300, 1.0)),
            after="",
            mark="m",
        )
        self.tally.count("hit")
        self.tally.record(IMAGE, 10)
        answer = await self.ask_node("GET", "/v2/cache/stats")
        stats = json.loads(answer.body)
        self.assertEqual((stats["node"], stats["answers"], stats["hit_ratio"]), (NODE, {"hit": 1}, 1.0))
        self.assertEqual(stats["hits"], {"since_start": 1, "bytes_since_start": 10})
        self.assertEqual(stats["all_nodes"], {"images": 1, "hits": 3, "bytes_sent": 300})
        sums = {"hits": 3, "bytes_sent": 300}
        self.assertEqual(stats["by_node"], {"other": sums})
        self.assertEqual((stats["by_project"], stats["by_hour"]), ({"p": sums}, {"2026-01-01T00": sums}))
        disk = stats["disk"]
        self.assertEqual((disk["complete"], disk["filling"], disk["pinned"]), (1, 0, 1))
        self.assertEqual(disk["used_bytes"], self.entries.account.used_bytes)
        self.assertGreater(disk["free_bytes"], 0)
        self.assertEqual(stats["queue"], {"queued": 1, "running": 0, "failed": 0, "may_begin": True})
        self.assertEqual(stats["fills"], [])

    async def test_nodes(self) -> None:
        """
        The nodes that were heard of are listed, and the node itself as it is now; what one does not say is null.
        """
        await self.index.announce("other", {"version": "9.9", "hits": 7, "unheard_of": 1}, 100)
        await self.index.announce(NODE, {"version": "0.1", "entries": 1}, 100)
        nodes = json.loads((await self.ask_node("GET", "/v2/cache/nodes")).body)["nodes"]
        for node in nodes:
            self.assertGreater(node.pop("last_seen"), LAST_AT)
        silent = dict.fromkeys(
            ("version", "started_at", "entries", "used_bytes", "max_bytes", "hits", "bytes_sent", "rates")
        )
        self.assertEqual(
            nodes,
            [
                {**silent, "node": NODE, "version": "1.0", "entries": 3},
                {**silent, "node": "other", "version": "9.9", "hits": 7},
            ],
        )

    async def test_events(self) -> None:
        """
        A client is told as it happens; when it leaves, it is forgotten; no more may watch than are configured.
        """
        clients = []
        for _ in range(2):
            client = await self.request("GET", "/v2/cache/events", "X-Auth-Token: admin")
            head = await client.bytes_until(b"\r\n\r\n")
            self.assertIn(b"text/event-stream", head)
            self.assertIn(NODE.encode(), await client.bytes_until(b"\n\n"))
            clients.append(client)
        answer = await self.ask_node("GET", "/v2/cache/events")
        self.assertEqual((answer.status, answer.headers["retry-after"]), (503, "5"))
        self.events.publish("entry", 1.0, {"image_id": IMAGE})
        for client in clients:
            self.assertIn(IMAGE.encode(), await client.bytes_until(b"}\n\n"))
        clients[0].close()
        await until(lambda: self.events.watchers == 1)
        self.events.stop()
        self.assertIn(b"0\r\n\r\n", await clients[1].bytes_until(b"0\r\n\r\n"))
        await until(lambda: self.events.watchers == 0)
