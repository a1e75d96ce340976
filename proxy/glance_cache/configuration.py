"""
Everything an operator can say to glance-cache.
"""

from __future__ import annotations

from typing import Final

from glance_cache.fill_options import FillSettings
from glance_cache.hit_options import HitSettings
from glance_cache.offline_options import OfflineSettings, find_grants_without_grace
from glance_cache.options import (
    CacheListenSettings,
    CacheSettings,
    StorageSettings,
    UpstreamSettings,
    find_half_identity,
    find_two_accounts,
)
from glance_cache.prefetch_options import PrefetchSettings
from glance_cache.room_options import RoomSettings, find_crossed_marks
from glance_cache.scrub_options import ScrubSettings
from glance_cache.stock_options import STOCK_OPTIONS
from glance_cache.worker_options import CacheWorkerSettings, find_grants_of_many
from glance_tx.identity.keystone.options import KeystoneSettings, ServiceUserSettings, find_unusable_service_user
from glance_tx.identity.options import AuthSettings, find_unusable_strategy
from glance_tx.notify.options import BrokerSettings, NotificationSettings, PublisherSettings, find_unusable_drivers
from glance_tx.policy.options import PolicySettings
from glance_tx.redis.options import find_half_redis_identity, find_lonely_sentinels
from glance_tx.settings import Program
from glance_tx.settings.daemon import LogSettings, RedisSettings, ThreadSettings, WatchSettings
from glance_tx.web.cors import CorsSettings
from glance_tx.web.healthfile import HealthcheckSettings
from glance_tx.web.options import (
    HttpSettings,
    ManagementSettings,
    ManagementTlsSettings,
    TlsSettings,
    find_half_certificates,
    find_open_doors,
)
from glance_tx.web.proxies import MiddlewareSettings, ProxySettings

__all__ = ["GLANCE_CACHE"]

GLANCE_CACHE: Final = Program(
    name="glance-cache",
    sections=(
        CacheListenSettings,
        CacheWorkerSettings,
        TlsSettings,
        ProxySettings,
        MiddlewareSettings,
        StorageSettings,
        HttpSettings,
        CorsSettings,
        HealthcheckSettings,
        LogSettings,
        UpstreamSettings,
        CacheSettings,
        RoomSettings,
        HitSettings,
        FillSettings,
        ScrubSettings,
        OfflineSettings,
        PrefetchSettings,
        ServiceUserSettings,
        AuthSettings,
        KeystoneSettings,
        PolicySettings,
        RedisSettings,
        PublisherSettings,
        NotificationSettings,
        BrokerSettings,
        ManagementSettings,
        ManagementTlsSettings,
        ThreadSettings,
        WatchSettings,
    ),
    # No strategy is fine: management requests are refused then.
    checks=(
        find_unusable_strategy,
        find_unusable_service_user,
        find_two_accounts,
        find_crossed_marks,
        find_grants_without_grace,
        find_grants_of_many,
        find_half_redis_identity,
        find_lonely_sentinels,
        find_half_certificates,
        find_half_identity,
        find_open_doors,
        find_unusable_drivers,
    ),
    stock=STOCK_OPTIONS,
)
"""The program, for `glance_tx.settings.load`."""
