"""
What a node has for the time in which no upstream can be reached.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.interfaces import IReactorTime

from glance_cache.credential_keys import CredentialKeys
from glance_cache.grant import ISeconds, LivingOn
from glance_cache.interfaces import UpstreamCredentials
from glance_cache.offline_options import OfflineSettings
from glance_cache.reach import Reach
from glance_tx.identity.interfaces import Credentials, IIdentity
from glance_tx.telemetry.metrics import Metrics

__all__ = ["Outage", "TokenExpiry", "Uptime"]


class Uptime:
    """
    Seconds since the machine was started, also while it sleeps: a clock that nobody sets.
    """

    def seconds(self) -> float:
        """
        See `ISeconds.seconds`.
        """
        return time.clock_gettime(time.CLOCK_BOOTTIME)


class TokenExpiry:
    """
    Finds out when tokens end, as this node knows them itself.

    :param now: Tells seconds since the epoch.
    """

    def __init__(self, identity: IIdentity, now: Callable[[], float]) -> None:
        self._identity = identity
        self._now = now

    async def seconds_left(self, credentials: UpstreamCredentials) -> float | None:
        """
        Tell for how long credentials still count; ``None`` where they have no end.

        :raises NotAuthenticated: This node does not know them.
        :raises IdentityUnavailable: It cannot be found out now.
        """
        token = credentials.auth_token or credentials.storage_token
        caller = await self._identity.identify(Credentials(token, credentials.service_token))
        return None if caller.expires_at is None else caller.expires_at - self._now()


class Outage:
    """
    Knows whether the node is offline, and what lives on then.

    :param probe: See `Reach`.
    :param identity: This node's own, which may know when tokens end; ``None`` where there is none.
    :ivar uptime: By which permissions are measured.
    :ivar keys: For what is remembered for the holder of credentials.
    :ivar reach: ``None`` where nothing lives on.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        settings: OfflineSettings,
        metrics: Metrics,
        probe: Callable[[], Coroutine[Any, Any, object]],
        identity: IIdentity | None,
    ) -> None:
        self.uptime: ISeconds = Uptime()
        self.keys = CredentialKeys(secrets.token_bytes(32))
        self._grace_seconds = float(settings.grace_seconds)
        self.reach = Reach(probe, reactor) if settings.grace_seconds else None
        self._expiry = None if identity is None else TokenExpiry(identity, reactor.seconds).seconds_left
        metrics.watch("offline", "Whether no upstream can be reached.", self._is_offline, merge="max")
        metrics.watch("offline_times", "How often no upstream could be reached.", self._times, merge="max")

    @property
    def living_on(self) -> LivingOn | None:
        """
        How permissions live on.
        """
        if self.reach is None:
            return None
        return LivingOn(self.reach, self._grace_seconds, self._expiry)

    def offline_since(self) -> float | None:
        """
        Tell since when no upstream can be reached, in seconds since the epoch; ``None`` where one can, or nothing lives
        on.
        """
        return None if self.reach is None else self.reach.offline_since

    def answered(self) -> None:
        """
        Take note of an answer of an upstream.
        """
        if self.reach is not None:
            self.reach.answered()

    def stop(self) -> None:
        """
        Ask no more.
        """
        if self.reach is not None:
            self.reach.stop()

    def _is_offline(self) -> bool:
        return self.reach is not None and self.reach.offline

    def _times(self) -> int:
        return 0 if self.reach is None else self.reach.times
