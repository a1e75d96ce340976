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

from glance_cache.cache import Cache
from glance_cache.errors import IndexUnavailable, UpstreamRefused
from glance_cache.interfaces import ICacheIndex, IOwnCredentials, IUpstream
from glance_tx.errors import FactualError

__all__ = ["PrefetchTools", "Prefetcher"]

_LOOK_AGAIN_SECONDS: Final = 30.0
"""Between two looks at the queue where nothing else gave reason for one: others may add to it."""

# Asking again will not help with these. A token that is not taken (401) may be renewed.
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
    credentials: IOwnCredentials
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
        self._stopping = False

    def start(self) -> None:
        """
        Begin to work.
        """
        self._stopping = False
        self._running = Deferred.fromCoroutine(self._run())

    async def stop(self) -> None:
        """
        Stop; what is queued stays so.
        """
        running, self._running = self._running, None
        if running is not None:
            self._stopping = True
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
        while not self._stopping:
            self._woken = False
            try:
                await self._work_through()
            except CancelledError:
                return
            except IndexUnavailable as error:
                self._log.warn("the prefetch queue cannot be worked on now: {error}", error=str(error))
            except Exception:  # a defect in one image must not end prefetching
                self._log.failure("prefetching met an unexpected condition")
            if not self._woken and not self._stopping:
                await self._sleep()

    async def _work_through(self) -> None:
        """
        Try each image of the queue once. The queue is read anew each time: it may be changed meanwhile.
        """
        tried: set[str] = set()
        while True:
            queue = await self._tools.index.queue(self._tools.node)
            image_id = next((queued for queued in queue if queued not in tried), None)
            if image_id is None:
                return
            tried.add(image_id)
            if await self._fetch(image_id):
                await self._tools.index.dequeue(self._tools.node, image_id)

    async def _fetch(self, image_id: str) -> bool:
        """
        Bring one image into the cache.

        :return: Whether it can leave the queue.
        """
        try:
            if not await self._fill(image_id):
                self._log.warn("image {image_id} has no data to be prefetched", image_id=image_id)
                return True
        except UpstreamRefused as error:
            self._log.warn("image {image_id} cannot be prefetched: {error}", image_id=image_id, error=str(error))
            return error.status in _FINAL_REFUSALS
        except FactualError as error:
            self._log.warn("image {image_id} was not prefetched: {error}", image_id=image_id, error=str(error))
            return False
        self._log.info("image {image_id} was prefetched", image_id=image_id)
        return True

    async def _fill(self, image_id: str) -> bool:
        """
        Bring one image into the cache, with other credentials where the first ones are not taken.

        :return: Whether there is anything to be had.
        """
        for again in (True, False):
            credentials = await self._tools.credentials.get()
            try:
                facts = await self._tools.upstream.authorize(image_id, credentials)
                if facts is None or not facts.size:
                    return False
                await self._tools.cache.fill(facts, credentials)
            except UpstreamRefused as error:
                if error.status != 401 or not self._tools.credentials.reject(credentials) or not again:
                    raise
            else:
                break
        return True

    async def _sleep(self) -> None:
        self._pause = deferLater(self._tools.clock, _LOOK_AGAIN_SECONDS, lambda: None)
        try:
            await self._pause
        except CancelledError:
            pass  # woken, or told to stop
        finally:
            self._pause = None
