"""
What every index of the caching tier does with prefetch queues.
"""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults

from glance_cache.interfaces import ICacheIndex
from glance_cache.jobs import Job, JobState
from tests.contracts.index import IndexContract, image

AT = 1700000000.25
MANY = 1000


class JobsContract(IndexContract):
    """
    Mixed into a `twisted.trial.unittest.TestCase` that has ``make_index``.
    """

    async def claim(self, index: ICacheIndex, now: float = AT, most: int = MANY, worker: str = "w") -> Job:
        """
        Claim a job that is there, for 30 seconds.
        """
        job = await index.claim_job("a", worker, now, now + 30, most)
        assert job is not None
        return job

    async def none_left(self, index: ICacheIndex, now: float = AT, most: int = MANY) -> bool:
        return await index.claim_job("a", "w", now, now + 30, most) is None

    async def ids(self, index: ICacheIndex, node: str = "a") -> list[str]:
        return [job.image_id for job in await index.jobs(node)]

    async def test_jobs_in_order(self) -> None:
        """
        Jobs are listed, and claimed, by priority first, and then in the order in which they were added.
        """
        index = await self.index()
        self.assertEqual(await index.add_jobs("a", [image(3), image(1)], 0, AT), 2)
        self.assertEqual(await index.add_jobs("a", [image(2), image(9)], 0, AT - 100), 2)
        self.assertEqual(await index.add_jobs("a", [image(7)], -100, AT), 1)
        self.assertEqual(await index.add_jobs("a", [image(8)], 100, AT), 1)
        order = [image(number) for number in (8, 3, 1, 2, 9, 7)]
        self.assertEqual(await self.ids(index), order)
        self.assertEqual([(await self.claim(index)).image_id for _ in order], order)
        self.assertTrue(await self.none_left(index))

    async def test_added_again(self) -> None:
        """
        An image that waits keeps its place when it is added again; a higher priority counts, a lower one does not.
        """
        index = await self.index()
        await index.add_jobs("a", [image(1), image(2), image(3)], 5, AT)
        self.assertEqual(await index.add_jobs("a", [image(1), image(2)], 1, AT + 1), 0)
        self.assertEqual(await self.ids(index), [image(1), image(2), image(3)])
        self.assertEqual(await index.add_jobs("a", [image(3), image(4)], 6, AT + 1), 1)
        self.assertEqual(
            [(job.image_id, job.priority) for job in await index.jobs("a")][:2], [(image(3), 6), (image(4), 6)]
        )
        self.assertEqual(await index.add_jobs("a", [], 6, AT + 1), 0)

    async def test_all_that_is_known(self) -> None:
        """
        A job is listed with all that is known of it, exactly.
        """
        index = await self.index()
        await index.add_jobs("a", [image(1)], 3, AT)
        (job,) = await index.jobs("a")
        self.assertEqual(job, Job(image_id=image(1), place=job.place, queued_at=AT, priority=3))
        claimed = await self.claim(index, AT + 1)
        expected = evolve(
            job,
            state=JobState.RUNNING,
            worker="w",
            fence=1,
            attempts=1,
            lease_until=AT + 31,
            started_at=AT + 1,
            reported_at=AT + 1,
        )
        self.assertEqual((claimed, list(await index.jobs("a"))), (expected, [expected]))
        told = evolve(
            claimed, reported_at=AT + 2, lease_until=AT + 32, size_bytes=10**13 + 1, present_bytes=77, fetched_bytes=7
        )
        self.assertTrue(await index.update_job("a", told))
        self.assertEqual(list(await index.jobs("a")), [told])
        waiting = evolve(told, state=JobState.QUEUED, not_before=AT + 50, last_error="\"it' broke: é\\")
        self.assertTrue(await index.update_job("a", waiting))
        self.assertEqual(list(await index.jobs("a")), [waiting])

    async def test_most_running(self) -> None:
        """
        No more are claimed than may run on the node; what another node runs does not count.
        """
        index = await self.index()
        await index.add_jobs("a", [image(1), image(2), image(3)], 0, AT)
        await index.add_jobs("b", [image(1)], 0, AT)
        self.assertIsNotNone(await index.claim_job("b", "w", AT, AT + 30, 1))
        first = await self.claim(index, most=2)
        await self.claim(index, most=2, worker="other")
        self.assertTrue(await self.none_left(index, most=2))
        self.assertTrue(await index.remove_job("a", first.image_id, first))
        self.assertEqual((await self.claim(index, most=2)).image_id, image(3))

    async def test_not_before(self) -> None:
        """
        A job that is to wait lets others go first; when it is added again it waits no more.
        """
        index = await self.index()
        await index.add_jobs("a", [image(number) for number in range(205)], 0, AT)
        for _ in range(202):
            job = await self.claim(index)
            await index.update_job("a", evolve(job, state=JobState.QUEUED, not_before=AT + 10))
        self.assertEqual((await self.claim(index)).image_id, image(202))
        self.assertEqual((await self.claim(index, AT + 10)).image_id, image(0))
        await index.add_jobs("a", [image(5)], 0, AT)
        self.assertEqual((await self.claim(index)).image_id, image(5))

    async def test_lease(self) -> None:
        """
        A job whose lease ran out is claimed anew, in its place; the first holder's word counts no more.
        """
        index = await self.index()
        await index.add_jobs("a", [image(1), image(2)], 0, AT)
        first = await self.claim(index)
        self.assertTrue(await index.update_job("a", evolve(first, lease_until=AT + 40)))
        self.assertEqual((await self.claim(index, AT + 39)).image_id, image(2))
        self.assertTrue(await self.none_left(index, AT + 39))
        second = await self.claim(index, AT + 40, most=2, worker="other")
        self.assertEqual((second.image_id, second.worker, second.attempts), (image(1), "other", 2))
        for state in JobState:
            self.assertFalse(await index.update_job("a", evolve(first, state=state, lease_until=AT + 99)))
        self.assertFalse(await index.remove_job("a", image(1), first))
        self.assertIn(second, await index.jobs("a"))
        self.assertTrue(await index.remove_job("a", image(1), second))

    async def test_claim_of_an_earlier_job(self) -> None:
        """
        What is said of a job that was taken out does not count for the one that came after it.
        """
        index = await self.index()
        await index.add_jobs("a", [image(1)], 0, AT)
        first = await self.claim(index)
        self.assertTrue(await index.remove_job("a", image(1)))
        self.assertFalse(await index.update_job("a", first))
        self.assertEqual(await self.ids(index), [])
        await index.add_jobs("a", [image(1)], 0, AT)
        self.assertFalse(await index.update_job("a", first))
        await self.claim(index)
        self.assertFalse(await index.update_job("a", evolve(first, state=JobState.FAILED)))
        self.assertFalse(await index.remove_job("a", image(1), first))
        await index.clear_jobs("a")
        await index.add_jobs("a", [image(1)], 0, AT)
        await self.claim(index)
        self.assertFalse(await index.update_job("a", first))

    async def test_given_up(self) -> None:
        """
        A job that was given up is listed and not claimed; added again, it begins anew, as the last one.
        """
        index = await self.index()
        await index.add_jobs("a", [image(1), image(2)], 0, AT)
        job = await self.claim(index)
        self.assertTrue(await index.update_job("a", evolve(job, state=JobState.FAILED, last_error="no")))
        self.assertEqual((await self.claim(index)).image_id, image(2))
        self.assertTrue(await self.none_left(index, AT + 1))
        self.assertTrue(await index.update_job("a", evolve(job, state=JobState.FAILED)) is False)
        first = (await index.jobs("a"))[0]
        self.assertEqual((first.image_id, first.state), (image(1), JobState.FAILED))
        self.assertEqual(await index.add_jobs("a", [image(1)], 0, AT + 2), 1)
        again = (await index.jobs("a"))[-1]
        self.assertEqual((again.image_id, again.state, again.attempts, again.last_error), (image(1), "queued", 0, None))
        self.assertEqual((await self.claim(index, AT + 2)).image_id, image(1))

    async def test_priority_of_a_running_job(self) -> None:
        """
        A priority that is raised while a job runs counts when it waits again.
        """
        index = await self.index()
        await index.add_jobs("a", [image(1), image(2)], 0, AT)
        job = await self.claim(index)
        await index.add_jobs("a", [image(1), image(2)], 9, AT)
        await index.update_job("a", evolve(job, state=JobState.QUEUED))
        self.assertEqual(
            [(job.image_id, job.priority) for job in await index.jobs("a")], [(image(1), 9), (image(2), 9)]
        )

    async def test_taken_out(self) -> None:
        """
        Jobs are taken out whatever their state, one by one or all together; each time it is told how many were there.
        """
        index = await self.index()
        await index.add_jobs("a", [image(number) for number in (1, 2, 3, 4)], 0, AT)
        await self.claim(index)
        failed = await self.claim(index)
        await index.update_job("a", evolve(failed, state=JobState.FAILED))
        self.assertTrue(await index.remove_job("a", image(3)))
        self.assertFalse(await index.remove_job("a", image(3)))
        self.assertEqual(await self.ids(index), [image(1), image(2), image(4)])
        self.assertEqual((await index.clear_jobs("a"), await index.clear_jobs("a")), (3, 0))
        self.assertEqual(await self.ids(index), [])
        self.assertTrue(await self.none_left(index, AT + 100))

    async def test_queues_by_node(self) -> None:
        """
        Each node has a queue of its own.
        """
        index = await self.index()
        await index.add_jobs("a", [image(1)], 0, AT)
        await index.add_jobs("b", [image(1), image(2)], 0, AT)
        self.assertFalse(await index.remove_job("a", image(2)))
        job = await self.claim(index)
        self.assertFalse(await index.update_job("b", job))
        self.assertEqual(await index.clear_jobs("b"), 2)
        self.assertEqual(await self.ids(index), [image(1)])

    async def test_claims_at_once(self) -> None:
        """
        However many ask at the same time, each job has one holder, and no more run than may.
        """
        index = await self.index()
        await index.add_jobs("a", [image(number) for number in range(20)], 0, AT)
        asking = [Deferred.fromCoroutine(index.claim_job("a", f"w{n}", AT, AT + 30, 12)) for n in range(30)]
        claimed = [job.image_id for job in await gatherResults(asking, consumeErrors=True) if job is not None]
        self.assertEqual(sorted(claimed), [image(number) for number in range(12)])

    async def test_a_long_queue(self) -> None:
        """
        Thousands of jobs are no different from one.
        """
        index = await self.index()
        ids = [image(number) for number in range(2345)]
        self.assertEqual(await index.add_jobs("a", ids, 0, AT), len(ids))
        self.assertEqual(await self.ids(index), ids)
        self.assertEqual(await index.clear_jobs("a"), len(ids))
