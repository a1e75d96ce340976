"""
Everything an operator can say to glance-api.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from glance_tx.custom.options import ProtectionSettings
from glance_tx.db.options import DatabaseSettings
from glance_tx.domain.options import FormatSettings, LimitSettings, LocationSettings, LockSettings, UploadSettings
from glance_tx.identity.keystone.options import KeystoneSettings
from glance_tx.identity.options import AuthSettings, find_unusable_strategy, require_strategy
from glance_tx.notify.options import BrokerSettings, NotificationSettings, PublisherSettings, find_unusable_drivers
from glance_tx.policy.options import PolicySettings
from glance_tx.redis.options import find_half_redis_identity, find_lonely_sentinels
from glance_tx.settings import Program, Settings
from glance_tx.settings.daemon import LogSettings, NodeSettings, RedisSettings, ThreadSettings, WatchSettings
from glance_tx.stock_options import STOCK_OPTIONS
from glance_tx.stores.options import FileStoreSettings, find_ambiguous_folders
from glance_tx.web.compression import CompressionSettings
from glance_tx.web.cors import CorsSettings
from glance_tx.web.healthfile import HealthcheckSettings
from glance_tx.web.options import (
    HttpSettings,
    ListenSettings,
    ManagementSettings,
    ManagementTlsSettings,
    TlsSettings,
    find_half_certificates,
    find_open_doors,
)
from glance_tx.web.proxies import MiddlewareSettings, ProxySettings
from glance_tx.workers.options import WorkerSettings

__all__ = ["GLANCE_API", "lock_folder"]

GLANCE_API: Final = Program(
    name="glance-api",
    sections=(
        ListenSettings,
        WorkerSettings,
        TlsSettings,
        ProxySettings,
        MiddlewareSettings,
        HttpSettings,
        CompressionSettings,
        CorsSettings,
        HealthcheckSettings,
        LogSettings,
        NodeSettings,
        LimitSettings,
        LocationSettings,
        AuthSettings,
        KeystoneSettings,
        PolicySettings,
        ProtectionSettings,
        DatabaseSettings,
        FileStoreSettings,
        UploadSettings,
        FormatSettings,
        RedisSettings,
        PublisherSettings,
        NotificationSettings,
        BrokerSettings,
        ManagementSettings,
        ManagementTlsSettings,
        ThreadSettings,
        WatchSettings,
        LockSettings,
    ),
    checks=(
        require_strategy,
        find_unusable_strategy,
        find_ambiguous_folders,
        find_half_redis_identity,
        find_lonely_sentinels,
        find_half_certificates,
        find_open_doors,
        find_unusable_drivers,
    ),
    stock=STOCK_OPTIONS,
)
"""The program, for `glance_tx.settings.load`."""


def lock_folder(settings: Settings) -> Path:
    """
    Say where lock files go: where the operator says, else beside the image data.
    """
    return settings[LockSettings].lock_path or Path(settings[FileStoreSettings].folders[0].path).parent / "locks"
