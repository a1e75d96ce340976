"""
The cache folder: whose it is, where an entry's files lie in it, and what a look at them tells.

::

    format                                    what is written below, and in which version
    lock                                      held by the daemon that uses the folder
    books                                     how much room is taken; held for as long as names are changed
    entries/<ab>/<image id>-<key>.data        image data, at its full length from the start
    entries/<ab>/<image id>-<key>.catalog     beside it: the entry is complete
    entries/<ab>/<image id>-<key>.catalog.part    beside it: a fill was begun
    scrub                                     held by the process that reads entries anew
    outdated-<part>-<token>/                  entries of another version's format, until they are removed
    removed/<token>                           data that somebody still reads, of an entry that was removed

An entry turns complete by the one rename from ``.catalog.part`` to ``.catalog``. Whatever the process was doing when it
died, an entry found here is therefore complete, or a fill that can go on, or garbage. See Note [Who has what].
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from attrs import field, frozen

from glance_cache.books import Books, Page
from glance_cache.content import (
    COMPLETE,
    DATA,
    PART,
    BucketContent,
    FoundEntry,
    Garbage,
    Present,
    footprint_bytes,
    judge,
    split_name,
)
from glance_cache.errors import CacheFull, FolderUnusable
from glance_cache.files import FileOps
from glance_cache.names import EntryName, is_image_id
from glance_cache.outdated import clear_outdated
from glance_cache.ownership import Ownership

__all__ = ["BucketContent", "CacheFolder", "FoundEntry", "Garbage", "footprint_bytes"]


# Note [Who has what]
# Several processes may use one folder. Locks (`flock`) say who has what, which the kernel lets go when a process ends:
# whoever has the data of an entry open shares it, and whoever fills it has its catalog alone. Nothing that is shared is
# removed to make room; what is removed for another reason while somebody reads it goes to ``removed``, where it counts
# until nobody does. Names come and go only in a turn (see Note [Taking turns]), and an entry's data is told by its
# inode from what has the same name later.


@frozen
class CacheFolder:
    """
    One folder, in which nobody else writes. Every method but the paths blocks, and is called in a lane.

    :param path: Absolute; created where only its last part is missing.
    :param files: How the folder is touched.
    """

    path: Path = field()
    files: FileOps

    @path.validator
    def _is_absolute(self, _: object, path: Path) -> None:
        if not path.is_absolute():
            raise ValueError(f"{path} is not an absolute path")

    @property
    def entries_path(self) -> Path:
        """
        The folder of all buckets.
        """
        return self.path / "entries"

    def bucket_path(self, name: EntryName) -> Path:
        """
        The folder in which an entry's files lie.
        """
        return self.entries_path / name.bucket

    def data_path(self, name: EntryName) -> Path:
        """
        Where the image data lies.
        """
        return self.bucket_path(name) / f"{name.stem}{DATA}"

    def catalog_path(self, name: EntryName) -> Path:
        """
        Where the catalog of a complete entry lies.
        """
        return self.bucket_path(name) / f"{name.stem}{COMPLETE}"

    def part_path(self, name: EntryName) -> Path:
        """
        Where the catalog of a fill lies.
        """
        return self.bucket_path(name) / f"{name.stem}{PART}"

    @property
    def removed_path(self) -> Path:
        """
        The folder of data that was removed while somebody read it.
        """
        return self.path / "removed"

    @cached_property
    def books(self) -> Books:
        """
        What all processes that use the folder share.
        """
        return Books(self.path / "books", self.files, self._count)

    @cached_property
    def _ownership(self) -> Ownership:
        return Ownership(self.path, (self.entries_path, self.removed_path), self.files, self.books)

    def take(self) -> int:
        """
        Make the folder this daemon's, for as long as the descriptor that is returned stays open in any process.

        :raises FolderUnusable: It is not fit, or in use.
        """
        return self._ownership.take()

    def clear_outdated(self) -> bool:
        """
        Remove some of what was left in a format that is not read.

        :return: Whether there may be more.
        """
        return clear_outdated(self.files, self.path)

    def unusable(self, error: OSError) -> FolderUnusable:
        """
        Say what the system says in our words.
        """
        return self._ownership.unusable(error)

    def free_bytes(self) -> int:
        """
        Tell how much room the disk has left.
        """
        return self.files.free_bytes(self.path)

    def _make_bucket(self, name: EntryName) -> None:
        if self.files.make_folder(self.bucket_path(name)):
            self.files.sync_folder(self.entries_path)

    def taken_bytes(self) -> int:
        """
        Tell how much room the entries of all processes take, those in the making included.
        """
        with self.books.turn() as page:
            return page.taken()

    def _count(self) -> int:
        taken = 0
        for bucket in self.buckets():
            for entry in self.files.list(self.entries_path / bucket):
                if entry.name.endswith(DATA) and entry.is_file(follow_symlinks=False):
                    taken += footprint_bytes(entry.stat(follow_symlinks=False).st_size)
        for entry in self.files.list(self.removed_path):
            taken += footprint_bytes(entry.stat(follow_symlinks=False).st_size)
        return taken

    @contextmanager
    def creating(self, name: EntryName, size_bytes: int, max_bytes: int) -> Iterator[Page]:
        """
        Have a turn to create the files of an entry; where that fails none is left.

        :param max_bytes: The limit that must not be exceeded by it.
        :raises FileExistsError: Somebody was faster.
        :raises CacheFull: There is no room for it.
        """
        needed = footprint_bytes(size_bytes)
        with self.books.turn() as page:
            available = max_bytes - page.taken()
            if needed > available:
                raise CacheFull(needed, max(0, available))
            if self.find(name) is not None:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
            self._make_bucket(name)
            self._erase(page, name)
            try:
                with page.change(needed):
                    yield page
            except BaseException:
                for path in self._paths(name):
                    self.files.remove(path)
                raise

    def _paths(self, name: EntryName) -> Sequence[Path]:
        # The catalog first: data without one is garbage wherever this stops.
        return (self.catalog_path(name), self.part_path(name), self.data_path(name))

    def publish(self, name: EntryName, catalog: int) -> bool:
        """
        Make a fill a complete entry.

        :param catalog: Of the fill, open.
        :return: ``False`` where the fill was removed meanwhile; nothing is changed then.
        """
        with self.books.turn():
            there = self.files.stat_path(self.part_path(name))
            if there is None or there.st_ino != self.files.stat(catalog).st_ino:
                return False
            self.files.rename(self.part_path(name), self.catalog_path(name))
        self.files.sync_folder(self.bucket_path(name))
        return True

    def remove(self, name: EntryName, inode: int | None = None, *, unused: bool = False) -> bool:
        """
        Take away an entry, whatever there is of it. Who has its data open can read on.

        A power loss may bring the files back. That does no harm: they are looked at then like all others.

        :param inode: Only if this is its data.
        :param unused: Only if nobody reads it or fills it, in any process.
        :return: ``False`` where it was left alone because somebody uses it.
        """
        with self.books.turn() as page:
            there = self.files.stat_path(self.data_path(name))
            if inode is not None and there is not None and there.st_ino != inode:
                return True
            if unused and there is not None and self._is_used(self.data_path(name)):
                return False
            self._erase(page, name)
        return True

    def _erase(self, page: Page, name: EntryName) -> None:
        data = self.data_path(name)
        there = self.files.stat_path(data)
        used = there is not None and self._is_used(data)
        freed = 0 if there is None or used else footprint_bytes(there.st_size)
        with page.change(-freed):
            for path in self._paths(name):
                if used and path == data:
                    # It takes its room until they have read it, and may be followed by another of its name.
                    self.files.rename(data, self.removed_path / secrets.token_hex(8))
                else:
                    self.files.remove(path)

    def _is_used(self, path: Path) -> bool:
        descriptor = self.files.open(path)
        try:
            self.files.lock(descriptor)
        except BlockingIOError:
            return True
        finally:
            self.files.close(descriptor)
        return False

    def sweep(self) -> Sequence[Path]:
        """
        Take away removed data that nobody reads any more.

        :return: What was taken away.
        """
        if not any(self.files.list(self.removed_path)):
            return ()
        swept = []
        with self.books.turn() as page:
            for entry in list(self.files.list(self.removed_path)):
                path = self.removed_path / entry.name
                there = self.files.stat_path(path)
                if there is not None and not self._is_used(path):
                    with page.change(-footprint_bytes(there.st_size)):
                        self.files.remove(path)
                    swept.append(path)
        return swept

    def find(self, name: EntryName) -> FoundEntry | None:
        """
        Look for one entry; garbage counts as none.
        """
        paths = {DATA: self.data_path(name), COMPLETE: self.catalog_path(name), PART: self.part_path(name)}
        found = {suffix: status for suffix, path in paths.items() if (status := self.files.stat_path(path))}
        try:
            judged = self._judge(name, found)
        except FileNotFoundError:  # removed, or complete, since it was looked for
            return None
        return judged if isinstance(judged, FoundEntry) else None

    def _judge(self, name: EntryName, found: Mapping[str, os.stat_result]) -> FoundEntry | Garbage:
        return judge(self.files, name, Present.of(found), self.part_path(name))

    def find_image(self, image_id: str) -> Sequence[FoundEntry]:
        """
        Look for all entries of one image.
        """
        bucket = self.entries_path / image_id[:2]
        if not is_image_id(image_id) or self.files.stat_path(bucket) is None:
            return []
        names = {name for entry in self.files.list(bucket) if (name := split_name(entry.name)[0])}
        return [found for name in names if name.image_id == image_id and (found := self.find(name))]

    def buckets(self) -> Sequence[str]:
        """
        Tell in which buckets entries may lie.
        """
        return [entry.name for entry in self.files.list(self.entries_path) if entry.is_dir(follow_symlinks=False)]

    def examine(self, bucket: str) -> BucketContent:
        """
        Look at everything in a bucket, and take garbage away.

        Complete entries are judged by what the folder says of their files: their catalogs are not read.
        """
        with self.books.turn() as page:
            return self._examine(page, bucket)

    def _examine(self, page: Page, bucket: str) -> BucketContent:
        names, foreign = self._sort(self.files.list(self.entries_path / bucket))
        entries, garbage = [], []
        for name, found in names.items():
            judged = self._judge(name, found)
            if isinstance(judged, FoundEntry):
                entries.append(judged)
                if judged.complete and PART in found:
                    self.files.remove(self.part_path(name))
                    garbage.append(Garbage(name, "a fill that was begun beside it; what is whole stays"))
            else:
                self._erase(page, name)
                garbage.append(judged)
        return BucketContent(entries, garbage, foreign)

    def _sort(
        self, listing: Iterable[os.DirEntry[str]]
    ) -> tuple[dict[EntryName, dict[str, os.stat_result]], Sequence[str]]:
        names: dict[EntryName, dict[str, os.stat_result]] = {}
        foreign = []
        for entry in listing:
            name, suffix = split_name(entry.name)
            if name is None or not entry.is_file(follow_symlinks=False):
                foreign.append(entry.path)
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:  # removed since the folder was listed
                continue
            names.setdefault(name, {})[suffix] = status
        return names, foreign
