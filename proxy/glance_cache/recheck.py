"""
Whether what is cached is still there upstream.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from glance_cache.entries import EntryStore
from glance_cache.errors import FolderUnusable, UpstreamMismatch, UpstreamRefused
from glance_cache.interfaces import IOwnCredentials, IUpstream
from glance_tx.errors import FactualError

__all__ = ["Recheck", "RecheckTools"]

_AGAIN_SECONDS: Final = 30.0
"""Until the next try, where nobody could be asked."""

# Every answer of an image service has one. What stands before it may answer 404 by itself, and means something else.
_REQUEST_ID: Final = b"x-openstack-request-id"


@frozen
class RecheckTools:
    """
    What checking works with.

    :param credentials: The node's own. They have to see all images: one that they do not see counts as deleted.
    :param per_second: Images asked about.
    :param gone: Called for each that was removed.
    """

    entries: EntryStore
    upstream: IUpstream
    credentials: IOwnCredentials
    clock: IReactorTime
    per_second: int
    gone: Callable[[], object]


class Recheck:
    """
    Asks for each cached image whether there is one, at a leisurely pace, and removes those that are deleted. Who may
    read an image is not its concern.
    """

    _log = Logger()

    def __init__(self, tools: RecheckTools) -> None:
        self._tools = tools
        self._running: Deferred[None] | None = None
        self._again = False

    def begin(self) -> None:
        """
        Check all that is cached now; where a check is under way, once more after it.
        """
        self._again = True
        if self._running is None:
            running = self._running = Deferred.fromCoroutine(self._run())
            if running.called:
                self._running = None

    async def stop(self) -> None:
        """
        Check no more.
        """
        running = self._running
        if running is not None:
            running.cancel()
            await running

    async def _run(self) -> None:
        try:
            while self._again:
                self._again = False
                await self._tools.entries.account.when_settled()
                await self._check_all()
        except CancelledError:
            pass  # by `stop`
        except FolderUnusable as error:
            self._log.warn("cached images are not checked: {error}", error=error)
        except Exception:  # the next subscription begins anew
            self._log.failure("checking cached images met an unexpected condition")
        finally:
            self._running = None

    async def _check_all(self) -> None:
        for image_id in sorted({info.image_id for info in self._tools.entries.inventory()}):
            await self._until_known(image_id)
            await deferLater(self._tools.clock, 1 / self._tools.per_second)

    async def _until_known(self, image_id: str) -> None:
        told = False
        while True:
            try:
                if await self._is_deleted(image_id):
                    await self._tools.entries.remove(image_id)
                    self._tools.gone()
                    self._log.info("image {image_id} is deleted upstream and left the cache", image_id=image_id)
            except UpstreamMismatch as error:
                self._log.warn("{error}", error=error)
            except FolderUnusable:
                raise
            except FactualError as error:
                if not told:
                    told = True
                    self._log.warn("checking cached images waits: {error}", error=error)
                await deferLater(self._tools.clock, _AGAIN_SECONDS)
                continue
            return

    async def _is_deleted(self, image_id: str) -> bool:
        for again in (True, False):
            credentials = await self._tools.credentials.get()
            try:
                await self._tools.upstream.show(image_id, credentials)
            except UpstreamRefused as error:
                if error.status == 401 and again and self._tools.credentials.reject(credentials):
                    continue
                if error.status == 404:
                    return any(name.lower() == _REQUEST_ID for name, _ in error.headers)
                if error.status == 403:
                    return False
                raise  # not the image is the matter, but those who ask, or who are asked
            return False
        return False
