"""
Several folders are one store.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from glance_tx.stores.folder import ForeignLocation
from glance_tx.stores.folders import DataFolders, FolderChoice
from glance_tx.streaming.units import MiB


class DataFoldersTests(SynchronousTestCase):
    """
    New data go where stock Glance would put them; old data are found where they are.
    """

    def setUp(self) -> None:
        self.root = Path(self.mktemp()).absolute()
        self.root.mkdir()

    def disk(self, name: str, size_mib: int) -> str:
        """
        Make a folder that is a disk of its own.
        """
        path = self.root / name
        path.mkdir()
        if os.geteuid() != 0 or shutil.which("mount") is None:
            raise SkipTest("mounting a small disk takes root and a mount program")
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "none", str(path)]
        done = subprocess.run(mount, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise SkipTest(f"a small disk cannot be mounted here: {done.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", "--lazy", str(path)], check=True)
        return str(path)

    def chosen(self, folders: DataFolders, size_bytes: int | None) -> str:
        return folders.choose(size_bytes).path.name

    def test_choice(self) -> None:
        """
        The highest priority wins while there is room, then most room does; what is announced has to fit.
        """
        choices = [("small", 2, 7), ("a", 3, 5), ("b", 4, 5), ("large", 16, 0)]
        folders = DataFolders([FolderChoice(self.disk(name, size), rank) for name, size, rank in choices])
        self.assertEqual(folders.first.path.name, "small")
        for size, expected in [(None, "small"), (0, "small"), (MiB, "small"), (3 * MiB, "b"), (5 * MiB, "large")]:
            self.assertEqual(self.chosen(folders, size), expected, size)
        error = self.assertRaises(OSError, folders.choose, 17 * MiB)
        self.assertEqual(error.errno, errno.ENOSPC)
        (self.root / "small" / "full").write_bytes(bytes(2 * MiB))
        (self.root / "b" / "half").write_bytes(bytes(2 * MiB))
        self.assertEqual(self.chosen(folders, None), "a")

    def test_one_that_is_away(self) -> None:
        """
        A folder that vanished gets no new data; if all did, that is no lack of room.
        """
        folders = DataFolders([FolderChoice(str(self.root / name), rank) for name, rank in (("a", 1), ("b", 0))])
        folders.prepare()
        (self.root / "a").rmdir()
        self.assertEqual(self.chosen(folders, 1), "b")
        (self.root / "b").rmdir()
        self.assertRaises(NotADirectoryError, folders.choose, 1)

    def test_single(self) -> None:
        """
        One folder alone is chosen whatever its room: the system itself says when it is full.
        """
        folders = DataFolders([FolderChoice(str(self.root))])
        self.assertEqual(folders.choose(1 << 62).path, self.root)

    def test_find(self) -> None:
        """
        A location leads to its folder, also where one folder lies in another, and to no folder but these.
        """
        folders = DataFolders([FolderChoice(f"{self.root}/a"), FolderChoice(f"{self.root}/a/b", 3)])
        for path in ("a", "a/b"):
            folder, name = folders.find(f"file://{self.root}/{path}/x.1")
            self.assertEqual((folder.path, name), (self.root / path, "x.1"))
        for path in ("x.1", "a/c/x.1", "a/b/c/x.1"):
            self.assertRaises(ForeignLocation, folders.find, f"file://{self.root}/{path}")

    def test_wrong(self) -> None:
        """
        No folder at all, and one that is named twice, are mistakes.
        """
        self.assertRaises(ValueError, DataFolders, [])
        self.assertRaises(ValueError, DataFolders, [FolderChoice("/a"), FolderChoice("/a//", 3)])

    def test_prepare(self) -> None:
        """
        All of them are made; one that cannot be is named.
        """
        (self.root / "file").write_bytes(b"")
        folders = DataFolders([FolderChoice(f"{self.root}/x/y"), FolderChoice(f"{self.root}/file/z")])
        error = self.assertRaises(OSError, folders.prepare)
        self.assertEqual(error.filename, f"{self.root}/file/z")
        self.assertTrue((self.root / "x" / "y").is_dir())
