"""
The image service, put together: ``twistd glance-api``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from attrs import asdict, frozen
from twisted.application.service import IService

from glance_tx.api.faults import api_faults
from glance_tx.api.root import VersionRoutes, without_version
from glance_tx.api.v2.actions import ActionRoutes
from glance_tx.api.v2.image_data import ImageDataRoutes
from glance_tx.api.v2.images import ImageRoutes
from glance_tx.api.v2.info import InfoRoutes, StoreInfo
from glance_tx.api.v2.members import MemberRoutes
from glance_tx.api.v2.schemas import SchemaRoutes
from glance_tx.api.v2.tags import TagRoutes
from glance_tx.configuration import GLANCE_API, lock_folder
from glance_tx.custom.options import ProtectionSettings
from glance_tx.custom.protection_file import load_protections
from glance_tx.custom.schema_file import CustomProperties, load_properties
from glance_tx.db.engine import Database
from glance_tx.db.health import check_database
from glance_tx.db.images import SqlImages
from glance_tx.db.members import SqlMembers
from glance_tx.db.migrate import upgrade
from glance_tx.db.options import DatabaseSettings
from glance_tx.domain.access import Access
from glance_tx.domain.activation import Activation
from glance_tx.domain.catalog import Catalog, CatalogSettings
from glance_tx.domain.events import Events
from glance_tx.domain.inspection import FormatRules
from glance_tx.domain.leases import Reclaimer
from glance_tx.domain.locations import LocationRules, Locations
from glance_tx.domain.options import FormatSettings, LimitSettings, LocationSettings, UploadSettings
from glance_tx.domain.protections import Protections
from glance_tx.domain.quotas import StorageQuota
from glance_tx.domain.recovery import Recovery, RecoverySettings
from glance_tx.domain.sharing import Sharing
from glance_tx.domain.tags import Tags
from glance_tx.domain.transfers import Transfers
from glance_tx.domain.uploads import UploadRules, UploadTools
from glance_tx.domain.values import ImageRules, Values
from glance_tx.errors import FactualError
from glance_tx.identity.strategies import Strategy, challenge, make_strategy
from glance_tx.inspection.detector import FormatDetector
from glance_tx.notify.recipients import Recipients
from glance_tx.policy.files import load_policy
from glance_tx.policy.options import PolicySettings
from glance_tx.presence import Presence, new_boot_id
from glance_tx.redis.options import make_redis, redis_tls
from glance_tx.settings import Settings, load
from glance_tx.settings.daemon import LogSettings, NodeSettings, RedisSettings, ThreadSettings
from glance_tx.settings.watch import Source
from glance_tx.stores.filesystem import FilesystemSettings
from glance_tx.stores.interfaces import IStore
from glance_tx.stores.options import FileStoreSettings
from glance_tx.stores.registry import build_store
from glance_tx.streaming.lanes import BodyThreads, Lanes
from glance_tx.streaming.units import MiB
from glance_tx.telemetry.health import HealthChecks
from glance_tx.telemetry.lag import ReactorLag
from glance_tx.telemetry.metrics import service_seconds
from glance_tx.tls.client import ClientTls
from glance_tx.web.callers import Callers
from glance_tx.web.compression import CompressionSettings, JsonCompression
from glance_tx.web.daemon import Daemon, DaemonOptions, IPart, Part, load_or_exit, refuse_to_start
from glance_tx.web.edge import Edge
from glance_tx.web.healthfile import HealthcheckSettings, watch_disable_file
from glance_tx.web.ports import PortsTls
from glance_tx.web.proxies import warn_of_trust
from glance_tx.web.watching import watch_files, watch_lanes
from glance_tx.workers.child import ParentLink
from glance_tx.workers.messages import REOPEN_LOG, SIBLING_DIED, Handover
from glance_tx.workers.options import WorkerSettings
from glance_tx.workers.parent import Program as ParentProgram
from glance_tx.workers.parent import make_parent

__all__ = ["Options", "makeService", "make_worker"]

_STORE = "file"
_METRICS = "glance_api"


class Options(DaemonOptions):
    """
    The command line of glance-api.
    """

    synopsis = "[--config-file=FILE ...] [--config-dir=FOLDER ...]"
    longdesc = "The image service: OpenStack Image API v2."


@frozen
class _Files:
    """
    What other files than the configuration say.
    """

    access: Access
    strategy: Strategy
    custom: CustomProperties
    protections: Protections
    tls: PortsTls
    redis_tls: ClientTls | None
    warnings: tuple[object, ...]
    watched: tuple[Source[Any], ...]


@frozen(kw_only=True)
class _Foundation(_Files):
    """
    What may refuse the configuration.
    """

    presence: Presence
    store: IStore


def makeService(options: Options) -> IService:
    """
    Make the service that ``twistd`` runs.

    Whatever can turn out wrong before the first request is found out here, where it can still be said in a line.
    """
    from twisted.internet import reactor  # noqa: PLC0415  # importing it installs it

    loaded = load_or_exit(GLANCE_API, options)
    settings = loaded.settings
    if settings[WorkerSettings].count > 1:
        read = partial(load, GLANCE_API, options["config_files"], options["config_dirs"])
        return make_parent(
            reactor, ParentProgram(GLANCE_API.name, __name__, _METRICS, read, partial(_prepare, reactor)), loaded
        )
    try:
        files = _read_files(reactor, settings)
        upgrade(settings[DatabaseSettings].url)
        service = _make_service(reactor, settings, files)
    except FactualError as error:
        refuse_to_start(GLANCE_API.name, str(error))
    warnings = (*loaded.warnings, *files.warnings)
    return Daemon(reactor, GLANCE_API.name, settings[LogSettings], warnings, service.parts(), service.edge.ports())


def make_worker(reactor: Any, handover: Handover) -> IService:
    """
    Make the service that a worker runs, below the parent that `makeService` makes.

    :raises FactualError: It cannot start.
    """
    service = _make_service(reactor, handover.settings, _read_files(reactor, handover.settings))
    link = ParentLink(reactor, service.edge.metrics, {SIBLING_DIED: service.hurry_recovery})
    daemon = Daemon(
        reactor,
        GLANCE_API.name,
        handover.settings[LogSettings],
        (),
        [link, *service.parts()],
        service.edge.inherited_ports(handover.sockets),
        when_ready=link.say_ready,
        worker=handover.slot,
    )
    link.obey(REOPEN_LOG, daemon.reopen_log)
    return daemon


def _prepare(reactor: Any, settings: Settings) -> tuple[object, ...]:
    """
    Do once what all workers need, and find out what would keep each of them from starting. Blocks.

    :return: What is to be said of the configuration.
    :raises FactualError: No worker can start.
    """
    files = _read_files(reactor, settings)
    upgrade(settings[DatabaseSettings].url)
    return files.warnings


def _make_service(reactor: Any, settings: Settings, files: _Files) -> _Service:
    lanes = Lanes(reactor, BodyThreads(0, settings[ThreadSettings].body_threads, "bodies"))
    return _Service(reactor, settings, _lay_foundation(reactor, settings, files, lanes), lanes)


def _read_files(reactor: Any, settings: Settings) -> _Files:
    policy = load_policy(settings[PolicySettings], settings.folders)
    custom = load_properties(settings.folders)
    protections = load_protections(settings[ProtectionSettings], settings.folders, policy.policy)
    tls, to_redis = PortsTls.of(settings), redis_tls(settings[RedisSettings])
    strategy = make_strategy(settings, reactor)
    assert strategy is not None  # noqa: S101  # the configuration insists on a strategy
    watched = (policy.source, *strategy.watched, *tls.watched())
    warnings = (*policy.warnings, *strategy.warnings, *tls.warnings(), *warn_of_trust(settings))
    return _Files(Access(policy.policy), strategy, custom, protections, tls, to_redis, warnings, watched)


def _lay_foundation(reactor: Any, settings: Settings, read: _Files, lanes: Lanes) -> _Foundation:
    files = settings[FileStoreSettings]
    store = build_store(
        FilesystemSettings(_STORE, files.folders, file_mode=files.file_mode or None, thin=files.thin), lanes, reactor
    )
    presence = Presence(str(lock_folder(settings)), settings[NodeSettings].node_name, new_boot_id())
    presence.start()
    return _Foundation(**asdict(read, recurse=False), presence=presence, store=store)


class _Service:
    """
    One process of the image service: what it is made of, and in which order that starts.
    """

    def __init__(self, reactor: Any, settings: Settings, foundation: _Foundation, lanes: Lanes) -> None:
        self._reactor = reactor
        self._settings = settings
        self._foundation = foundation
        self._lanes = lanes
        self._lease_seconds = float(settings[UploadSettings].lease_seconds)
        self._stores: Mapping[str, IStore] = {foundation.store.name: foundation.store}
        database = settings[DatabaseSettings]
        self._database = Database(reactor, database.url, size=database.max_pool_size, observe=self._time_database)
        self._repository = SqlImages(self._database, _now)
        self._quota = StorageQuota(self._repository, settings[LimitSettings].storage_quota_bytes)
        self._reclaimer = Reclaimer(self._repository, self._stores)
        self._recovery = self._make_recovery()
        self.edge = self._make_edge()
        self._database_seconds = service_seconds(self.edge.metrics, "database", "transactions take", ["kind"])
        self._watch = watch_files(settings, foundation.watched, lanes, reactor, self.edge.metrics)
        self._recipients = self._make_recipients()
        self._events = Events(self._recipients.notifier)
        self._transfers = Transfers(foundation.access, self._stores, self._upload_tools(), self._events)
        self._mount()

    def parts(self) -> list[IPart]:
        """
        List what starts, in order.
        """
        return [
            ReactorLag(self._reactor, self.edge.metrics),
            Part(stop=self._leave),
            Part(stop=self._foundation.strategy.stop),
            self._lanes,
            self._recipients,
            Part(self._database.start, self._database.stop),
            Part(self._start_recovery, self._recovery.stop),
            Part(stop=self._transfers.stop),
            self._watch,
        ]

    def hurry_recovery(self) -> None:
        """
        Clear up at once after a process of this node that died.
        """
        self._recovery.hurry()

    def _time_database(self, kind: str, seconds: float) -> None:
        self._database_seconds.labels(kind).observe(seconds)

    def _make_recovery(self) -> Recovery:
        return Recovery(
            self._repository,
            self._foundation.presence,
            self._lanes.lane("presence"),
            self._reclaimer,
            self._reactor,
            _now,
            RecoverySettings(lease_seconds=self._lease_seconds),
        )

    def _upload_tools(self) -> UploadTools:
        limits = self._settings[LimitSettings]
        rules = UploadRules(
            limits.image_size_cap_bytes,
            limits.hashing_algorithm,
            self._lease_seconds,
            self._settings[UploadSettings].max_uploads,
            _format_rules(self._settings[FormatSettings]),
        )
        return UploadTools(
            self._repository,
            self._reclaimer,
            self._foundation.store,
            self._lanes,
            FormatDetector,
            self._foundation.presence.owner,
            self._reactor,
            _now,
            rules,
            self._quota,
        )

    def _make_edge(self) -> Edge:
        checks = HealthChecks(self._reactor)
        checks.add("database", partial(check_database, self._database))
        watch_disable_file(checks, self._settings[HealthcheckSettings], self._lanes)
        return Edge(
            self._reactor,
            self._settings,
            checks,
            api_faults(challenge(self._settings)),
            _METRICS,
            rewrite=without_version,
            compression=JsonCompression.of(self._settings[CompressionSettings], self._reactor, self._lanes),
            tls=self._foundation.tls,
        )

    def _make_recipients(self) -> Recipients:
        redis = self._settings[RedisSettings]
        observe = service_seconds(self.edge.metrics, "redis", "commands take").observe
        client = make_redis(self._reactor, redis, self._foundation.redis_tls, observe)
        return Recipients.make(
            self._reactor, self._settings, self.edge.metrics, _now, redis=client, redis_prefix=redis.prefix
        )

    def _mount(self) -> None:
        edge, access = self.edge, self._foundation.access
        watch_lanes(self._lanes, edge.metrics)
        edge.metrics.watch("uploads_in_progress", "Uploads that run, or clear up.", lambda: self._transfers.uploads)
        limits, formats = self._settings[LimitSettings], self._settings[FormatSettings]
        custom = self._foundation.custom
        rules = ImageRules(
            formats.container_formats,
            formats.disk_formats,
            limits.property_quota,
            limits.tag_quota,
            custom.properties,
            custom.required,
        )
        catalog = Catalog(
            self._repository,
            access,
            self._reclaimer,
            self._events,
            _now,
            CatalogSettings(rules, limits.page_limit_max, self._foundation.protections),
            locations=self._make_locations(),
        )
        callers = Callers(self._foundation.strategy.identity)
        endpoint = edge.endpoint
        VersionRoutes(endpoint).mount(edge.app)
        ImageRoutes(catalog, callers, endpoint, self._reactor, limits.page_limit_default).mount(edge.app)
        ImageDataRoutes(self._transfers, callers).mount(edge.app)
        SchemaRoutes(callers, rules).mount(edge.app)
        ActionRoutes(Activation(self._repository, access, self._events), callers).mount(edge.app)
        TagRoutes(Tags(self._repository, access, Values(rules), self._events), callers).mount(edge.app)
        InfoRoutes(callers, access, [self._store_info()]).mount(edge.app)
        MemberRoutes(self._make_sharing(limits.member_quota), callers).mount(edge.app)

    def _make_locations(self) -> Locations:
        shown = self._settings[LocationSettings]
        rules = LocationRules(shown.show_direct_url, shown.show_multiple, shown.quota)
        algorithm = self._settings[LimitSettings].hashing_algorithm
        return Locations(self._foundation.access, self._stores, rules, algorithm, self._quota)

    def _store_info(self) -> StoreInfo:
        files = self._settings[FileStoreSettings]
        folders = ",".join(choice.path for choice in files.folders)
        details = {"data_dir": folders, "chunk_size": MiB, "thin_provisioning": files.thin}
        return StoreInfo(self._foundation.store.name, _STORE, details, default=True)

    def _make_sharing(self, quota: int) -> Sharing:
        members = SqlMembers(self._database, _now)
        return Sharing(self._repository, members, self._foundation.access, self._events, quota)

    async def _start_recovery(self) -> None:
        self._recovery.start()

    async def _leave(self) -> None:
        self._foundation.presence.stop()


def _format_rules(formats: FormatSettings) -> FormatRules:
    return FormatRules(
        formats.require_match,
        frozenset(formats.gpt_safety_checks_nonfatal),
        frozenset(kind.lower() for kind in formats.vmdk_allowed_types),
    )


def _now() -> datetime:
    return datetime.now(UTC)
