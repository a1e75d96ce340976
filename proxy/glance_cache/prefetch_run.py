"""
One attempt to fetch one image of the queue.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import evolve, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from glance_cache.cache import Cache
from glance_cache.errors import IndexUnavailable, UpstreamRefused, UpstreamUnavailable
from glance_cache.interfaces import ICacheIndex, ImageFacts, IOwnCredentials, IUpstream
from glance_cache.jobs import Job, JobState
from glance_cache.pace import Bandwidth, Pace
from glance_tx.errors import FactualError
from glance_tx.identity.errors import IdentityUnavailable

__all__ = ["LEASE_SECONDS", "Attempt", "PrefetchTools"]

LEASE_SECONDS: Final = 30.0
"""A job whose worker died is claimed anew after this."""

_REPORT_SECONDS: Final = 2.0

# Asking again will not help with these. A token that is not taken (401) may be renewed.
_FINAL_REFUSALS: Final = frozenset({400, 403, 404, 410})

_FIRST_PAUSE_SECONDS: Final = 30.0
_LONGEST_PAUSE_SECONDS: Final = 1800.0


@frozen
class PrefetchTools:
    """
    What prefetching works with.

    :param node: Whose queue is worked on.
    :param worker: Who does; different for each process, and after each start.
    :param credentials: The node's own.
    :param told: Told of each job that begins, goes on, or ends: an image that was fetched leaves the queue, and is told
        of with the state ``None``.
    :param attempts: After so many an image is given up.
    :param bandwidth: For all images together; ``None`` where there is no limit.
    """

    cache: Cache
    upstream: IUpstream
    index: ICacheIndex
    node: str
    worker: str
    credentials: IOwnCredentials
    clock: IReactorTime
    told: Callable[[Job, JobState | None], object]
    attempts: int = 8
    bandwidth: Bandwidth | None = None


class Attempt:
    """
    Works on a job that was claimed, and keeps the claim meanwhile.

    :param job: As it was claimed.
    """

    _log = Logger()

    def __init__(self, tools: PrefetchTools, job: Job) -> None:
        self._tools = tools
        self._job = job
        self._facts: ImageFacts | None = None
        self._present_at_first = 0
        self._fetching: Deferred[bool] | None = None
        self._stopped = False
        self._claim_lost = False
        self._fetched = False

    def stop(self) -> None:
        """
        End early: the job waits again, and the attempt does not count. The fill goes on, if there is one.
        """
        self._stopped = True
        if self._fetching is not None:
            self._fetching.cancel()

    async def run(self) -> bool:
        """
        Do it.

        :return: Whether it is of use to try another job now: not so while the upstream is away.
        """
        if self._job.attempts > self._tools.attempts:
            await self._give_up(f"this node ended in the midst of it {self._job.attempts - 1} times")
            return True
        self._tools.told(self._job, JobState.RUNNING)
        reporting = LoopingCall(lambda: Deferred.fromCoroutine(self._report()))
        reporting.clock = self._tools.clock
        reporting.start(_REPORT_SECONDS, now=False).addErrback(lambda f: self._log.failure("a loop broke", f))
        try:
            return await self._try()
        finally:
            if reporting.running:
                reporting.stop()

    async def _try(self) -> bool:
        try:
            self._fetching = Deferred.fromCoroutine(self._fetch())
            if self._stopped:
                self._fetching.cancel()
            if not await self._fetching:
                await self._give_up("it has no data")
                return True
        except CancelledError:
            if not self._claim_lost:
                await self._wait(self._job.last_error, 0.0, undo=True)
        except UpstreamRefused as error:
            return await self._refused(error)
        except (IdentityUnavailable, UpstreamUnavailable) as error:
            away = self._facts is None
            await self._put_back(str(error), undo=away)
            return not away
        except FactualError as error:
            await self._put_back(str(error))
        else:
            await self._done()
        return True

    async def _refused(self, error: UpstreamRefused) -> bool:
        if error.status in _FINAL_REFUSALS:
            await self._give_up(str(error))
            return True
        # That the node's credentials are not taken is not this image's fault.
        ours = error.status == 401
        await self._put_back(str(error), undo=ours)
        return not ours

    async def _fetch(self) -> bool:
        """
        Bring the image into the cache, with other credentials where the first ones are not taken.

        :return: Whether there is anything to be had.
        """
        tools = self._tools
        for again in (True, False):
            credentials = await tools.credentials.get()
            try:
                facts = await tools.upstream.authorize(self._job.image_id, credentials)
                if facts is None or not facts.size:
                    return False
                self._facts = facts
                self._present_at_first = tools.cache.present_bytes(facts)
                pace = None if tools.bandwidth is None else Pace(tools.bandwidth)
                await tools.cache.fill(facts, credentials, pace)
            except UpstreamRefused as error:
                if error.status != 401 or not tools.credentials.reject(credentials) or not again:
                    raise
            else:
                break
        self._fetched = True
        return True

    def _now(self) -> Job:
        """
        Say how far the job is.
        """
        now = self._tools.clock.seconds()
        job = evolve(self._job, reported_at=now, lease_until=now + LEASE_SECONDS)
        if self._facts is None:
            return job
        present = self._facts.size if self._fetched else self._tools.cache.present_bytes(self._facts)
        fetched = max(0, present - self._present_at_first)
        return evolve(job, size_bytes=self._facts.size, present_bytes=present, fetched_bytes=fetched)

    async def _report(self) -> None:
        self._job = self._now()
        if self._fetched:
            return
        self._tools.told(self._job, JobState.RUNNING)
        try:
            counts = await self._tools.index.update_job(self._tools.node, self._job)
        except IndexUnavailable as error:
            self._log.warn(
                "nobody can be told that {image_id} is being prefetched: {error}",
                image_id=self._job.image_id,
                error=str(error),
            )
            return
        if not counts and self._fetching is not None:
            self._claim_lost = True
            self._fetching.cancel()

    async def _done(self) -> None:
        self._job = self._now()
        self._log.info("image {image_id} was prefetched", image_id=self._job.image_id)
        if await self._tools.index.remove_job(self._tools.node, self._job.image_id, self._job):
            self._tools.told(self._job, None)

    async def _put_back(self, reason: str, *, undo: bool = False) -> None:
        """
        Let the job be tried again after a while.

        :param undo: The attempt does not count: it says nothing of the image.
        """
        attempts = self._job.attempts
        if not undo and attempts >= self._tools.attempts:
            await self._give_up(f"{attempts} attempts were in vain, the last one because {reason}")
            return
        self._log.warn(
            "image {image_id} was not prefetched, and will be tried again: {reason}",
            image_id=self._job.image_id,
            reason=reason,
        )
        # Others come first then, even where the attempt does not count: it may be about this image after all.
        pause = _FIRST_PAUSE_SECONDS * 2.0 ** (0 if undo else attempts - 1)
        await self._wait(reason, min(pause, _LONGEST_PAUSE_SECONDS), undo=undo)

    async def _wait(self, reason: str | None, seconds: float, *, undo: bool) -> None:
        job = evolve(self._now(), state=JobState.QUEUED, last_error=reason)
        attempts = job.attempts - 1 if undo else job.attempts
        await self._settle(evolve(job, attempts=attempts, not_before=job.reported_at + seconds))

    async def _give_up(self, reason: str) -> None:
        image_id = self._job.image_id
        self._log.warn("image {image_id} will not be prefetched: {reason}", image_id=image_id, reason=reason)
        await self._settle(evolve(self._now(), state=JobState.FAILED, last_error=reason))

    async def _settle(self, job: Job) -> None:
        if await self._tools.index.update_job(self._tools.node, job):
            self._tools.told(job, job.state)
