"""
Image data in files of one folder, or of several.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum, auto
from typing import Final

from attrs import frozen
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from glance_tx.stores.errors import (
    LocationNotAllowed,
    LocationNotFound,
    LocationTaken,
    StoreFull,
    StoreUnavailable,
)
from glance_tx.stores.folder import FILE_SCHEMES, DataFolder, ForeignLocation
from glance_tx.stores.folders import DataFolders, FolderChoice
from glance_tx.stores.interfaces import IStore, IStoreWriter
from glance_tx.stores.openfiles import FileKey, OpenFile, OpenFiles
from glance_tx.stores.partfile import PartFile
from glance_tx.streaming.errors import LaneStopped, ShortFile
from glance_tx.streaming.filebody import FileBody
from glance_tx.streaming.growth import Resident, WholeFile
from glance_tx.streaming.interfaces import IFileBody
from glance_tx.streaming.lanes import Lane, Lanes

__all__ = ["FilesystemSettings", "FilesystemStore"]

_log = Logger()

_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@frozen
class FilesystemSettings:
    """
    What a file store is told.

    :param name: The store's id.
    :param folders: Its folders; stock's ``filesystem_store_datadir`` and ``filesystem_store_datadirs``.
    :param file_mode: Permissions of its files; ``None`` for 0640 less the process's umask. Stock's
        ``filesystem_store_file_perm``, where 0 stands for ``None``.
    :param reserve: Take the room of an announced size before the first byte. Off where that is slow (a network
        file system without such a call).
    :param thin: Leave holes where data are zero, and so reserve nothing; stock's ``filesystem_thin_provisioning``.
    """

    name: str
    folders: Sequence[FolderChoice]
    file_mode: int | None = None
    reserve: bool = True
    thin: bool = False


def _tell(failure: Failure, store: str) -> None:
    """
    Log what nobody waits for any more.
    """
    _log.failure("cleaning up in store {store} after a transfer failed", failure, store=store)


@contextmanager
def _speaking_for(store: str, part: PartFile | None = None) -> Iterator[None]:
    """
    Turn what the system says into what a store says.
    """
    try:
        yield
    except ForeignLocation as error:
        raise LocationNotAllowed(store) from error
    except FileExistsError as error:
        raise LocationTaken(store) from error
    except OSError as error:
        if isinstance(error, FileNotFoundError) and part is None:
            raise LocationNotFound(store) from error
        if error.errno in _NO_ROOM:
            raise StoreFull(store, 0 if part is None else part.written) from error
        # Without the path: the text may reach a client.
        raise StoreUnavailable(store, error.strerror or type(error).__name__) from error


class _State(Enum):
    OPEN = auto()
    BROKEN = auto()
    COMMITTED = auto()
    ABORTED = auto()


@implementer(IStoreWriter)
class _FilesystemWriter:
    """
    Writes one file, in a lane of its own.
    """

    def __init__(self, store: str, location: str, part: PartFile, lane: Lane) -> None:
        self.location = location
        self._store = store
        self._part = part
        self._lane = lane
        self._state = _State.OPEN

    async def begin(self, size_bytes: int | None) -> None:
        """
        Create the file, leaving nothing where that fails or is cancelled.
        """
        try:
            with _speaking_for(self._store, self._part):
                await self._lane.run(self._part.create, size_bytes)
        except CancelledError:
            self._discard_unwatched()
            raise

    async def write(self, data: bytes) -> None:
        """
        See `IStoreWriter`.
        """
        await self._step(self._part.append, data)

    async def commit(self) -> None:
        """
        See `IStoreWriter`.
        """
        await self._step(self._part.publish)
        self._state = _State.COMMITTED

    async def abort(self) -> None:
        """
        See `IStoreWriter`.
        """
        if self._state in {_State.COMMITTED, _State.ABORTED}:
            return
        self._state = _State.BROKEN
        try:
            with _speaking_for(self._store, self._part):
                await self._lane.run(self._part.discard)
        except CancelledError:
            self._discard_unwatched()
            raise
        self._state = _State.ABORTED

    async def _step(self, job: Callable[..., None], *args: object) -> None:
        if self._state is not _State.OPEN:
            raise StoreUnavailable(self._store, "this writer failed before, or was ended")
        # Whatever interrupts a step leaves the file in a state that nobody knows.
        self._state = _State.BROKEN
        with _speaking_for(self._store, self._part):
            await self._lane.run(job, *args)
        self._state = _State.OPEN

    def _discard_unwatched(self) -> None:
        """
        Clean up behind whatever the lane still does, although nobody waits any more.
        """
        self._lane.run(self._part.discard).addErrback(_tell, self._store)


class _Opening:
    """
    A file being opened in a lane, for somebody who may have left by the time it is open.
    """

    def __init__(self, folder: DataFolder, name: str) -> None:
        self._folder = folder
        self._name = name
        self.descriptor = -1

    def open(self) -> int:
        """
        Open the file and tell its size. Blocks.
        """
        self.descriptor = self._folder.open(self._name)
        return os.fstat(self.descriptor).st_size

    def close(self) -> None:
        """
        Close it again, if it was opened.
        """
        if self.descriptor >= 0:
            os.close(self.descriptor)


@implementer(IStore)
class FilesystemStore:
    """
    Keeps objects as ``<folder>/<key>.<fence>``, and reads those of a stock Glance, ``<folder>/<key>``.

    :param lanes: Where the blocking calls are made.
    :param clock: Says how long files stay open for others (see `OpenFiles`); ``None`` to open one for each reader.
    """

    schemes = FILE_SCHEMES

    def __init__(self, settings: FilesystemSettings, lanes: Lanes, clock: IReactorTime | None = None) -> None:
        self.name = settings.name
        self._settings = settings
        self._folders = DataFolders(settings.folders)
        self._lanes = lanes
        self._open_files = OpenFiles(self._release, clock)

    def check(self) -> None:
        """
        Make sure that the folders are there and can be written. Blocks: for start-up, before anything is served.

        :raises StoreUnavailable: One is not; the reason names it.
        """
        try:
            self._folders.prepare()
        except OSError as error:
            raise StoreUnavailable(self.name, f"{error.filename}: {error.strerror}") from error

    async def choose_place(self, size_bytes: int | None) -> str:
        """
        See `IStore`.
        """
        with _speaking_for(self.name):
            return str((await self._lane().run(self._folders.choose, size_bytes)).path)

    def plan_location(self, key: str, fence: int, place: str | None = None) -> str:
        """
        See `IStore`.

        :raises ValueError: The key cannot be part of a file name.
        """
        folder = self._folders.first if place is None else self._folders.at(place)
        return folder.location(f"{key}.{fence}")

    async def open_writer(self, location: str, size_bytes: int | None) -> IStoreWriter:
        """
        See `IStore`.
        """
        with _speaking_for(self.name):
            folder, name = self._folders.find(location)
        settings = self._settings
        part = PartFile(folder, name, mode=settings.file_mode, reserve=settings.reserve, thin=settings.thin)
        writer = _FilesystemWriter(self.name, location, part, self._lane())
        await writer.begin(size_bytes)
        return writer

    async def open_reader(self, location: str, offset: int = 0, length: int | None = None) -> IFileBody:
        """
        See `IStore`.
        """
        lane = self._lane()
        with _speaking_for(self.name):
            key = self._folders.find(location)
            file = self._open_files.borrow(key) or await self._open(key, lane)
        end = file.size_bytes if length is None else offset + length
        if not 0 <= offset <= end <= file.size_bytes:
            self._open_files.give_back(file)
            raise ShortFile(file.size_bytes, max(offset, end))
        growth = Resident(WholeFile(end), file.descriptor, lane)
        return FileBody(file.descriptor, offset, end - offset, growth, lambda _: self._open_files.give_back(file))

    async def _open(self, key: FileKey, lane: Lane) -> OpenFile:
        opening = _Opening(*key)
        try:
            size = await lane.run(opening.open)
        except CancelledError:
            lane.run(opening.close).addErrback(_tell, self.name)
            raise
        return self._open_files.add(key, opening.descriptor, size)

    async def size_bytes(self, location: str) -> int:
        """
        See `IStore`.
        """
        with _speaking_for(self.name):
            folder, name = self._folders.find(location)
            known = self._open_files.size_bytes((folder, name))
            return await self._lane().run(folder.size_bytes, name) if known is None else known

    async def delete(self, location: str) -> None:
        """
        See `IStore`.
        """
        with _speaking_for(self.name):
            folder, name = self._folders.find(location)
            self._open_files.forget((folder, name))
            await self._lane().run(folder.delete, name)

    def _release(self, descriptor: int) -> None:
        """
        Close a file without waiting for it.
        """

        def close_here(stopped: Failure) -> None:
            stopped.trap(LaneStopped)
            os.close(descriptor)

        self._lanes.run(os.close, descriptor).addErrback(close_here).addErrback(_tell, self.name)

    def _lane(self) -> Lane:
        return self._lanes.lane(f"store {self.name}")
