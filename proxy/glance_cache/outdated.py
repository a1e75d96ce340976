"""
What an older or newer glance-cache left in the folder, in a format that this one does not read.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from glance_cache.files import FileOps

__all__ = ["clear_outdated", "set_aside"]

_PREFIX: Final = "outdated-"
_AT_ONCE: Final = 100


def set_aside(files: FileOps, path: Path, parts: tuple[Path, ...]) -> None:
    """
    Give the parts of a cache folder names by which nothing is found any more, a power loss after it or not. Blocks.

    :raises OSError: As the system says.
    """
    for part in parts:
        if files.stat_path(part) is not None:
            files.rename(part, path / f"{_PREFIX}{part.name}-{secrets.token_hex(4)}")
    files.sync_folder(path)


def clear_outdated(files: FileOps, path: Path) -> bool:
    """
    Remove some of what was set aside. Blocks.

    :return: Whether there may be more.
    :raises OSError: As the system says.
    """
    folders = [each.name for each in files.list(path) if each.name.startswith(_PREFIX)]
    below = itertools.chain.from_iterable(_below(files, path / name) for name in folders)
    count = 0
    for entry, is_folder in itertools.islice(below, _AT_ONCE):
        count += 1
        if is_folder:
            files.remove_folder(entry)
        else:
            files.remove(entry)
    return count == _AT_ONCE


def _below(files: FileOps, path: Path) -> Iterator[tuple[Path, bool]]:
    for entry in list(files.list(path)):
        if entry.is_dir(follow_symlinks=False):
            yield from _below(files, path / entry.name)
        else:
            yield path / entry.name, False
    yield path, True
