"""
Which images are to stay.
"""

from __future__ import annotations

from typing import Final

from glance_cache.folder import CacheFolder
from glance_cache.names import is_image_id

__all__ = ["Pins"]

_FOLDER: Final = "pins"


class Pins:
    """
    An empty file for each pinned image, in the folder ``pins`` of the cache's own. Every method blocks, raises
    `OSError` as the system does, and is called in a lane. Whoever uses the folder sees what others pinned.
    """

    def __init__(self, folder: CacheFolder) -> None:
        self._files = folder.files
        self._parent = folder.path
        self._path = folder.path / _FOLDER

    def load(self) -> set[str]:
        """
        Tell which images are pinned. Files of other names are passed over.
        """
        if self._files.stat_path(self._path) is None:
            return set()
        return {entry.name for entry in self._files.list(self._path) if is_image_id(entry.name)}

    def add(self, image_id: str) -> None:
        """
        Pin an image. That survives a power loss. Harmless when repeated.
        """
        if self._files.make_folder(self._path):
            self._files.sync_folder(self._parent)
        self._files.close(self._files.create(self._path / image_id, or_open=True))
        self._files.sync_folder(self._path)

    def remove(self, image_id: str) -> None:
        """
        Pin an image no longer. Harmless where it was not pinned.
        """
        if self._files.stat_path(self._path) is not None and self._files.remove(self._path / image_id):
            self._files.sync_folder(self._path)
