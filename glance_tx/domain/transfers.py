"""
Image data, in and out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from attrs import define, evolve, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from glance_tx.domain.access import Access, visible_image
from glance_tx.domain.errors import (
    Forbidden,
    FormatsNotSet,
    ImageTooLarge,
    NoData,
    SizeMismatch,
    StatusConflict,
    TooManyUploads,
    UnknownStore,
)
from glance_tx.domain.events import Events
from glance_tx.domain.images import Image, ImageStatus, Location, may_become
from glance_tx.domain.uploads import Upload, UploadTools
from glance_tx.errors import FactualError
from glance_tx.identity.caller import Caller
from glance_tx.notify.sends import Sent
from glance_tx.stores.errors import LocationNotFound, StoreError, StoreUnavailable
from glance_tx.stores.interfaces import IStore
from glance_tx.streaming.errors import ShortFile
from glance_tx.streaming.interfaces import IBodyProducer, IBodyReader
from glance_tx.streaming.ranges import ByteRange

__all__ = ["ChooseRange", "Download", "Transfers"]

ChooseRange = Callable[[int], ByteRange | None]
"""Told how many bytes an image has, it says which of them are wanted; ``None`` means all."""

T = TypeVar("T")
_log = Logger()


@frozen
class Download:
    """
    Data on their way out.

    :param body: Exactly the bytes wanted. Whoever takes it sends it, or lets it go.
    :param range: Which part of the image they are; ``None`` where they are all of it.
    """

    image: Image
    body: IBodyProducer
    range: ByteRange | None


@define(eq=False)
class _Running:
    """
    An upload at work, and the answer somebody waits for.
    """

    upload: Upload
    answer: Deferred[Image]
    caller: Caller
    begun: bool = False


class Transfers:
    """
    What callers may do with the data of images.

    :param stores: Those that data may lie in, by name.
    :param tools: What uploads work with.
    :param events: Told of uploads and downloads.
    """

    def __init__(
        self,
        access: Access,
        stores: Mapping[str, IStore],
        tools: UploadTools,
        events: Events,
    ) -> None:
        self._repository = tools.repository
        self._access = access
        self._stores = stores
        self._tools = tools
        self._events = events
        self._running: set[_Running] = set()
        self._idle: list[Deferred[None]] = []

    @property
    def uploads(self) -> int:
        """
        How many uploads run, or clear up.
        """
        return len(self._running)

    async def upload(
        self,
        caller: Caller,
        image_id: str,
        reader: IBodyReader,
        declared_size: int | None = None,
        store: str | None = None,
    ) -> Image:
        """
        Take the data of a queued image in (contract section 3.2).

        Everything that can be refused without a byte of the data is. Cancelling the wait stops the upload and does
        not wait for what is cleared up after it.

        :param declared_size: Bytes that the sender announced, by whichever means.
        :param store: Name of the store that the data are to go into, where the caller says.
        :return: The image, active.
        :raises UnknownStore: There is no such store.
        :raises ImageNotFound: There is none, or the caller may not know of it.
        :raises Forbidden: Policy is against it.
        :raises StatusConflict: The image is not queued.
        :raises FormatsNotSet: What the data are is not known yet.
        :raises ImageTooLarge: There are more data than one image may have.
        :raises StorageQuotaExceeded: There are more than the image's project may keep.
        :raises SizeMismatch: They are not as long as declared.
        :raises FormatRefused: They are not of the image's format, or not safe.
        :raises TooManyUploads: This process is busy with others.
        :raises ImageGone: The image was deleted meanwhile.
        :raises LeaseLost: The upload fell silent for so long that it was given up on.
        :raises StreamingError: They did not come whole.
        :raises StoreError: They cannot be kept.
        """
        if store not in {None, self._tools.store.name}:
            raise UnknownStore(str(store), self._tools.store.name)
        image = await visible_image(self._repository, self._access, caller, image_id)
        self._access.require("upload_image", caller, image)
        if not may_become(image.status, ImageStatus.SAVING):
            raise StatusConflict(image.id, image.status, "data can come only while it is queued")
        if not image.formats_set:
            raise FormatsNotSet(image.id)
        size = self._expected_size(reader, declared_size)
        if len(self._running) >= self._tools.rules.max_uploads:
            raise TooManyUploads(self._tools.rules.max_uploads)
        return await self._start(caller, image, reader, size)

    async def download(self, caller: Caller, image_id: str, choose: ChooseRange) -> Download:
        """
        Open the data of an image (contract section 3.3).

        :param choose: Says which part is wanted; what it raises passes through.
        :raises ImageNotFound: There is no such image, or the caller may not know of it.
        :raises Forbidden: Policy is against it, or the image is deactivated.
        :raises NoData: No data have come, or they are missing or damaged in every location.
        :raises StoreUnavailable: They cannot be reached now.
        """
        image = await self._readable(caller, image_id)
        attempt = partial(self._open, image, choose=choose)
        return await self._first_location(caller, image, attempt)

    def sent(self, caller: Caller, download: Download, bytes_sent: int, destination: str | None) -> None:
        """
        Tell that a download ended, whole or not.

        :param bytes_sent: Of the body.
        :param destination: Address of the client.
        """
        image = download.image
        self._events.sent(caller, Sent(image.id, image.owner, bytes_sent, download.body.length, destination))

    async def facts(self, caller: Caller, image_id: str) -> Image:
        """
        Do what `download` does, short of opening the data: the same checks, the same refusals.

        :return: The image; its data are there.
        """
        image = await self._readable(caller, image_id)
        await self._first_location(caller, image, partial(self._measure, image))
        return image

    async def stop(self) -> None:
        """
        Stop all uploads and wait until they have cleared up.
        """
        for running in tuple(self._running):
            running.upload.stop(CancelledError())
        await self.settled()

    async def settled(self) -> None:
        """
        Wait until no upload runs or clears up.
        """
        if self._running:
            idle: Deferred[None] = Deferred()
            self._idle.append(idle)
            await idle

    def _expected_size(self, reader: IBodyReader, declared_size: int | None) -> int | None:
        size = reader.length if declared_size is None else declared_size
        if size is not None and size > self._tools.rules.image_size_cap:
            raise ImageTooLarge(self._tools.rules.image_size_cap)
        if size is not None and reader.length not in {None, size}:
            raise SizeMismatch(size, reader.length)
        return size

    async def _start(self, caller: Caller, image: Image, reader: IBodyReader, size: int | None) -> Image:
        def begun() -> None:
            running.begun = True
            self._events.image("prepare", caller, evolve(image, status=ImageStatus.SAVING, size=size))

        upload = Upload(self._tools, image, reader, size, begun=begun)
        running = _Running(upload, Deferred(lambda _: upload.stop(CancelledError())), caller)
        self._running.add(running)
        Deferred.fromCoroutine(upload.run()).addBoth(self._ended, running)
        return await running.answer

    def _ended(self, outcome: Image | Failure, running: _Running) -> None:
        self._running.discard(running)
        self._tell(outcome, running)
        if running.answer.called:
            _log_unheard(outcome)
        elif isinstance(outcome, Failure):
            running.answer.errback(outcome)
        else:
            running.answer.callback(outcome)
        if not self._running:
            told, self._idle = self._idle, []
            for idle in told:
                idle.callback(None)

    def _tell(self, outcome: Image | Failure, running: _Running) -> None:
        if isinstance(outcome, Image):
            self._events.image("upload", running.caller, outcome)
            self._events.image("activate", running.caller, outcome)
        elif running.begun:
            known = isinstance(outcome.value, FactualError)
            self._events.failed("upload", running.caller, str(outcome.value) if known else "it was broken off")

    async def _readable(self, caller: Caller, image_id: str) -> Image:
        image = await visible_image(self._repository, self._access, caller, image_id)
        self._access.require("download_image", caller, image)
        if image.status is ImageStatus.DEACTIVATED and not self._access.is_admin(caller):
            raise Forbidden(f"image {image.id} is deactivated")
        if not image.has_data:
            raise NoData(image.id)
        return image

    async def _first_location(
        self, caller: Caller, image: Image, attempt: Callable[[IStore, Location], Awaitable[T]]
    ) -> T:
        """
        Try an image's locations in their order.
        """
        away: StoreError | None = None
        missing: list[FactualError] = []
        for location in image.locations:
            try:
                found = await attempt(self._store_of(location), location)
            except (LocationNotFound, ShortFile) as problem:
                missing.append(problem)
            except StoreError as problem:
                _log.warn(
                    "the data of image {image_id} are out of reach: {problem}", image_id=image.id, problem=str(problem)
                )
                away = problem
            else:
                _report_missing(image, missing)
                return found
        if missing:
            # Its data are removed after it is: whoever read the record before is told that it is gone, and no more.
            await visible_image(self._repository, self._access, caller, image.id)
        _report_missing(image, missing)
        raise away or NoData(image.id)

    def _store_of(self, location: Location) -> IStore:
        store = self._stores.get(location.store)
        if store is None:
            raise StoreUnavailable(location.store, "it is not configured here")
        return store

    @staticmethod
    async def _measure(image: Image, store: IStore, location: Location) -> int:
        stored = await store.size_bytes(location.url)
        if image.size is not None and stored != image.size:
            _log.error(
                "the data of image {image_id} have {stored} bytes in store {store} where {size} are on record",
                image_id=image.id,
                stored=stored,
                store=store.name,
                size=image.size,
            )
            # Bytes that cannot be the image's are as good as none.
            raise LocationNotFound(store.name)
        return stored

    async def _open(self, image: Image, store: IStore, location: Location, choose: ChooseRange) -> Download:
        size = await self._measure(image, store, location)
        part = choose(size)
        offset, length = (0, size) if part is None else (part.offset, part.length)
        return Download(image, await store.open_reader(location.url, offset, length), part)


def _report_missing(image: Image, problems: Sequence[FactualError]) -> None:
    for problem in problems:
        _log.error("the data of image {image_id} are missing: {problem}", image_id=image.id, problem=str(problem))


def _log_unheard(outcome: Image | Failure) -> None:
    """
    Note how an upload ended that nobody waited for any more.
    """
    if isinstance(outcome, Image):
        _log.info("the upload to {image_id} was complete when its client left", image_id=outcome.id)
    elif outcome.check(FactualError):
        _log.info("an upload whose client left was given up: {problem}", problem=str(outcome.value))
    elif not outcome.check(CancelledError):
        _log.failure("an upload whose client left failed", outcome)
