"""
Clearing up after uploads whose owner is gone. See Note [Upload lease] in `glance_tx.domain.uploads`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from datetime import datetime, timedelta

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from glance_tx.domain.errors import CatalogUnavailable
from glance_tx.domain.interfaces import IImageRepository, IPresence, Lease, LeaseOwner
from glance_tx.domain.leases import Reclaimer
from glance_tx.streaming.interfaces import ILane

__all__ = ["Recovery", "RecoverySettings"]

_log = Logger()


@frozen
class RecoverySettings:
    """
    What an operator decides about recovery.

    :param lease_seconds: Silence after which a lease is ended, whoever owns it. The clocks of all nodes must agree
        to a fraction of it.
    :param interval_seconds: Time between two passes.
    :param most_per_pass: Leases ended, and leases cleared, in one pass at most.
    """

    lease_seconds: float = 60.0
    interval_seconds: float = 15.0
    most_per_pass: int = 100


class Recovery:
    """
    Ends the leases of the dead and the silent, and clears what ended leases left in stores.

    Any number of processes may do this at once: every step is harmless when somebody else did it already. A lease
    whose owner lives and says so is left alone.

    :param presence: Which processes of this node live.
    :param lane: Where that is asked.
    :param clock: Times the passes.
    :param now: Tells the time, in UTC.
    """

    def __init__(
        self,
        repository: IImageRepository,
        presence: IPresence,
        lane: ILane,
        reclaimer: Reclaimer,
        clock: IReactorTime,
        now: Callable[[], datetime],
        settings: RecoverySettings,
    ) -> None:
        self._repository = repository
        self._presence = presence
        self._lane = lane
        self._reclaimer = reclaimer
        self._now = now
        self._settings = settings
        # How often each lease resisted: those that never did go first, so that none waits behind a store that is away.
        self._resisted: dict[tuple[str, int], int] = {}
        self._pass: Deferred[None] | None = None
        self._hurry = False
        self._loop = LoopingCall(self._begin_pass)
        self._loop.clock = clock

    async def sweep(self) -> None:
        """
        Make one pass.

        :raises CatalogUnavailable: The leases cannot be listed.
        """
        await self._end_abandoned()
        await self._clear_ended()

    def start(self) -> None:
        """
        Make a pass at once, and then regularly.
        """
        self._loop.start(self._settings.interval_seconds)

    def hurry(self) -> None:
        """
        Make a pass now, or after the one under way: a process of this node is known to have died.
        """
        if not self._loop.running:
            return
        if self._pass is not None:
            self._hurry = True
        else:
            self._loop.stop()
            self.start()

    async def stop(self) -> None:
        """
        Stop, and wait for the pass under way to leave off.
        """
        if self._loop.running:
            self._loop.stop()
        under_way = self._pass
        if under_way is not None:
            under_way.cancel()
            await under_way

    def _begin_pass(self) -> Deferred[None]:
        passed = self._pass = Deferred.fromCoroutine(self._passes())
        if passed.called:
            self._pass = None
        return passed

    async def _passes(self) -> None:
        try:
            await self._logged_pass()
            while self._hurry and self._loop.running:
                self._hurry = False
                await self._logged_pass()
        finally:
            self._pass = None

    async def _logged_pass(self) -> None:
        try:
            await self.sweep()
        except CancelledError:
            pass  # by stop
        except CatalogUnavailable as problem:
            _log.warn("recovery waits for the database: {problem}", problem=str(problem))
        except Exception:  # the outer loop of a service
            _log.failure("a pass of recovery failed")

    async def _end_abandoned(self) -> None:
        now = self._now()
        silent_since = now - timedelta(seconds=self._settings.lease_seconds)
        leases = await self._repository.leases(ended=False)
        dead = await self._lane.run(self._dead_among, {lease.owner for lease in leases})
        abandoned = [lease for lease in leases if lease.heartbeat_at < silent_since or lease.owner in dead]
        for lease in abandoned[: self._settings.most_per_pass]:
            try:
                await self._repository.end_lease(lease, now)
            except CatalogUnavailable as problem:
                _log.warn(
                    "could not end the lease of image {image_id}: {problem}",
                    image_id=lease.image_id,
                    problem=str(problem),
                )
            else:
                _log.info(
                    "ended the lease of image {image_id} (fence {fence}): its owner is gone",
                    image_id=lease.image_id,
                    fence=lease.fence,
                )

    def _dead_among(self, owners: Set[LeaseOwner]) -> Set[LeaseOwner]:
        return {owner for owner in owners if self._presence.is_dead(owner)}

    async def _clear_ended(self) -> None:
        ended = [lease for lease in await self._repository.leases(ended=True) if self._reclaimer.reaches(lease)]
        self._forget_settled(ended)
        ended.sort(key=lambda lease: self._resisted.get(_key(lease), 0))
        for lease in ended[: self._settings.most_per_pass]:
            if not await self._reclaimer.try_reclaim(lease):
                self._resisted[_key(lease)] = self._resisted.get(_key(lease), 0) + 1

    def _forget_settled(self, ended: Sequence[Lease]) -> None:
        keys = {_key(lease) for lease in ended}
        for key in self._resisted.keys() - keys:
            del self._resisted[key]


def _key(lease: Lease) -> tuple[str, int]:
    return lease.image_id, lease.fence
