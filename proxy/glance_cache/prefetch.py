"""
Fills that nobody is waiting for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from glance_cache.chores import Chores
from glance_cache.errors import IndexUnavailable
from glance_cache.interfaces import ISiblings
from glance_cache.jobs import Job
from glance_cache.prefetch_run import LEASE_SECONDS, Attempt, PrefetchTools

__all__ = ["Prefetcher"]

_LOOK_AGAIN_SECONDS: Final = 30.0
"""Between two looks at the queue where nothing else gave reason for one: others may add to it."""

_QUEUED: Final = "queued"
"""What siblings tell each other when something was added to the queue."""

_FIRST_REST_SECONDS: Final = 5.0
_LONGEST_REST_SECONDS: Final = 60.0


class Prefetcher:
    """
    Works on this node's queue, some images at a time. The queue is in the index and survives a restart; several
    processes may work on it. An image leaves it when it is in the cache, and is given up, to be seen there, when the
    upstream says that it never will be, or after too many attempts.

    :param concurrency: Most images at a time, of all processes of this node.
    :param may_begin: Tells whether this is a time to begin.
    :param siblings: Other processes of this node, of which one works on the queue; ``None`` for none.
    """

    _log = Logger()

    def __init__(
        self,
        tools: PrefetchTools,
        concurrency: int,
        may_begin: Callable[[], bool] = lambda: True,
        siblings: ISiblings | None = None,
    ) -> None:
        self._tools = tools
        self._concurrency = concurrency
        self._may_begin = may_begin
        self._siblings = siblings
        if siblings is not None:
            siblings.hear(_QUEUED, lambda _: self._look_soon())
        self._chores = Chores()
        self._running: Deferred[None] | None = None
        self._pause: Deferred[None] | None = None
        self._attempts: set[Attempt] = set()
        self._rest_seconds = 0.0
        self._rest_until = 0.0
        self._woken = False
        self._stopping = False

    @property
    def may_begin(self) -> bool:
        """
        Whether this is a time to begin.
        """
        return self._may_begin()

    def start(self) -> None:
        """
        Begin to work.
        """
        self._stopping = False
        self._running = Deferred.fromCoroutine(self._run())

    async def stop(self) -> None:
        """
        Stop; what is queued stays so, and so does what is on its way.
        """
        running, self._running = self._running, None
        if running is None:
            return
        self._stopping = True
        running.cancel()
        await running
        for attempt in tuple(self._attempts):
            attempt.stop()
        await self._chores.done()

    def wake(self) -> None:
        """
        Say that something was queued.
        """
        self._look_soon()
        if self._siblings is not None and self._running is None:
            self._siblings.tell(_QUEUED, None)

    def _look_soon(self) -> None:
        self._woken = True
        if self._pause is not None:
            self._pause.cancel()

    async def _run(self) -> None:
        while not self._stopping:
            self._woken = False
            try:
                await self._begin_all()
            except CancelledError:
                return
            except IndexUnavailable as error:
                self._log.warn("the prefetch queue cannot be worked on now: {error}", error=str(error))
            except Exception:  # a defect must not end prefetching
                self._log.failure("prefetching met an unexpected condition")
            if not self._woken and not self._stopping:
                await self._sleep()

    async def _begin_all(self) -> None:
        """
        Begin as much as may be done at once.
        """
        while self._may_begin() and self._tools.clock.seconds() >= self._rest_until:
            # A claim that nobody waits for any more would keep others from the job until its lease ends.
            job = await self._chores.run(self._claim(), unwanted=self._begin)
            if job is None:
                return
            self._begin(job)

    async def _claim(self) -> Job | None:
        now = self._tools.clock.seconds()
        return await self._tools.index.claim_job(
            self._tools.node, self._tools.worker, now, now + LEASE_SECONDS, self._concurrency
        )

    def _begin(self, job: Job | None) -> None:
        if job is None:
            return
        attempt = Attempt(self._tools, job)
        self._attempts.add(attempt)
        if self._stopping:
            attempt.stop()
        self._chores.start(self._run_attempt(attempt, job.image_id))

    async def _run_attempt(self, attempt: Attempt, image_id: str) -> None:
        try:
            useful = await attempt.run()
        except IndexUnavailable as error:
            # The lease ends by itself; what is in the cache is found there then.
            self._log.warn("the prefetch queue does not know of {id}: {error}", id=image_id, error=str(error))
            return
        except Exception:  # a defect in one image must not end prefetching; it counts as an attempt
            self._log.failure("prefetching {id} met an unexpected condition", id=image_id)
            return
        finally:
            self._attempts.discard(attempt)
        if useful:
            self._rest_seconds = 0.0
        else:
            self._rest_seconds = min(max(2 * self._rest_seconds, _FIRST_REST_SECONDS), _LONGEST_REST_SECONDS)
            self._rest_until = self._tools.clock.seconds() + self._rest_seconds
        self._look_soon()

    async def _sleep(self) -> None:
        rest = self._rest_until - self._tools.clock.seconds()
        seconds = min(_LOOK_AGAIN_SECONDS, rest) if rest > 0 else _LOOK_AGAIN_SECONDS
        self._pause = deferLater(self._tools.clock, seconds, lambda: None)
        try:
            await self._pause
        except CancelledError:
            pass  # woken, or told to stop
        finally:
            self._pause = None
