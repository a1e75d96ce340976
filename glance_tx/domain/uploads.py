"""
One upload, from its lease to the active image or back to the queued one.

Note [Upload lease]
-------------------
::

    choose_place    where in the store the data will lie
    queued --begin_upload--> saving, lease (fence n, location of fence n) ---+
                                                                             |  heartbeat, all the while
      open_writer   a file of this fence's own                               |
      pump          limit -> digests, inspection, writer                     |
      commit        if the quota still allows it: durable, then visible  |
                                                                             |
    saving --finish_upload (if the lease is still the image's)--> active ----+
    saving --end_lease--> queued, lease ended --delete data--> forget_lease

The location stands in the database before its first byte does anywhere, so whatever a crash leaves can be found.
Each attempt has a fence, and a location, of its own: a stalled owner that wakes up late can harm nothing but its own
file, and `finish_upload` tells it so. Data are removed only while the database surely does not count on them: after
an attempt to finish, that is once the lease has been ended and the image read again, for the answer to a COMMIT may be
lost while the COMMIT itself holds. Whoever cannot find out leaves everything in place. Then the lease, if it is still
there, falls silent, and recovery does the rest (`glance_tx.domain.recovery`).

Only the pumping can be cancelled. The other steps run to their end, because a cancelled transaction goes on in the
database, and a cancelled system call in its thread.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from attrs import field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from glance_tx.domain.errors import (
    CatalogUnavailable,
    FormatsNotSet,
    ImageGone,
    ImageNotFound,
    ImageTooLarge,
    SizeMismatch,
)
from glance_tx.domain.images import Image, Location
from glance_tx.domain.inspection import INSPECTED_CONTAINER, FormatRules, Inspection
from glance_tx.domain.interfaces import IImageRepository, Lease, LeaseOwner, StoredData
from glance_tx.domain.leases import LeaseKeeper, Reclaimer, persistently
from glance_tx.domain.quotas import Claim, StorageQuota
from glance_tx.inspection.interfaces import IFormatDetector
from glance_tx.stores.errors import LocationTaken, StoreError
from glance_tx.stores.interfaces import IStore, IStoreWriter
from glance_tx.streaming.digest import Digests
from glance_tx.streaming.errors import BodyTooLong
from glance_tx.streaming.interfaces import IBodyReader
from glance_tx.streaming.lanes import Lanes
from glance_tx.streaming.limit import LimitedReader
from glance_tx.streaming.pump import pump
from glance_tx.streaming.units import GiB

__all__ = ["Upload", "UploadRules", "UploadTools"]

_log = Logger()


@frozen
class UploadRules:
    """
    What an operator decides about uploads.

    :param image_size_cap: Most bytes of one image; stock's option of that name.
    :param hashing_algorithm: What ``os_hash_value`` is made with; any name hashlib knows.
    :param lease_seconds: How long an upload's lease lives without a sign.
    :param max_uploads: Uploads that one process takes in at a time: each may hold some MiB in memory.
    :param formats: What the data have to be.
    """

    image_size_cap: int = 1024 * GiB
    hashing_algorithm: str = "sha512"
    lease_seconds: float = 60.0
    max_uploads: int = 100
    formats: FormatRules = field(factory=FormatRules)

    @property
    def heartbeat_seconds(self) -> float:
        """
        Time between two signs of life: four may be lost.
        """
        return self.lease_seconds / 5


@frozen
class UploadTools:
    """
    What all uploads work with.

    :param store: Where new data go.
    :param lanes: Where data are hashed and inspected.
    :param make_detector: Makes what tells the format of one image's data.
    :param owner: This process.
    :param clock: Times heartbeats and retries.
    :param now: The time to write down, in UTC.
    :param quota: What projects may keep, as far as this process knows.
    """

    repository: IImageRepository
    reclaimer: Reclaimer
    store: IStore
    lanes: Lanes
    make_detector: Callable[[], IFormatDetector]
    owner: LeaseOwner
    clock: IReactorTime
    now: Callable[[], datetime]
    rules: UploadRules
    quota: StorageQuota


@frozen
class _Terms:
    """
    What the data of one upload have to meet.
    """

    claim: Claim
    inspection: Inspection | None


class Upload:
    """
    Brings the data of one image in. See Note [Upload lease].

    :param image: Whose data they are.
    :param reader: The data.
    :param declared_size: How long they are, where that was said.
    :param begun: Called once the image is saving.
    """

    def __init__(
        self,
        tools: UploadTools,
        image: Image,
        reader: IBodyReader,
        declared_size: int | None,
        begun: Callable[[], None] = lambda: None,
    ) -> None:
        self._tools = tools
        self._image = image
        self._image_id = image.id
        self._reader = reader
        self._declared_size = declared_size
        self._begun = begun
        self._stopped: Exception | None = None
        self._pumping: Deferred[StoredData] | None = None

    def stop(self, reason: Exception) -> None:
        """
        Stop taking data in, unless all have come: then there is nothing to gain by it.

        :param reason: What `run` raises. The first one counts.
        """
        if self._stopped is None:
            self._stopped = reason
            if self._pumping is not None:
                self._pumping.cancel()

    async def run(self) -> Image:
        """
        Do it all. Must not be cancelled, but told to `stop`.

        :return: The active image.
        :raises ImageNotFound: It was deleted before its data came.
        :raises StatusConflict: It is not queued any more.
        :raises ImageGone: It was deleted meanwhile; the data are removed.
        :raises LeaseLost: The upload was given up on; the data are removed.
        :raises ImageTooLarge: There are more data than one image may have.
        :raises StorageQuotaExceeded: There are more than the image's project may keep.
        :raises SizeMismatch: They are not as long as declared.
        :raises FormatRefused: They are not of the image's format, or not safe.
        :raises StreamingError: They did not come whole.
        :raises StoreError: They cannot be kept.
        :raises CatalogUnavailable: The database is away.
        """
        with await self._tools.quota.claim(self._image, self._declared_size) as claim:
            return await self._run(claim)

    async def _run(self, claim: Claim) -> Image:
        tools = self._tools
        place = await tools.store.choose_place(self._declared_size)
        lease = await tools.repository.begin_upload(
            self._image_id, tools.owner, lambda fence: self._plan(fence, place), tools.now()
        )
        keeper = LeaseKeeper(tools.repository, lease, tools.rules.heartbeat_seconds, tools.clock, tools.now, self.stop)
        keeper.start()
        self._begun()
        try:
            data = await self._store(lease, keeper, claim)
            return await self._finish(lease, data)
        finally:
            keeper.stop()

    def _plan(self, fence: int, place: str | None) -> Location:
        store = self._tools.store
        return Location(store.name, store.plan_location(self._image_id, fence, place))

    async def _store(self, lease: Lease, keeper: LeaseKeeper, claim: Claim) -> StoredData:
        try:
            terms = _Terms(claim, await self._inspection())
            writer = await self._tools.store.open_writer(lease.location.url, self._declared_size)
        except LocationTaken:
            # Not ours to remove: the database may be an older copy of itself, with fences of long ago.
            await self._give_back(lease, clear=False)
            raise
        except Exception:
            await self._give_back(lease)
            raise
        try:
            data = await self._receive(writer, terms)
            await keeper.confirm()
            await persistently(self._tools.clock, lease, lambda: claim.confirm(data.size))
            await writer.commit()
        except Exception:
            await self._abort(writer)
            await self._give_back(lease)
            raise
        return data

    async def _inspection(self) -> Inspection | None:
        """
        Prepare to look at the data, by the formats that the image has now: they stay while it is saving, and may have
        been others when the upload was let in.
        """
        tools = self._tools
        try:
            image = await tools.repository.get(self._image_id)
        except ImageNotFound as problem:
            raise ImageGone(self._image_id) from problem
        if not image.formats_set:
            raise FormatsNotSet(self._image_id)
        if image.container_format != INSPECTED_CONTAINER:
            return None
        return Inspection(image, tools.rules.formats, tools.make_detector(), tools.lanes.lane("inspection"))

    async def _receive(self, writer: IStoreWriter, terms: _Terms) -> StoredData:
        if self._stopped is not None:
            raise self._stopped
        self._pumping = Deferred.fromCoroutine(self._pump(writer, terms))
        try:
            return await self._pumping
        except CancelledError as cancelled:
            raise self._reason(cancelled) from None
        finally:
            self._pumping = None

    def _reason(self, cancelled: CancelledError) -> Exception:
        return self._stopped or cancelled

    async def _pump(self, writer: IStoreWriter, terms: _Terms) -> StoredData:
        rules, declared, inspection = self._tools.rules, self._declared_size, terms.inspection
        digests = Digests(self._tools.lanes, ("md5", rules.hashing_algorithm))
        room = terms.claim.room
        most = rules.image_size_cap if room is None else min(room, rules.image_size_cap)
        reader = LimitedReader(self._reader, most if declared is None else declared)
        try:
            size = await pump(reader, [digests.update, writer.write, *([inspection.see] if inspection else [])])
        except BodyTooLong as problem:
            if declared is not None:
                raise SizeMismatch(declared, None) from problem
            raise ImageTooLarge(most) if most == rules.image_size_cap else terms.claim.exceeded() from problem
        if declared is not None and size != declared:
            raise SizeMismatch(declared, size)
        virtual_size = await inspection.conclude(size) if inspection else None
        found = digests.hexdigests()
        return StoredData(size, found["md5"], rules.hashing_algorithm, found[rules.hashing_algorithm], virtual_size)

    async def _finish(self, lease: Lease, data: StoredData) -> Image:
        tools = self._tools
        try:
            return await persistently(
                tools.clock, lease, lambda: tools.repository.finish_upload(lease, data, tools.now())
            )
        except Exception:
            # Also after LeaseLost: a try whose answer was lost may have ended the lease by its success.
            image = await self._settle(lease)
            if image is None:
                raise
            return image

    async def _settle(self, lease: Lease) -> Image | None:
        """
        Find out what an attempt to finish came to, and clear up after it if it failed.

        Ending the lease comes first: it cannot overtake a COMMIT that is still under way, and none succeeds after it.
        """
        tools = self._tools
        try:
            await persistently(tools.clock, lease, lambda: tools.repository.end_lease(lease, tools.now()))
            image = await persistently(tools.clock, lease, lambda: tools.repository.get(lease.image_id))
        except ImageNotFound:
            image = None
        except CatalogUnavailable as problem:
            self._log_left(lease, problem)
            return None
        if image is not None and lease.location in image.locations:
            return image
        await tools.reclaimer.try_reclaim(lease)
        return None

    async def _give_back(self, lease: Lease, *, clear: bool = True) -> None:
        """
        Put the image back to queued after an attempt that never came to finishing.
        """
        tools = self._tools
        try:
            await persistently(tools.clock, lease, lambda: tools.repository.end_lease(lease, tools.now()))
            if not clear:
                await tools.repository.forget_lease(lease)
        except CatalogUnavailable as problem:
            self._log_left(lease, problem)
            return
        if clear:
            await tools.reclaimer.try_reclaim(lease)

    async def _abort(self, writer: IStoreWriter) -> None:
        try:
            await writer.abort()
        except StoreError as problem:
            _log.warn(
                "could not abort the upload to {image_id} in its store: {problem}",
                image_id=self._image_id,
                problem=str(problem),
            )

    @staticmethod
    def _log_left(lease: Lease, problem: CatalogUnavailable) -> None:
        _log.error(
            "the upload to {image_id} (fence {fence}) is left to recovery: {problem}",
            image_id=lease.image_id,
            fence=lease.fence,
            problem=str(problem),
        )
