"""
Holding an upload's lease, and clearing what a lease leaves behind.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from glance_tx.domain.errors import CatalogUnavailable, ImageGone, LeaseLost
from glance_tx.domain.interfaces import IImageRepository, Lease
from glance_tx.stores.errors import LocationNotFound, StoreError, StoreUnavailable
from glance_tx.stores.interfaces import IStore

__all__ = ["LeaseKeeper", "Reclaimer", "persistently"]

T = TypeVar("T")
_log = Logger()

RETRY_SECONDS: Final = (0.2, 1.0, 3.0)
"""
Pauses between tries at what must reach the database: a failover takes seconds, and all of them together must stay
well below the time after which a lease counts as silent.
"""


async def persistently(
    clock: IReactorTime, lease: Lease, call: Callable[[], Awaitable[T]], pauses: Sequence[float] = RETRY_SECONDS
) -> T:
    """
    Do something in the database, again where it was not available.

    :param lease: What it is about, for the log.
    :param call: Harmless when repeated after a success that went unnoticed.
    :param pauses: Seconds to wait before each further try.
    :raises CatalogUnavailable: By the last try; the outcome is unknown.
    """
    for pause in pauses:
        try:
            return await call()
        except CatalogUnavailable as problem:
            _log.warn(
                "the database cannot be told about the upload to {image_id} (fence {fence}), trying again in "
                "{pause} s: {problem}",
                image_id=lease.image_id,
                fence=lease.fence,
                pause=pause,
                problem=str(problem),
            )
        await deferLater(clock, pause)
    return await call()


class LeaseKeeper:
    """
    Keeps a lease alive by its heartbeat for as long as an upload runs.

    While the database cannot be reached it goes on trying: whether the lease survived that is for the database to
    say, at the next heartbeat or when the upload is finished.

    :param lease: The lease.
    :param interval_seconds: Time between two heartbeats; several must fit into the life of a silent lease.
    :param clock: Times the heartbeat.
    :param now: The time to write down.
    :param lost: Called once, with the reason, when the lease turns out to be somebody else's, or of no use.
    """

    def __init__(
        self,
        repository: IImageRepository,
        lease: Lease,
        interval_seconds: float,
        clock: IReactorTime,
        now: Callable[[], datetime],
        lost: Callable[[LeaseLost | ImageGone], None],
    ) -> None:
        self._repository = repository
        self._lease = lease
        self._interval_seconds = interval_seconds
        self._clock = clock
        self._now = now
        self._lost = lost
        self._beating: Deferred[None] | None = None
        self._confirmed_at = clock.seconds()
        self._loop = LoopingCall(self._beat)
        self._loop.clock = clock

    def start(self) -> None:
        """
        Begin with the heartbeat, one interval from now.
        """
        ended = self._loop.start(self._interval_seconds, now=False)
        ended.addErrback(
            lambda failure: _log.failure(
                "the heartbeat of the upload to {image_id} ended", failure, image_id=self._lease.image_id
            )
        )

    def stop(self) -> None:
        """
        End the heartbeat. Harmless when repeated.
        """
        if self._loop.running:
            self._loop.stop()
        if self._beating is not None:
            self._beating.cancel()

    async def confirm(self) -> None:
        """
        Make sure of the lease after a silence (a process that was stopped, a database that was away).

        It spares the data of a lost lease from becoming visible for a moment; the last word is that of
        `IImageRepository.finish_upload`.

        :raises ImageGone: The image was deleted.
        :raises LeaseLost: The lease is somebody else's.
        """
        if self._clock.seconds() - self._confirmed_at > 2 * self._interval_seconds:
            with suppress(CatalogUnavailable):
                await self._repository.heartbeat(self._lease, self._now())

    def _beat(self) -> Deferred[None]:
        self._beating = Deferred.fromCoroutine(self._beat_once())
        return self._beating

    async def _beat_once(self) -> None:
        try:
            await self._repository.heartbeat(self._lease, self._now())
        except (LeaseLost, ImageGone) as problem:
            self._loop.stop()
            self._lost(problem)
        except CatalogUnavailable as problem:
            _log.warn(
                "no heartbeat for the upload to {image_id}: {problem}",
                image_id=self._lease.image_id,
                problem=str(problem),
            )
        except CancelledError:
            pass  # by stop
        else:
            self._confirmed_at = self._clock.seconds()


class Reclaimer:
    """
    Clears the locations of ended leases, and then forgets the leases.

    Every step may be repeated, by anybody: what fails here is found again in the list of ended leases.

    :param stores: By name.
    """

    def __init__(self, repository: IImageRepository, stores: Mapping[str, IStore]) -> None:
        self._repository = repository
        self._stores = stores

    def reaches(self, lease: Lease) -> bool:
        """
        Tell whether this process has the store that a lease is about.
        """
        return lease.location.store in self._stores

    async def reclaim(self, lease: Lease) -> None:
        """
        Remove what lies at the location of an ended lease, whole or in part.

        :raises StoreError: It cannot be removed now.
        :raises CatalogUnavailable: It is removed, and the lease still on record.
        """
        store = self._stores.get(lease.location.store)
        if store is None:
            raise StoreUnavailable(lease.location.store, "it is not configured here")
        with suppress(LocationNotFound):
            await store.delete(lease.location.url)
        await self._repository.forget_lease(lease)

    async def try_reclaim(self, lease: Lease) -> bool:
        """
        Do the same, and leave to recovery what fails.

        :return: Whether the lease is done with.
        """
        try:
            await self.reclaim(lease)
        except (StoreError, CatalogUnavailable) as problem:
            _log.warn(
                "the data of an ended lease of image {image_id} (fence {fence}) stay for now: {problem}",
                image_id=lease.image_id,
                fence=lease.fence,
                problem=str(problem),
            )
            return False
        return True
