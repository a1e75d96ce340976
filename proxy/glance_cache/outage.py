"""
What a node has for the time in which no upstream can be reached.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.interfaces import IReactorTime

from glance_cache.answers import Answers
from glance_cache.credential_keys import CredentialKeys
from glance_cache.grant import ISeconds, LivingOn
from glance_cache.grants import Grants
from glance_cache.holders import Holders
from glance_cache.interfaces import UpstreamCredentials
from glance_cache.offline_options import OfflineSettings
from glance_cache.passthrough import IRelay, PassThrough
from glance_cache.reach import Reach
from glance_cache.repeating import Repeating
from glance_cache.sealed import Moment
from glance_cache.sealing import Sealing
from glance_tx.identity.interfaces import Credentials, IIdentity
from glance_tx.streaming.interfaces import ILane
from glance_tx.telemetry.metrics import Metrics
from glance_tx.web.daemon import IPart, Part

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
    :ivar holders: Those for whom anything is remembered.
    :ivar answers: What may be repeated to them.
    :ivar repeated: How often something was.
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
        self._reactor = reactor
        self._settings = settings
        self.uptime: ISeconds = Uptime()
        self.repeated = 0
        self._grace_seconds = float(settings.grace_seconds)
        self.reach = Reach(probe, reactor) if settings.grace_seconds else None
        expiry = None if identity is None or self.reach is None else TokenExpiry(identity, reactor.seconds).seconds_left
        self.holders = Holders(CredentialKeys(secrets.token_bytes(32)), self.uptime, expiry)
        self.answers = Answers(self.uptime, settings.answers_bytes, self._grace_seconds)
        metrics.watch("offline", "Whether no upstream can be reached.", self.is_offline, merge="max")
        metrics.watch("offline_times", "How often no upstream could be reached.", self._times, merge="max")
        metrics.watch("offline_repeated", "Answers about images repeated while offline.", lambda: self.repeated)
        metrics.watch("offline_kept_bytes", "Memory for answers that may be repeated.", lambda: self.answers.used_bytes)

    @property
    def living_on(self) -> LivingOn | None:
        """
        How permissions live on.
        """
        if self.reach is None:
            return None
        return LivingOn(self.reach, self._grace_seconds, self.answers.changed)

    def relay(self, passthrough: PassThrough, grants: Grants) -> IRelay:
        """
        Have answers that are passed on repeated while the node is offline.
        """
        if self.reach is None:
            return passthrough
        return Repeating(passthrough, self.answers, self.holders, grants, self.reach, self._count)

    def _count(self) -> None:
        self.repeated += 1

    def offline_since(self) -> float | None:
        """
        Tell since when no upstream can be reached, in seconds since the epoch; ``None`` where one can, or nothing lives
        on.
        """
        return None if self.reach is None else self.reach.offline_since

    def sealing(self, folder: Path, lane: ILane, grants: Grants) -> IPart:
        """
        Have permissions outlive this process, where that is wanted.
        """
        settings = self._settings
        if self.reach is None or not settings.keeps_grants:
            return Part()
        key_path = settings.key_file or folder / "offline.key"
        return Sealing(folder, key_path, lane, self._reactor, self._moment, grants, self.holders)

    def _moment(self) -> Moment:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return Moment(boot, self.uptime.seconds(), self._reactor.seconds())

    def view(self) -> Mapping[str, object]:
        """
        Show whether the node is offline, and what was done while it was.
        """
        return {
            "grace_seconds": self._grace_seconds,
            "since": self.offline_since(),
            "times": self._times(),
            "repeated": self.repeated,
        }

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
        self.holders.stop()

    def is_offline(self) -> bool:
        """
        Tell whether no upstream can be reached, where anything lives on then.
        """
        return self.reach is not None and self.reach.offline

    def _times(self) -> int:
        return 0 if self.reach is None else self.reach.times
