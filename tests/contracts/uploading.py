"""
How image data come to be an image's.
"""

from __future__ import annotations

from attrs import evolve

from glance_tx.domain.errors import ImageGone, ImageNotFound, LeaseLost, StatusConflict
from glance_tx.domain.images import Image, ImageStatus, Location
from glance_tx.domain.interfaces import Lease, LeaseOwner
from tests.contracts.image_case import EPOCH, MINUTE, OTHER, OWNER, STORED, ImageCase
from tests.contracts.races import at_once


class ImageUploadsContract(ImageCase):
    """
    Uploads, and the leases that they hold.
    """

    async def test_an_upload_makes_a_queued_image_active(self) -> None:
        """
        Beginning moves the image to saving under a lease; finishing makes it active with its data, and drops the lease.
        """
        image = await self.add(name="x", properties={"a": "b"}, tags=frozenset({"t"}))
        lease = await self.begin(image, now=EPOCH + MINUTE)
        location = Location("main", f"file:///{image.id}.{lease.fence}")
        self.assertEqual(lease, Lease(image.id, lease.fence, OWNER, location, EPOCH + MINUTE))
        saving = evolve(image, status=ImageStatus.SAVING, updated_at=EPOCH + MINUTE)
        self.assertEqual(await self.images.get(image.id), saving)
        self.assertEqual(await self.images.leases(), [lease])
        active = await self.images.finish_upload(lease, STORED, EPOCH + 2 * MINUTE)
        self.assertEqual(
            active,
            evolve(
                image,
                status=ImageStatus.ACTIVE,
                updated_at=EPOCH + 2 * MINUTE,
                size=11,
                virtual_size=22,
                checksum=STORED.checksum,
                os_hash_algo="sha512",
                os_hash_value=STORED.os_hash_value,
                locations=(location,),
            ),
        )
        self.assertEqual(await self.images.get(image.id), active)
        self.assertEqual(await self.images.leases(), [])

    async def test_only_a_queued_image_takes_an_upload(self) -> None:
        """
        An image in another status takes none, and the plan for the data is not asked for.
        """
        for status in ImageStatus:
            if status in {ImageStatus.QUEUED, ImageStatus.DELETED}:
                continue
            image = await self.add(status=status)
            planned: list[int] = []
            with self.assertRaises(StatusConflict) as caught:
                await self.images.begin_upload(image.id, OWNER, planned.append, EPOCH)
            self.assertEqual(caught.exception.status, status.value)
            self.assertEqual(planned, [])
            self.assertEqual(await self.images.get(image.id), image)

    async def test_a_plan_that_fails_leaves_the_image_queued(self) -> None:
        """
        When no location can be told, there is no lease and the image is as it was.
        """
        image = await self.add()

        def plan(fence: int) -> Location:
            raise ValueError(fence)

        with self.assertRaises(ValueError):
            await self.images.begin_upload(image.id, OWNER, plan, EPOCH)
        self.assertEqual(await self.images.get(image.id), image)
        self.assertEqual(await self.images.leases(), [])

    async def test_of_uploads_that_begin_at_once_one_wins(self) -> None:
        """
        However many begin at the same time, one has the lease and the others are told that the image is saving.
        """
        for _ in range(5):
            image = await self.add()
            outcomes = await at_once(*(self.begin(image, LeaseOwner("n", f"{n}")) for n in range(4)))
            won = [outcome for outcome in outcomes if isinstance(outcome, Lease)]
            lost = [outcome for outcome in outcomes if isinstance(outcome, StatusConflict)]
            self.assertEqual((len(won), len(lost)), (1, 3), outcomes)
            self.assertEqual([lease for lease in await self.images.leases() if lease.image_id == image.id], won)

    async def test_fences_only_grow(self) -> None:
        """
        Each lease of an image has a greater fence than all before it, ended and forgotten ones included.
        """
        image = await self.add()
        fences = []
        for _ in range(3):
            lease = await self.begin(image)
            fences.append(lease.fence)
            await self.images.end_lease(lease, EPOCH)
            await self.images.forget_lease(lease)
        lease = await self.begin(image)
        await self.images.finish_upload(lease, STORED, EPOCH)
        ended = await self.images.delete(image.id, from_status=ImageStatus.ACTIVE)
        fences += [lease.fence, ended[0].fence]
        self.assertEqual(fences, sorted(set(fences)))
        self.assertGreater(fences[0], 0)

    async def test_a_heartbeat_is_noted(self) -> None:
        """
        The lease's last sign of life is the time of the heartbeat.
        """
        lease = await self.begin(await self.add())
        await self.images.heartbeat(lease, EPOCH + MINUTE)
        self.assertEqual(await self.images.leases(), [evolve(lease, heartbeat_at=EPOCH + MINUTE)])

    async def test_an_ended_lease_puts_the_image_back(self) -> None:
        """
        Ending a lease puts the image back to queued; the lease stays listed, as ended, until it is forgotten.
        """
        image = await self.add()
        lease = await self.begin(image)
        for _ in range(2):  # harmless when repeated
            await self.images.end_lease(lease, EPOCH + MINUTE)
            self.assertEqual(await self.images.get(image.id), evolve(image, updated_at=EPOCH + MINUTE))
            self.assertEqual(await self.images.leases(), [evolve(lease, ended=True)])
        for _ in range(2):
            await self.images.forget_lease(lease)
            self.assertEqual(await self.images.leases(), [])
        await self.images.end_lease(lease, EPOCH + MINUTE)
        self.assertEqual(await self.images.leases(), [])

    async def test_a_living_lease_is_not_forgotten(self) -> None:
        """
        Only ended leases can be dropped.
        """
        lease = await self.begin(await self.add())
        await self.images.forget_lease(lease)
        self.assertEqual(await self.images.leases(), [lease])

    async def test_the_owner_of_an_ended_lease_is_told(self) -> None:
        """
        Heartbeat and finish of a lease that was ended, or is gone, are refused, and the image stays as it is.
        """
        image = await self.add()
        lease = await self.begin(image)
        await self.images.end_lease(lease, EPOCH)
        for forget in (False, True):
            if forget:
                await self.images.forget_lease(lease)
            with self.assertRaises(LeaseLost) as caught:
                await self.images.heartbeat(lease, EPOCH + MINUTE)
            self.assertEqual(caught.exception.fence, lease.fence)
            with self.assertRaises(LeaseLost):
                await self.images.finish_upload(lease, STORED, EPOCH)
            self.assertEqual(await self.images.get(image.id), image)

    async def test_a_stalled_owner_cannot_disturb_its_successor(self) -> None:
        """
        Once another upload has begun, the earlier lease can neither finish it nor end it.
        """
        image = await self.add()
        stalled = await self.begin(image)
        await self.images.end_lease(stalled, EPOCH)
        current = await self.begin(image, OTHER)
        with self.assertRaises(LeaseLost):
            await self.images.finish_upload(stalled, STORED, EPOCH)
        with self.assertRaises(LeaseLost):
            await self.images.heartbeat(stalled, EPOCH)
        await self.images.end_lease(stalled, EPOCH)
        self.assertEqual((await self.images.get(image.id)).status, ImageStatus.SAVING)
        active = await self.images.finish_upload(current, STORED, EPOCH)
        self.assertEqual(active.locations, (current.location,))
        self.assertEqual(await self.images.leases(), [evolve(stalled, ended=True)])

    async def test_a_finished_upload_cannot_be_ended(self) -> None:
        """
        Ending the lease of an upload that was finished changes nothing; finishing it again is refused.
        """
        lease = await self.begin(await self.add())
        active = await self.images.finish_upload(lease, STORED, EPOCH)
        await self.images.end_lease(lease, EPOCH)
        with self.assertRaises(LeaseLost):
            await self.images.finish_upload(lease, STORED, EPOCH)
        self.assertEqual(await self.images.get(lease.image_id), active)
        self.assertEqual(await self.images.leases(), [])

    async def test_an_owner_whose_image_is_deleted_is_told(self) -> None:
        """
        Deleting an image in mid-upload leaves the lease to its owner, who is told that the image is gone.
        """
        image = await self.add()
        lease = await self.begin(image)
        self.assertEqual(await self.images.delete(image.id, from_status=ImageStatus.SAVING), [])
        self.assertEqual(await self.images.leases(), [lease])
        with self.assertRaises(ImageGone):
            await self.images.heartbeat(lease, EPOCH)
        with self.assertRaises(ImageGone):
            await self.images.finish_upload(lease, STORED, EPOCH)
        self.assertEqual(await self.images.leases(), [evolve(lease, ended=True)])
        with self.assertRaises(ImageGone):
            await self.images.heartbeat(lease, EPOCH)
        with self.assertRaises(ImageNotFound):
            await self.images.get(image.id)
        await self.images.forget_lease(lease)
        self.assertEqual(await self.images.leases(), [])

    async def test_a_lease_of_a_deleted_image_can_be_ended(self) -> None:
        """
        Where the owner is gone too, somebody else ends the lease.
        """
        image = await self.add()
        lease = await self.begin(image)
        await self.images.delete(image.id, from_status=ImageStatus.SAVING)
        await self.images.end_lease(lease, EPOCH)
        self.assertEqual(await self.images.leases(ended=True), [evolve(lease, ended=True)])
        with self.assertRaises(ImageNotFound):
            await self.images.get(image.id)

    async def test_finishing_and_ending_at_once_agree(self) -> None:
        """
        Of finishing and ending at the same time one counts: active without a lease, or queued with an ended one.
        """
        for _ in range(8):
            image = await self.add()
            lease = await self.begin(image)
            finished, ended = await at_once(
                self.images.finish_upload(lease, STORED, EPOCH), self.images.end_lease(lease, EPOCH)
            )
            self.assertIsNone(ended)
            kept = await self.images.get(image.id)
            left = [each for each in await self.images.leases() if each.image_id == image.id]
            if isinstance(finished, Image):
                self.assertEqual((kept, left), (finished, []))
            else:
                self.assertIsInstance(finished, LeaseLost)
                self.assertEqual((kept, left), (image, [evolve(lease, ended=True)]))

    async def test_finishing_and_deleting_at_once_agree(self) -> None:
        """
        Of finishing and deleting at the same time one counts: active, or gone with an ended lease.
        """
        for _ in range(8):
            image = await self.add()
            lease = await self.begin(image)
            finished, deleted = await at_once(
                self.images.finish_upload(lease, STORED, EPOCH),
                self.images.delete(image.id, from_status=ImageStatus.SAVING),
            )
            left = [each for each in await self.images.leases() if each.image_id == image.id]
            if isinstance(finished, Image):
                self.assertIsInstance(deleted, StatusConflict)
                self.assertEqual((await self.images.get(image.id), left), (finished, []))
            else:
                self.assertIsInstance(finished, ImageGone)
                self.assertEqual((deleted, left), ([], [evolve(lease, ended=True)]))

    async def test_leases_are_listed_by_state_and_silence(self) -> None:
        """
        Leases can be asked for by whether they are ended, and by how long they have been silent; the oldest come first.
        """
        old = await self.begin(await self.add(), now=EPOCH)
        new = await self.begin(await self.add(), OTHER, now=EPOCH + MINUTE)
        over = await self.begin(await self.add(), now=EPOCH - MINUTE)
        await self.images.end_lease(over, EPOCH)
        over = evolve(over, ended=True)
        self.assertEqual(await self.images.leases(), [over, old, new])
        self.assertEqual(await self.images.leases(ended=True), [over])
        self.assertEqual(await self.images.leases(ended=False), [old, new])
        self.assertEqual(await self.images.leases(silent_since=EPOCH + MINUTE), [over, old])
        self.assertEqual(await self.images.leases(ended=False, silent_since=EPOCH + MINUTE), [old])
        self.assertEqual(await self.images.leases(silent_since=EPOCH - MINUTE), [])
