"""
Several data folders that are one store.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Sequence

from attrs import frozen
from twisted.logger import Logger

from glance_tx.stores.folder import DataFolder, ForeignLocation, sync_folder

__all__ = ["DataFolders", "FolderChoice"]

_log = Logger()


@frozen
class FolderChoice:
    """
    One folder of several, as an operator names it.

    :param path: Absolute.
    :param priority: Folders of the highest one are filled first.
    """

    path: str
    priority: int = 0


class DataFolders:
    """
    Finds the folder of a location, and the best one for new data, as stock Glance chooses it.

    :param choices: At least one.
    :raises ValueError: There is none, or two are the same.
    """

    def __init__(self, choices: Sequence[FolderChoice]) -> None:
        ranked = sorted(choices, key=lambda choice: -choice.priority)
        self._ranked = [(choice.priority, DataFolder(choice.path)) for choice in ranked]
        self._by_path = {str(folder.path): folder for _, folder in self._ranked}
        if not ranked or len(self._by_path) < len(ranked):
            raise ValueError("data folders must be at least one, and each named once")

    @property
    def first(self) -> DataFolder:
        """
        The one named first among those of the highest priority.
        """
        return self._ranked[0][1]

    def at(self, path: str) -> DataFolder:
        """
        Find a folder by its path, as `DataFolder.path` has it.

        :raises KeyError: There is none.
        """
        return self._by_path[path]

    def find(self, location: str) -> tuple[DataFolder, str]:
        """
        Find the folder and the name that a URL stands for.

        :raises ForeignLocation: It names nothing in any of the folders.
        """
        for _, folder in self._ranked:
            try:
                return folder, folder.name(location)
            except ForeignLocation:
                continue
        raise ForeignLocation

    def choose(self, size_bytes: int | None) -> DataFolder:
        """
        Find the folder for new data: of those with enough room the one with the highest priority, and among equals
        that with the most room. One that is away is left out. Blocks.

        A single folder is always chosen: whether there is room turns out when it is taken.

        :param size_bytes: The announced size, if any.
        :raises OSError: With ENOSPC, none that is there has the room; with ENOTDIR, none is there.
        """
        if len(self._ranked) == 1:
            return self.first
        best: tuple[int, int, DataFolder] | None = None
        away = 0
        for priority, folder in self._ranked:
            if best is not None and priority < best[0]:
                break
            try:
                room = _room_bytes(folder)
            except OSError as error:
                _log.warn("data folder {folder} is away: {reason}", folder=str(folder.path), reason=error.strerror)
                away += 1
                continue
            if room >= (size_bytes or 1) and (best is None or room > best[1]):
                best = (priority, room, folder)
        if best is None:
            if away == len(self._ranked):
                raise NotADirectoryError(errno.ENOTDIR, "all folders are missing")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return best[2]

    def prepare(self) -> None:
        """
        Make sure that all folders are there and can be written. Blocks.

        :raises OSError: As the system says; ``filename`` names the folder.
        """
        for _, folder in self._ranked:
            try:
                _prepare(folder)
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(folder.path)) from error


def _room_bytes(folder: DataFolder) -> int:
    room = os.statvfs(folder.path)
    return room.f_bavail * room.f_frsize


def _prepare(folder: DataFolder) -> None:
    path = folder.path
    missing = [parent for parent in (path, *path.parents) if not parent.exists()]
    path.mkdir(mode=0o750, parents=True, exist_ok=True)
    for made in missing:
        sync_folder(made.parent)
    with tempfile.TemporaryFile(dir=path):
        pass
