"""
The image service, put together: ``twistd glance-api``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from attrs import frozen
from twisted.application.service import IService

from glance_tx.api.faults import api_faults
from glance_tx.api.root import VersionRoutes, without_version
from glance_tx.api.v2.image_data import ImageDataRoutes
from glance_tx.api.v2.images import ImageRoutes
from glance_tx.api.v2.schemas import SchemaRoutes
from glance_tx.configuration import GLANCE_API, lock_folder
from glance_tx.db.engine import Database
from glance_tx.db.health import check_database
from glance_tx.db.images import SqlImages
from glance_tx.db.migrate import upgrade
from glance_tx.db.options import DatabaseSettings
from glance_tx.domain.access import Access
from glance_tx.domain.catalog import Catalog, CatalogSettings
from glance_tx.domain.leases import Reclaimer
from glance_tx.domain.options import FormatSettings, LimitSettings, UploadSettings
from glance_tx.domain.recovery import Recovery, RecoverySettings
from glance_tx.domain.transfers import Transfers
from glance_tx.domain.uploads import UploadRules, UploadTools
from glance_tx.domain.values import ImageRules
from glance_tx.errors import FactualError
from glance_tx.identity.interfaces import IIdentity
from glance_tx.identity.options import AuthSettings
from glance_tx.identity.strategies import make_identity
from glance_tx.policy.files import load_policy
from glance_tx.policy.options import PolicySettings
from glance_tx.presence import Presence, new_boot_id
from glance_tx.settings import Loaded, Problem, Settings
from glance_tx.settings.daemon import LogSettings, NodeSettings, RedisSettings, ThreadSettings
from glance_tx.stores.filesystem import FilesystemSettings
from glance_tx.stores.interfaces import IStore
from glance_tx.stores.options import FileStoreSettings
from glance_tx.stores.registry import build_store
from glance_tx.streaming.lanes import BodyThreads, Lanes
from glance_tx.telemetry.health import HealthChecks
from glance_tx.web.callers import Callers
from glance_tx.web.daemon import Daemon, DaemonOptions, IPart, Part, load_or_exit, refuse_to_start
from glance_tx.web.edge import Edge
from glance_tx.web.endpoint import PublicEndpoint
from glance_tx.web.options import ListenSettings

__all__ = ["Options", "makeService"]

_STORE = "file"


class Options(DaemonOptions):
    """
    The command line of glance-api.
    """

    synopsis = "[--config-file=FILE ...] [--config-dir=FOLDER ...]"
    longdesc = "The image service: OpenStack Image API v2."


@frozen
class _Foundation:
    """
    What needs no reactor to be made, and may refuse the configuration.
    """

    access: Access
    identity: IIdentity
    presence: Presence
    store: IStore
    warnings: tuple[object, ...]


def makeService(options: Options) -> IService:
    """
    Make the service that ``twistd`` runs.

    Whatever can turn out wrong before the first request is found out here, where it can still be said in a line.
    """
    from twisted.internet import reactor  # noqa: PLC0415  # importing it installs it

    loaded = load_or_exit(GLANCE_API, options)
    lanes = Lanes(reactor, BodyThreads(0, loaded.settings[ThreadSettings].body_threads, "bodies"))  # type: ignore[arg-type]
    try:
        foundation = _lay_foundation(loaded, lanes)
    except FactualError as error:
        refuse_to_start(GLANCE_API.name, str(error))
    return _compose(reactor, loaded.settings, foundation, lanes)


def _lay_foundation(loaded: Loaded, lanes: Lanes) -> _Foundation:
    settings = loaded.settings
    policy = load_policy(settings[PolicySettings], settings.folders)
    identity = make_identity(settings[AuthSettings])
    assert identity is not None  # noqa: S101  # the configuration insists on a strategy
    store = build_store(FilesystemSettings(_STORE, str(settings[FileStoreSettings].folder)), lanes)
    presence = Presence(str(lock_folder(settings)), settings[NodeSettings].node_name, new_boot_id())
    upgrade(settings[DatabaseSettings].url)
    presence.start()
    warnings = (*loaded.warnings, *policy.warnings, *_no_effect_yet(settings))
    return _Foundation(Access(policy.policy), identity, presence, store, warnings)


def _no_effect_yet(settings: Settings) -> Iterator[Problem]:
    if settings[RedisSettings].url is not None:
        yield Problem("no effect: glance-api does not publish events yet", None, RedisSettings.GROUP, "url")


def _compose(reactor: Any, settings: Settings, foundation: _Foundation, lanes: Lanes) -> Daemon:
    limits = settings[LimitSettings]
    database_settings = settings[DatabaseSettings]
    lease_seconds = float(settings[UploadSettings].lease_seconds)
    stores: Mapping[str, IStore] = {foundation.store.name: foundation.store}

    database = Database(reactor, database_settings.url, size=database_settings.max_pool_size)
    repository = SqlImages(database, _now)
    reclaimer = Reclaimer(repository, stores)
    recovery = Recovery(
        repository,
        foundation.presence,
        lanes.lane("presence"),
        reclaimer,
        reactor,
        _now,
        RecoverySettings(lease_seconds=lease_seconds),
    )
    rules = ImageRules(
        settings[FormatSettings].container_formats,
        settings[FormatSettings].disk_formats,
        limits.property_quota,
        limits.tag_quota,
    )
    catalog = Catalog(repository, foundation.access, reclaimer, _now, CatalogSettings(rules, limits.page_limit_max))
    tools = UploadTools(
        repository,
        reclaimer,
        foundation.store,
        lanes,
        foundation.presence.owner,
        reactor,
        _now,
        UploadRules(
            limits.image_size_cap_bytes,
            limits.hashing_algorithm,
            lease_seconds,
            settings[UploadSettings].max_uploads,
        ),
    )
    transfers = Transfers(repository, foundation.access, stores, tools)

    checks = HealthChecks(reactor)
    checks.add("database", partial(check_database, database))
    edge = Edge(reactor, settings, checks, api_faults(), "glance_api", rewrite=without_version)
    edge.metrics.watch("uploads_in_progress", "Uploads that run, or clear up.", lambda: transfers.uploads)
    callers = Callers(foundation.identity)
    endpoint = PublicEndpoint(settings[ListenSettings].public_endpoint)
    for routes in (
        VersionRoutes(endpoint),
        ImageRoutes(catalog, callers, endpoint, limits.page_limit_default),
        ImageDataRoutes(transfers, callers),
        SchemaRoutes(callers, rules),
    ):
        routes.mount(edge.app)

    async def start_recovery() -> None:
        recovery.start()

    async def leave() -> None:
        foundation.presence.stop()

    parts: list[IPart] = [
        Part(stop=leave),
        lanes,
        Part(database.start, database.stop),
        Part(start_recovery, recovery.stop),
        Part(stop=transfers.stop),
    ]
    return Daemon(reactor, GLANCE_API.name, settings[LogSettings], foundation.warnings, parts, edge.ports())


def _now() -> datetime:
    return datetime.now(UTC)
