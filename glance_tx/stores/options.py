"""
Options of the stores.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Final

from attrs import frozen
from oslo_config import cfg

from glance_tx.settings import Conflict, Section, Settings, option
from glance_tx.settings.values import AbsolutePath, Described
from glance_tx.stores.folders import FolderChoice

__all__ = ["FileMode", "FileStoreSettings", "RankedFolder", "find_ambiguous_folders"]

_DEFAULT_FOLDER: Final = "/var/lib/glance/images"
_MODE: Final = re.compile(r"[0-7]{1,4}", re.ASCII)


class RankedFolder(Described):
    """
    A folder and its priority among others.
    """

    description = "an absolute path, with a colon and a priority (an integer from 0) behind it if wanted"

    def __call__(self, value: object) -> FolderChoice:
        """
        Take text apart.
        """
        text, _, priority = str(value).rpartition(":") if ":" in str(value) else (str(value), "", "")
        path = AbsolutePath()(text)
        rank = priority.strip()
        if rank and not (rank.isascii() and rank.isdigit()):
            raise ValueError("not a priority")
        return FolderChoice(str(path), int(rank or 0))


class FileMode(Described):
    """
    Permissions of a file as ``chmod`` takes them; the value is an integer.
    """

    description = "an octal number such as 640, or 0"

    def __call__(self, value: object) -> int:
        """
        Convert text.
        """
        text = str(value).strip()
        if _MODE.fullmatch(text) is None:
            raise ValueError("not permissions")
        return int(text, 8)


@frozen(kw_only=True)
class FileStoreSettings(Section):
    """
    Image data in files.
    """

    GROUP: ClassVar[str] = "glance_store"

    single_folder: Path | None = option(
        cfg.Opt(
            "filesystem_store_datadir",
            type=AbsolutePath(),
            help="Folder for image data, one file for each image. Unset, and without filesystem_store_datadirs, it is "
            f"{_DEFAULT_FOLDER}, stock's default.",
        )
    )
    many_folders: tuple[FolderChoice, ...] | None = option(
        cfg.MultiOpt(
            "filesystem_store_datadirs",
            item_type=RankedFolder(),
            help="Folders for image data in place of filesystem_store_datadir, on disks of their own; to be given once "
            "for each folder. New data go where there is room for them: to the folder with the highest priority (0 "
            "where none is said), and among equals to the one with most room. A folder may be added at any time; one "
            "that is taken away makes the data in it unreachable.",
        )
    )
    file_mode: int = option(
        cfg.Opt(
            "filesystem_store_file_perm",
            type=FileMode(),
            default="0",
            help="Permissions of new files of image data. With 0, the default as in stock Glance, they are those that "
            "the umask of the process leaves of 640.",
        )
    )
    thin: bool = option(
        cfg.BoolOpt(
            "filesystem_thin_provisioning",
            default=False,
            help="Leave holes in files where image data are zero for 64 KiB. Sparse images then take less room and are "
            "written faster, but room is not reserved before data come: an upload may find the disk full half-way. "
            "Off by default, as in stock Glance.",
        )
    )

    @property
    def folders(self) -> tuple[FolderChoice, ...]:
        """
        Say where image data lie.
        """
        return self.many_folders or (FolderChoice(str(self.single_folder or _DEFAULT_FOLDER)),)


def find_ambiguous_folders(settings: Settings) -> Iterator[Conflict]:
    """
    Find two answers to the question where image data lie.
    """
    store = settings[FileStoreSettings]
    if store.single_folder is not None and store.many_folders:
        reason = "cannot be set beside filesystem_store_datadir: one of the two must go"
        yield Conflict(store.GROUP, "filesystem_store_datadirs", reason)
    counts = Counter(str(Path(choice.path)) for choice in store.many_folders or ())
    for path in (path for path, count in counts.items() if count > 1):
        yield Conflict(store.GROUP, "filesystem_store_datadirs", f"names {path} more than once")
