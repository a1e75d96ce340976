"""
One caching node: what it is made of, and in which order that starts.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from glance_cache.cache import Cache
from glance_cache.changes import ImageChanges
from glance_cache.chunks import UpstreamChunks
from glance_cache.connecting import make_client, make_connections
from glance_cache.dashboard.routes import DashboardRoutes
from glance_cache.disk import DiskWatch
from glance_cache.entries import EntryStore
from glance_cache.errors import EntryCorrupt
from glance_cache.events import Events
from glance_cache.eviction import LeastFrequentlyUsed
from glance_cache.faults import cache_faults
from glance_cache.files import FileOps
from glance_cache.fill_options import FillSettings
from glance_cache.fills import Fills, FillTools
from glance_cache.folder import CacheFolder
from glance_cache.gauges import show_repairs, show_room, show_scrub, show_upstreams, show_work
from glance_cache.grants import Grants
from glance_cache.hit_journal import HitJournal
from glance_cache.hit_options import HitSettings
from glance_cache.hits import HitCounter
from glance_cache.identity import NodeIdentity
from glance_cache.index_redis import RedisIndex
from glance_cache.index_sqlite import SqliteIndex
from glance_cache.interfaces import ICacheIndex
from glance_cache.jobs import Job, JobState
from glance_cache.links import Links
from glance_cache.management import mount_management
from glance_cache.management_tools import ManagementTools
from glance_cache.managers import Managers
from glance_cache.neighbors import Neighbors, SelfReport
from glance_cache.node_hits import NodeHits, Orphans
from glance_cache.offline_options import OfflineSettings
from glance_cache.options import CacheSettings, StorageSettings, UpstreamSettings
from glance_cache.outage import Outage
from glance_cache.pace import Bandwidth
from glance_cache.passthrough import PassThrough
from glance_cache.prefetch import Prefetcher
from glance_cache.prefetch_options import PrefetchSettings
from glance_cache.prefetch_run import PrefetchTools
from glance_cache.projects import Projects
from glance_cache.reach import PROBE_SECONDS
from glance_cache.recheck import Recheck, RecheckTools
from glance_cache.room_options import RoomSettings
from glance_cache.routes import ClientRoutes, without_minor_version
from glance_cache.schedule import minute_of_day
from glance_cache.scrub import Scrubber
from glance_cache.scrub_options import ScrubSettings
from glance_cache.seats import FIRST_SEAT, Seats
from glance_cache.siblings import Siblings
from glance_cache.space import SpaceAccount
from glance_cache.steward import Steward
from glance_cache.tally import Tally
from glance_cache.upstream import GlanceUpstream
from glance_cache.vitals import Vitals
from glance_cache.watch import Watch, WatchTools
from glance_cache.whole import Whole
from glance_tx.identity.strategies import challenge
from glance_tx.notify.recipients import Recipients
from glance_tx.notify.redis import CHANGES
from glance_tx.redis.client import RedisClient
from glance_tx.redis.options import make_redis, make_subscription
from glance_tx.settings import Settings
from glance_tx.settings.daemon import RedisSettings, ThreadSettings
from glance_tx.settings.watch import Source
from glance_tx.streaming.interfaces import ILane
from glance_tx.streaming.lanes import BodyThreads, Lanes
from glance_tx.telemetry.health import HealthChecks
from glance_tx.telemetry.lag import ReactorLag
from glance_tx.telemetry.metrics import Metrics, service_seconds
from glance_tx.tls.client import ClientTls
from glance_tx.web.daemon import IPart, Part
from glance_tx.web.edge import Edge
from glance_tx.web.healthfile import HealthcheckSettings, watch_disable_file
from glance_tx.web.ports import PortsTls
from glance_tx.web.watching import watch_files, watch_lanes
from glance_tx.workers.options import WorkerSettings

__all__ = ["METRICS", "Node"]

_log = Logger()

METRICS: Final = "glance_cache"
"""Begins the names of all metrics."""

_PATIENCE_STALLS: Final = 5.0
"""A fill outlasts that many connections that stall one after the other."""


class Node:
    """
    One caching node, or one process of it.

    :param seat: This process's (see Note [Seats]).
    :param join: Gets what this process counts, and makes the way to the other processes; ``None`` where there are none.
    :ivar siblings: That way.
    """

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        identity: NodeIdentity,
        managers: Managers,
        tls: PortsTls,
        upstream_tls: ClientTls,
        to_redis: ClientTls | None,
        watched: Sequence[Source[Any]],
        seat: int = FIRST_SEAT,
        join: Callable[[Metrics], Siblings | None] = lambda _: None,
    ) -> None:
        self._reactor = reactor
        self._seat = seat
        self._settings = settings
        self._identity = identity
        self._redis_tls = to_redis
        self._own_credentials = identity.own_credentials(settings)
        cache_settings = settings[CacheSettings]
        self._lanes = Lanes(reactor, BodyThreads(0, settings[ThreadSettings].body_threads, "bodies"))
        checks = HealthChecks(reactor)
        watch_disable_file(checks, settings[HealthcheckSettings], self._lanes)
        faults = cache_faults(challenge(settings))
        self.edge = Edge(reactor, settings, checks, faults, METRICS, rewrite=without_minor_version, tls=tls)
        self.siblings = join(self.edge.metrics)
        self._redis_seconds = service_seconds(self.edge.metrics, "redis", "commands take")
        self._connections = make_connections(reactor)
        upstream = settings[UpstreamSettings]
        told = show_upstreams(self.edge.metrics, upstream.urls)
        self._outage = Outage(
            reactor,
            settings[OfflineSettings],
            self.edge.metrics,
            lambda: self._client.probe(PROBE_SECONDS),
            None if identity.strategy is None else identity.strategy.identity,
        )
        self._client = make_client(reactor, self._connections, upstream, upstream_tls, told, self._outage.answered)
        self._upstream = GlanceUpstream(self._client, reactor)
        self.events = Events(cache_settings.event_clients)
        self._chunks = UpstreamChunks(self._upstream, reactor, self._own_credentials)
        self._entries = self._make_entries()
        self._index = self._make_index()
        self._seats = Seats(settings[StorageSettings].folder, cache_settings.node_name, FileOps())
        self._hits = self._make_hits(seat, self._lanes.lane("hits"))
        self._node_hits = NodeHits(self._hits, self._seats, seat, self._lanes.lane("hits-of-others"), reactor)
        self._orphans = self._make_orphans()
        self._steward = Steward(
            settings[StorageSettings].folder / "steward", FileOps(), self._lanes.lane("steward"), reactor, self._lead
        )
        self._projects = self._make_projects()
        self._tally = self._make_tally()
        self._recipients = self._make_recipients()
        self._grants = Grants(
            self._upstream,
            self._outage.uptime,
            float(cache_settings.grant_ttl_seconds),
            self._outage.holders,
            living_on=self._outage.living_on,
            siblings=self.siblings,
        )
        self._fills = self._make_fills()
        self._cache = Cache(self._entries, self._fills, settings[RoomSettings].max_image_bytes or None, self._chunks)
        self._disk_watch = DiskWatch(self._entries.housekeeping.free_bytes, reactor)
        self._prefetcher = self._make_prefetcher()
        self._changes = self._make_changes()
        self._subscription = make_subscription(
            reactor, settings[RedisSettings], to_redis, channel=CHANGES, listener=self._changes
        )
        self._vitals = self._make_vitals()
        self._whole = Whole(
            self.siblings,
            self._entries,
            self._tally,
            self._vitals.view,
            self._outage.view,
            lambda event: self.events.publish(event.kind, event.at, event.facts),
            reactor,
        )
        self._watch = Watch(WatchTools(self._whole, self._tally, self.events, reactor))
        self._neighbors = self._make_neighbors(cache_settings.node_name)
        self._scanning: Deferred[None] | None = None
        self._mount(managers)
        watch_lanes(self._lanes, self.edge.metrics)
        show_room(self.edge.metrics, self._entries.account)
        self._scrubber = self._make_scrubber()
        show_work(self.edge.metrics, self._fills, self._hits, self._grants, self._changes)
        self._file_watch = watch_files(settings, watched, self._lanes, reactor, self.edge.metrics)

    def parts(self) -> list[IPart]:
        """
        List what starts, in order.
        """
        return [
            ReactorLag(self._reactor, self.edge.metrics),
            self._lanes,
            Part(stop=self._connections.closeCachedConnections),
            Part(stop=self._identity.stop),
            self._entries,
            self._outage.sealing(self._settings[StorageSettings].folder, self._lanes.lane("offline"), self._grants),
            self._index,
            self._hits,
            self._node_hits,
            self._recipients,
            Part(self._begin_scan, self._end_scan),
            Part(self._listen, self._stop_listening),
            Part(stop=self._stop_work),
            self._file_watch,
            self._whole,
            self._watch,
            self._disk_watch,
            Part(stop=self._stop_leading),
            self._steward,
            *([] if self._scrubber is None else [self._scrubber]),
        ]

    def sibling_died(self) -> None:
        """
        Find out what another process of this node left.
        """
        self._entries.sibling_died()

    def _lead(self) -> None:
        """
        Do what only one process of the node does, from now on.
        """
        self._orphans.begin()
        self._changes.recheck()
        # Which begins at once, and does not wait.
        Deferred.fromCoroutine(self._neighbors.start())
        if self._prefetcher is not None:
            self._prefetcher.start()

    async def _stop_leading(self) -> None:
        if self._prefetcher is not None:
            await self._prefetcher.stop()
        await self._orphans.stop()
        await self._neighbors.stop()

    def _make_entries(self) -> EntryStore:
        storage, room = self._settings[StorageSettings], self._settings[RoomSettings]
        corrupt = self.edge.metrics.counter("corrupt_entries", "Cached images of which a chunk was found damaged.")

        def on_corrupt(error: EntryCorrupt) -> None:
            corrupt.inc()
            self._watch.damaged(error.image_id)
            _log.error("{error}", error=str(error))

        evicted = self.edge.metrics.counter("evicted_entries", "Cached images removed to make room.")

        def on_evict(image_id: str, size_bytes: int) -> None:
            evicted.inc()
            self._watch.evicted(image_id, size_bytes)

        entries = EntryStore(
            CacheFolder(storage.folder, FileOps()),
            SpaceAccount(storage.max_size_bytes),
            LeastFrequentlyUsed(),
            self._lanes,
            self._reactor,
            on_corrupt,
            storage.max_size_bytes * room.low_water_percent // 100,
            on_evict,
            storage.max_size_bytes * room.high_water_percent // 100,
            chunks=self._chunks,
            siblings=self.siblings,
        )
        if entries.repairs is not None:
            show_repairs(self.edge.metrics, entries.repairs.counts)
        return entries

    def _make_scrubber(self) -> Scrubber | None:
        settings = self._settings[ScrubSettings]
        if not settings.bytes_per_second:
            return None
        scrubber = self._entries.scrubber(settings.bytes_per_second, settings.interval_seconds)
        show_scrub(self.edge.metrics, scrubber.counts)
        return scrubber

    def _make_fills(self) -> Fills:
        patience_seconds = _PATIENCE_STALLS * self._settings[UpstreamSettings].stall_seconds
        settings, processes = self._settings[FillSettings], max(1, self._settings[WorkerSettings].count)
        bytes_per_second = -(-settings.bytes_per_second // processes)
        tools = FillTools(
            self._upstream,
            self._entries,
            self._lanes,
            self._reactor,
            patience_seconds,
            self._own_credentials,
            Bandwidth(self._reactor, bytes_per_second) if bytes_per_second else None,
            settings.abandon_below_percent,
        )
        return Fills(tools, -(-settings.most // processes))

    def _make_redis(self) -> RedisClient | None:
        observe = self._redis_seconds.observe
        return make_redis(self._reactor, self._settings[RedisSettings], self._redis_tls, observe)

    def _make_recipients(self) -> Recipients:
        # A connection of its own: what the index says to Redis must not wait behind it.
        prefix = self._settings[RedisSettings].prefix
        return Recipients.make(
            self._reactor, self._settings, self.edge.metrics, _now, redis=self._make_redis(), redis_prefix=prefix
        )

    def _make_index(self) -> ICacheIndex:
        redis = self._make_redis()
        if redis is not None:
            return RedisIndex(redis, self._settings[RedisSettings].prefix)
        path = self._settings[StorageSettings].folder / "index.sqlite"
        return SqliteIndex(path, self._lanes.lane("index"), self._reactor)

    def _make_hits(self, seat: int, lane: ILane) -> HitCounter:
        name, hours = self._seats.counter(seat), self._settings[HitSettings].kept_hours
        journal = HitJournal(self._seats.journal(seat), name, FileOps())
        return HitCounter(journal, lane, self._index, name, self._reactor, kept_hours=hours)

    def _make_orphans(self) -> Orphans:
        lane = self._lanes.lane("orphans")
        make = partial(self._make_hits, lane=lane)
        return Orphans(self._seats, self._seat, lane, self._reactor, make, self._hits)

    def _make_neighbors(self, node: str) -> Neighbors:
        report = SelfReport(self._entries, self._node_hits, self._whole.tally, self._reactor.seconds())
        return Neighbors(self._index, node, report.now, self._reactor)

    def _make_tally(self) -> Tally:
        answers = self.edge.metrics.counter("data_answers", "Answers with image data, by X-Cache.", ["state"])
        series = cache(answers.labels)
        return Tally(self._hits, lambda state: series(state).inc())

    def _make_projects(self) -> Projects | None:
        strategy = self._identity.strategy
        if not self._settings[HitSettings].by_project:
            return None
        return Projects(None if strategy is None else strategy.identity)

    def _make_prefetcher(self) -> Prefetcher | None:
        credentials = self._own_credentials
        if credentials is None:
            return None
        settings, reactor = self._settings[PrefetchSettings], self._reactor
        jobs = self.edge.metrics.counter("prefetches", "Images of the queue, by what became of them.", ["outcome"])

        def told(job: Job, state: JobState | None) -> None:
            self._watch.job(job, state)
            if state is not JobState.RUNNING:
                jobs.labels("fetched" if state is None else "again" if state is JobState.QUEUED else "given up").inc()

        def may_begin() -> bool:
            return settings.window is None or settings.window.has(minute_of_day(reactor.seconds()))

        tools = PrefetchTools(
            cache=self._cache,
            upstream=self._upstream,
            index=self._index,
            node=self._settings[CacheSettings].node_name,
            worker=secrets.token_hex(8),
            credentials=credentials,
            clock=reactor,
            told=told,
            attempts=settings.attempts,
            bandwidth=Bandwidth(reactor, settings.bytes_per_second) if settings.bytes_per_second else None,
        )
        return Prefetcher(tools, settings.concurrency, may_begin, self.siblings)

    def _make_changes(self) -> ImageChanges:
        metrics = self.edge.metrics
        gone = metrics.counter("deleted_entries", "Cached images that turned out to be deleted when they were checked.")
        heard = metrics.counter("changes_heard", "Changes to images that the image service told of by way of Redis.")
        credentials, per_second = self._own_credentials, self._settings[CacheSettings].recheck_per_second
        recheck = None
        if credentials is not None and per_second:
            tools = RecheckTools(self._entries, self._upstream, credentials, self._reactor, per_second, gone.inc)
            recheck = Recheck(tools)
        return ImageChanges(self._grants, self._entries, recheck, heard.inc, lambda: self._steward.leads)

    def _mount(self, managers: Managers) -> None:
        app = self.edge.app
        links = Links(self.edge.endpoint, self._settings[UpstreamSettings].urls)
        passthrough = self._outage.relay(PassThrough(self._client, links), self._grants)
        ClientRoutes(
            self._cache,
            self._entries,
            self._grants,
            self._tally,
            passthrough,
            self._tally.count,
            self._recipients.notifier,
            self._projects,
        ).mount(app)
        tools = ManagementTools(
            entries=self._entries,
            whole=self._whole.entries,
            fills=self._fills,
            grants=self._grants,
            index=self._index,
            node=self._settings[CacheSettings].node_name,
            upstream=self._upstream,
            chunks=self._chunks,
            prefetcher=self._prefetcher,
            own=self._own_credentials,
            totals=self._node_hits.totals,
            top=self._node_hits.top,
            neighbors=self._neighbors,
            health=self._whole.health,
            offline=self._whole.outage,
            now=self._reactor.seconds,
            queue_limit=self._settings[PrefetchSettings].queue_limit,
        )
        stall_seconds = float(self._settings[StorageSettings].stall_seconds)
        # Operators have the same by their own port: their page may ask no other.
        for each in (app, self.edge.management):
            mount_management(each, tools, managers, stall_seconds, self._whole.tally, self._watch)
        DashboardRoutes(passthrough).mount(self.edge.management)

    def _make_vitals(self) -> Vitals:
        return Vitals(
            upstreams=self._client.states,
            index=self._index,
            hits=self._hits,
            changes=self._changes,
            listens=self._subscription is not None,
            offline_since=self._outage.offline_since,
            account=self._entries.account,
        )

    async def _begin_scan(self) -> None:
        # Beside serving: what is cached is found by name meanwhile, and only fills wait.
        self._scanning = Deferred.fromCoroutine(self._scan())
        self._scanning.addErrback(lambda failure: _log.failure("the cache folder cannot be read", failure))

    async def _scan(self) -> None:
        await self._entries.scan()
        totals = self._node_hits.totals
        self._entries.refine({info.image_id: totals(info.image_id) for info in self._entries.inventory()})

    async def _end_scan(self) -> None:
        if self._scanning is not None:
            await self._scanning

    async def _listen(self) -> None:
        if self._subscription is not None:
            self._subscription.start()

    async def _stop_listening(self) -> None:
        if self._subscription is not None:
            await self._subscription.stop()
        await self._changes.stop()

    async def _stop_work(self) -> None:
        self._outage.stop()
        self._grants.stop()
        if self._projects is not None:
            self._projects.stop()
        await self._fills.stop()


def _now() -> datetime:
    return datetime.now(UTC)
