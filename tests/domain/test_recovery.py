"""
Single passes of recovery, and their rhythm.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from glance_tx.domain.errors import CatalogUnavailable
from glance_tx.domain.images import Image
from glance_tx.domain.interfaces import LeaseOwner
from glance_tx.stores.errors import StoreUnavailable
from glance_tx.streaming.lanes import Lanes
from tests.domain.case import RecoveryCase
from tests.domain.world import HERE, THERE, HeldReader, Trouble, World
from tests.doubles.pools import SteppedPool, ThreadClock

AWAY = CatalogUnavailable("away")


class PassTests(RecoveryCase):
    """
    One pass of `Recovery`.
    """

    async def leave(self, count: int, owner: Any = HERE) -> list[Image]:
        """Leave the uploads of some images behind, in mid-write."""
        images = []
        for _ in range(count):
            created = await self.world.create()
            self.start(self.world.transfers(owner=owner, clock=ThreadClock()), created, HeldReader())
            images.append(created)
        return images

    async def statuses(self, images: list[Image]) -> list[str]:
        return [(await self.world.repository.get(image.id)).status.value for image in images]

    async def test_living_sibling(self) -> None:
        """
        The lease of a living process is left alone, while a dead one's beside it is ended.
        """
        living = await self.leave(1, THERE)
        dead = await self.leave(1, HERE)
        self.world.presence.dead.add(HERE)
        await self.world.recovery().sweep()
        self.assertEqual(await self.statuses(living + dead), ["saving", "queued"])
        self.assertEqual(len(self.stored()), 1)

    async def test_presence_off_the_reactor(self) -> None:
        """
        Who lives is found out in a thread, once for each process however many leases it has.
        """
        await self.leave(3)
        asked: list[LeaseOwner] = []
        self.world.presence.is_dead = lambda owner: bool(asked.append(owner))  # type: ignore[method-assign]
        pool = SteppedPool()
        self.world.lanes = Lanes(ThreadClock(), pool)  # type: ignore[arg-type]
        sweeping = Deferred.fromCoroutine(self.world.recovery().sweep())
        self.assertEqual((asked, pool.waiting), ([], 1))
        pool.step()
        self.successResultOf(sweeping)
        self.assertEqual(asked, [HERE])

    async def test_bounded(self) -> None:
        """
        A pass does a bounded amount of work, and the next one goes on.
        """
        images = await self.leave(5)
        self.world.presence.dead.add(HERE)
        recovery = self.world.recovery(most_per_pass=2)
        for queued in (2, 4, 5):
            await recovery.sweep()
            self.assertEqual((await self.statuses(images)).count("queued"), queued)
            self.assertEqual(len(self.stored()), 5 - queued)

    async def test_one_failure(self) -> None:
        """
        One lease that cannot be ended, or cleared, does not keep the others.
        """
        images = await self.leave(3)
        self.world.presence.dead.add(HERE)
        trouble = Trouble()
        trouble.fail("before end_lease", AWAY)
        trouble.fail("before store.delete", StoreUnavailable("main", "away"))
        recovery = self.world.recovery(trouble)
        await recovery.sweep()
        self.assertEqual((await self.statuses(images)).count("queued"), 2)
        self.assertEqual(len(self.stored()), 2)
        await recovery.sweep()
        self.assertEqual(self.stored(), [])

    async def test_stubborn_leases(self) -> None:
        """
        Leases that resist go last, so that the others have their turn.
        """
        await self.leave(4)
        self.world.presence.dead.add(HERE)
        trouble = Trouble()
        for lease in await self.world.repository.leases():
            await self.world.repository.end_lease(lease, self.world.now())
        recovery = self.world.recovery(trouble, most_per_pass=2)
        trouble.fail("before store.delete", StoreUnavailable("main", "away"), lasting=True)
        await recovery.sweep()
        self.assertEqual(len(self.stored()), 4)
        resisted = {key for key, count in recovery._resisted.items() if count}
        trouble.end()
        await recovery.sweep()
        left = {(lease.image_id, lease.fence) for lease in await self.world.repository.leases()}
        self.assertEqual(left, resisted)
        await recovery.sweep()
        await recovery.sweep()
        self.assertEqual((self.stored(), recovery._resisted), ([], {}))

    async def test_store_of_another_node(self) -> None:
        """
        The leases of stores that this process does not have are left to one that has.
        """
        await self.leave(1)
        self.world.presence.dead.add(HERE)
        elsewhere = World()
        elsewhere.store.name = "elsewhere"
        elsewhere.repository = self.world.repository
        elsewhere.presence = self.world.presence
        recovery = elsewhere.recovery()
        await recovery.sweep()
        self.assertEqual(recovery._resisted, {})
        (lease,) = await self.world.repository.leases()
        self.assertTrue(lease.ended)
        await self.world.recovery().sweep()
        self.assertEqual(self.stored(), [])

    async def test_regularly(self) -> None:
        """
        Passes are made at once and then at intervals, through failures, until it is stopped.
        """
        images = await self.leave(1)
        self.world.presence.dead.add(HERE)
        trouble = Trouble()
        trouble.fail("before leases", AWAY)
        recovery = self.world.recovery(trouble)
        recovery.start()
        self.assertEqual(await self.statuses(images), ["saving"])
        trouble.fail("before leases", ZeroDivisionError())
        self.world.clock.advance(15)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.world.clock.advance(15)
        self.assertEqual(await self.statuses(images), ["queued"])
        await recovery.stop()
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    async def test_hurry(self) -> None:
        """
        A process that is known to have died is cleared up after at once, and the rhythm goes on from there.
        """
        images = await self.leave(1)
        recovery = self.world.recovery()
        recovery.start()
        self.world.presence.dead.add(HERE)
        self.world.clock.advance(10)
        self.assertEqual(await self.statuses(images), ["saving"])
        recovery.hurry()
        self.assertEqual(await self.statuses(images), ["queued"])
        self.assertEqual([call.getTime() for call in self.world.clock.getDelayedCalls()], [25])
        await recovery.stop()

    async def test_hurry_in_a_pass(self) -> None:
        """
        The pass under way may have asked for the dead before, so that another one follows it.
        """
        images = await self.leave(1)
        trouble = Trouble()
        held: list[Deferred[None]] = []

        async def hold_the_next() -> None:
            # That is the question for ended leases, when it is known already who is dead.
            held.append(trouble.hold("before leases"))

        trouble.act("before leases", hold_the_next)
        recovery = self.world.recovery(trouble)
        recovery.start()
        self.world.presence.dead.add(HERE)
        recovery.hurry()
        self.assertEqual(await self.statuses(images), ["saving"])
        held[0].callback(None)
        self.assertEqual(await self.statuses(images), ["queued"])
        await recovery.stop()

    async def test_hurry_when_stopped(self) -> None:
        """
        Nothing is begun by a recovery that was stopped.
        """
        images = await self.leave(1)
        self.world.presence.dead.add(HERE)
        self.world.recovery().hurry()
        self.assertEqual(await self.statuses(images), ["saving"])

    async def test_stopped_in_a_pass(self) -> None:
        """
        Stopping ends the pass under way.
        """
        trouble = Trouble()
        held = trouble.hold("before leases")
        recovery = self.world.recovery(trouble)
        recovery.start()
        await recovery.stop()
        self.assertTrue(held.called)
        self.assertEqual(self.world.clock.getDelayedCalls(), [])
