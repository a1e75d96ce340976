"""
Fills that nobody is waiting for.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from glance_cache.cache import Cache
from glance_cache.errors import CacheError, IndexUnavailable, UpstreamRefused
from glance_cache.interfaces import ICacheIndex, IUpstream, UpstreamCredentials

__all__ = ["PrefetchTools", "Prefetcher"]

_LOOK_AGAIN_SECONDS: Final = 30.0
"""Between two looks at the queue where nothing else gave reason for one: others may add to it."""

# Asking again will not help with these.
_FINAL_REFUSALS: Final = frozenset({400, 403, 404, 410})


@frozen
class PrefetchTools:
    """
    What prefetching works with.

    :param node: Whose queue is worked on.
    :param credentials: The node's own.
    """

    cache: Cache
    upstream: IUpstream
    index: ICacheIndex
    node: str
    credentials: UpstreamCredentials
    clock: IReactorTime


class Prefetcher:
    """
    Works on this node's queue: one image at a time, the oldest first. The queue is in the index and survives a
    restart; an image leaves it when it is in the cache, or when the upstream says that it never will be.
    """

    _log = Logger()

    def __init__(self, tools: PrefetchTools) -> None:
        self._tools = tools
        self._running: Deferred[None] | None = None
        self._pause: Deferred[None] | None = None
        self._woken = False

    def start(self) -> None:
        """
        Begin to work.
        """
        self._running = Deferred.fromCoroutine(self._run())
        self._running.addErrback(self._broken)

    async def stop(self) -> None:
        """
        Stop; what is queued stays so.
        """
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            await running

    def wake(self) -> None:
        """
        Say that something was queued.
        """
        self._woken = True
        if self._pause is not None:
            self._pause.cancel()

    async def _run(self) -> None:
        while True:
            self._woken = False
            await self._work_once()
            if not self._woken:
                await self._sleep()

    async def _work_once(self) -> None:
        try:
            for image_id in await self._tools.index.queue(self._tools.node):
                if await self._fetch(image_id):
                    await self._tools.index.dequeue(self._tools.node, image_id)
        except IndexUnavailable as error:
            self._log.warn("the prefetch queue cannot be worked on now: {error}", error=str(error))

    async def _fetch(self, image_id: str) -> bool:
        """
        Bring one image into the cache.

        :return: Whether it can leave the queue.
        """
        try:
            facts = await self._tools.upstream.authorize(image_id, self._tools.credentials)
            if facts is None or not facts.size:
                self._log.warn("image {image_id} has no data to be prefetched", image_id=image_id)
                return True
            await self._tools.cache.fill(facts, self._tools.credentials)
        except UpstreamRefused as error:
            self._log.warn("image {image_id} cannot be prefetched: {error}", image_id=image_id, error=str(error))
            return error.status in _FINAL_REFUSALS
        except CacheError as error:
            self._log.warn("image {image_id} was not prefetched: {error}", image_id=image_id, error=str(error))
            return False
        self._log.info("image {image_id} was prefetched", image_id=image_id)
        return True

    async def _sleep(self) -> None:
        self._pause = deferLater(self._tools.clock, _LOOK_AGAIN_SECONDS, lambda: None)
        try:
            await self._pause
        except CancelledError:
            if not self._woken:
                raise
        finally:
            self._pause = None

    def _broken(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._log.failure("prefetching has stopped", failure)
