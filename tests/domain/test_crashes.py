"""
Uploads whose process is killed, stopped, or cut off from the database.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from glance_tx.domain.errors import CatalogUnavailable, LeaseLost
from glance_tx.domain.images import Image, ImageStatus
from glance_tx.domain.interfaces import StoredData
from glance_tx.stores.errors import StoreUnavailable
from glance_tx.stores.filesystem import FilesystemSettings, FilesystemStore
from glance_tx.stores.folders import FolderChoice
from glance_tx.streaming.memory import BytesReader
from tests.domain.case import DATA, RecoveryCase
from tests.domain.world import HERE, LEASE_SECONDS, THERE, HeldReader, Trouble, World
from tests.doubles.pools import ThreadClock, inline_lanes

STEPS = (
    "begin_upload",
    "store.open_writer",
    "store.write",
    "store.commit",
    "finish_upload",
)
MOMENTS = tuple(f"{moment} {step}" for step in STEPS for moment in ("before", "after"))
AWAY = CatalogUnavailable("away")


class KilledTests(RecoveryCase):
    """
    A process that is killed during an upload.
    """

    async def killed(self, moment: str) -> Image:
        """Kill a process at a moment of its upload."""
        created = await self.world.create()
        trouble = Trouble()
        trouble.hold(moment)
        # A clock of its own that nobody moves: the dead have no heartbeat.
        upload = self.start(self.world.transfers(trouble, clock=ThreadClock()), created)
        self.assertNoResult(upload)
        return created

    async def test_at_each_step(self) -> None:
        """
        Whenever a process was killed, the next pass of its node leaves a queued image or an active one.
        """
        for moment in MOMENTS:
            self.world = self.make_world()
            created = await self.killed(moment)
            self.world.presence.dead.add(HERE)
            await self.world.recovery().sweep()
            self.assertEqual(await self.assert_sound(created), moment == "after finish_upload", moment)

    async def test_of_another_node(self) -> None:
        """
        The lease of a process of which nothing is known runs out in time, and not before.
        """
        for moment in MOMENTS[1:-1]:
            self.world = self.make_world()
            created = await self.killed(moment)
            before = self.stored()
            self.world.clock.advance(LEASE_SECONDS)
            await self.world.recovery().sweep()
            self.assertEqual((await self.world.repository.get(created.id)).status, ImageStatus.SAVING)
            self.assertEqual(self.stored(), before)
            self.world.clock.advance(1)
            await self.world.recovery().sweep()
            self.assertFalse(await self.assert_sound(created))

    async def test_during_recovery(self) -> None:
        """
        A recovery that is killed itself is finished by the next one.
        """
        for moment in ("before end_lease", "after end_lease", "before store.delete", "after store.delete"):
            self.world = self.make_world()
            created = await self.killed("after store.write")
            self.world.presence.dead.add(HERE)
            trouble = Trouble()
            trouble.hold(moment)
            hanging = Deferred.fromCoroutine(self.world.recovery(trouble).sweep())
            self.assertNoResult(hanging)
            await self.world.recovery().sweep()
            self.assertFalse(await self.assert_sound(created))

    async def test_during_clean_up(self) -> None:
        """
        A process that is killed while it clears up after a failed upload leaves the rest to recovery.
        """
        for moment in ("before store.abort", "before end_lease", "before store.delete", "before forget_lease"):
            self.world = self.make_world()
            created = await self.world.create()
            trouble = Trouble()
            trouble.hold(moment)
            reader = BytesReader(DATA, announced=False)
            transfers = self.world.transfers(trouble, clock=ThreadClock(), image_size_cap=5)
            upload = self.start(transfers, created, reader)
            self.assertNoResult(upload)
            self.world.presence.dead.add(HERE)
            await self.world.recovery().sweep()
            self.assertFalse(await self.assert_sound(created), moment)


class KilledOnFilesTests(KilledTests):
    """
    The same, with the data in files.
    """

    def make_world(self) -> World:
        self.root = Path(self.mktemp()).absolute()
        store = FilesystemStore(FilesystemSettings("main", [FolderChoice(str(self.root))]), inline_lanes())
        store.check()
        return World(store)

    def stored(self) -> list[str]:
        return sorted(path.name for path in self.root.iterdir())


class StalledTests(RecoveryCase):
    """
    A process that is stopped for so long that its lease runs out, and then goes on.
    """

    async def stalled(self, moment: str) -> tuple[Image, Deferred[Image], Deferred[None], ThreadClock]:
        created = await self.world.create()
        trouble = Trouble()
        held = trouble.hold(moment)
        clock = ThreadClock()
        upload = self.start(self.world.transfers(trouble, clock=clock), created)
        self.world.clock.advance(LEASE_SECONDS + 1)
        await self.world.recovery().sweep()
        self.assertTrue(await self.world.as_before(created))
        self.assertEqual(self.stored(), [])
        return created, upload, held, clock

    async def test_after_its_successor(self) -> None:
        """
        Its upload fails, and its successor's data stay, alone.
        """
        for moment in MOMENTS[1:-1]:
            self.world = self.make_world()
            created, upload, held, _ = await self.stalled(moment)
            await self.world.upload(DATA[::-1], created.id)
            successor = self.stored()
            held.callback(None)
            self.failureResultOf(upload)
            self.assertEqual(self.stored(), successor)
            self.assertEqual(await self.world.data(created.id), DATA[::-1])
            self.assertEqual(list(await self.world.repository.leases()), [])

    async def test_during_its_successor(self) -> None:
        """
        It does not harm a successor that is under way.
        """
        for moment in MOMENTS[1:-1]:
            self.world = self.make_world()
            created, upload, held, _ = await self.stalled(moment)
            reader = HeldReader()
            successor = self.start(self.world.transfers(owner=THERE), created, reader)
            reader.arrive(DATA[:100])
            held.callback(None)
            self.failureResultOf(upload)
            reader.arrive(DATA[100:])
            reader.arrive(b"")
            self.successResultOf(successor)
            self.assertTrue(await self.assert_sound(created))

    async def test_commits_late(self) -> None:
        """
        Data that it commits although the lease is lost are removed by itself.
        """
        created, upload, held, _ = await self.stalled("before store.open_writer")
        held.callback(None)
        self.failureResultOf(upload, LeaseLost)
        self.assertFalse(await self.assert_sound(created))

    async def test_asks_before_it_commits(self) -> None:
        """
        After a silence it makes sure of its lease, before the data become visible.
        """
        created = await self.world.create()
        trouble = Trouble()
        held = trouble.hold("before store.write")
        clock = ThreadClock()
        transfers = self.world.transfers(trouble, clock=clock)
        trouble.hold("before heartbeat")
        upload = self.start(transfers, created)
        clock.advance(LEASE_SECONDS + 1)
        self.world.clock.advance(LEASE_SECONDS + 1)
        await self.world.recovery().sweep()
        held.callback(None)
        self.failureResultOf(upload)
        self.assertNotIn("before store.commit", trouble.passed)
        self.assertFalse(await self.assert_sound(created))


class StalledOnFilesTests(StalledTests):
    """
    The same, with the data in files.
    """

    make_world = KilledOnFilesTests.make_world
    stored = KilledOnFilesTests.stored


class DatabaseAwayTests(RecoveryCase):
    """
    A database that goes away, for a moment or for good, during an upload.
    """

    async def run_upload(self, created: Image, trouble: Trouble) -> Deferred[Image]:
        upload = self.start(self.world.transfers(trouble), created)
        self.world.settle(upload)
        return upload

    async def test_answer_lost(self) -> None:
        """
        An upload whose end was written down, but not confirmed, succeeds, and its data stay.
        """
        created = await self.world.create()
        trouble = Trouble()
        trouble.fail("after finish_upload", AWAY)
        image = self.successResultOf(await self.run_upload(created, trouble))
        self.assertEqual(image.status, ImageStatus.ACTIVE)
        self.assertTrue(await self.assert_sound(created))

    async def test_answer_lost_again_and_again(self) -> None:
        """
        So it does when every further answer is lost as well.
        """
        created = await self.world.create()
        trouble = Trouble()
        trouble.fail("after finish_upload", AWAY, lasting=True)
        self.successResultOf(await self.run_upload(created, trouble))
        self.assertTrue(await self.assert_sound(created))

    async def test_away_for_a_moment(self) -> None:
        """
        An upload outlives a database that is away for a moment at its end.
        """
        created = await self.world.create()
        trouble = Trouble()
        trouble.fail("before finish_upload", AWAY)
        self.successResultOf(await self.run_upload(created, trouble))
        self.assertTrue(await self.assert_sound(created))

    async def test_away_at_the_end(self) -> None:
        """
        An end that cannot be written down at all gives the upload up.
        """
        created = await self.world.create()
        trouble = Trouble()
        trouble.fail("before finish_upload", AWAY, lasting=True)
        self.failureResultOf(await self.run_upload(created, trouble), CatalogUnavailable)
        self.assertFalse(await self.assert_sound(created))

    async def test_away_for_good(self) -> None:
        """
        With the outcome unknown nothing is removed; recovery finds out, whichever it was.
        """
        for moment, kept in (("before finish_upload", False), ("after finish_upload", True)):
            for afterwards in ("before end_lease", "after end_lease", "before get"):
                self.world = self.make_world()
                created = await self.world.create()
                trouble = Trouble()
                trouble.fail(moment, AWAY, lasting=True)
                trouble.act("before store.commit", self._breaks(trouble, afterwards))
                upload = await self.run_upload(created, trouble)
                self.failureResultOf(upload, LeaseLost, CatalogUnavailable)
                self.assertEqual(len(self.stored()), 1)
                self.world.clock.advance(LEASE_SECONDS + 1)
                await self.world.recovery().sweep()
                self.assertEqual(await self.assert_sound(created), kept)

    def _breaks(self, trouble: Trouble, moment: str) -> Any:
        async def breaks() -> None:
            trouble.fail(moment, AWAY, lasting=True)

        return breaks

    async def test_commit_under_way(self) -> None:
        """
        A COMMIT that takes effect only after its connection was lost keeps its data.
        """
        created = await self.world.create()
        trouble = Trouble()
        trouble.fail("before finish_upload", AWAY, lasting=True)

        async def takes_effect() -> None:
            (lease,) = await self.world.repository.leases()
            data = StoredData(len(DATA), "m", "sha512", "s")
            await self.world.repository.finish_upload(lease, data, self.world.now())

        trouble.act("before end_lease", takes_effect)
        self.successResultOf(await self.run_upload(created, trouble))
        self.assertTrue(await self.assert_sound(created))

    async def test_away_while_clearing_up(self) -> None:
        """
        A refused upload that cannot be taken back is taken back by recovery.
        """
        created = await self.world.create()
        trouble = Trouble()
        trouble.fail("before end_lease", AWAY, lasting=True)
        trouble.fail("before store.commit", StoreUnavailable("main", "away"))
        self.failureResultOf(await self.run_upload(created, trouble), StoreUnavailable)
        self.world.clock.advance(LEASE_SECONDS + 1)
        await self.world.recovery().sweep()
        self.assertFalse(await self.assert_sound(created))

    async def test_away_during_heartbeats(self) -> None:
        """
        Heartbeats that fail for a while do not end an upload.
        """
        created = await self.world.create()
        trouble = Trouble()
        trouble.fail("before heartbeat", AWAY, lasting=True)
        reader = HeldReader()
        upload = self.start(self.world.transfers(trouble), created, reader)
        for _ in range(4):
            self.world.clock.advance(LEASE_SECONDS / 5)
        trouble.end()
        self.world.clock.advance(LEASE_SECONDS / 5)
        await self.world.recovery().sweep()
        reader.arrive(DATA)
        reader.arrive(b"")
        self.successResultOf(upload)
        self.assertTrue(await self.assert_sound(created))
