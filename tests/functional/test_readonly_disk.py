"""
A cache whose disk can no longer be written.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from glance_tx.streaming.units import MiB
from tests.functional.test_cache import CacheTestCase, make_data
from tests.services import lacking


class ReadOnlyDiskTests(CacheTestCase):
    """
    A file system that found an error of its own, and lets nobody write any more, as ext4 does by default.
    """

    def setUp(self) -> None:
        super().setUp()
        self.cache.stop()
        self.mounted = self.cache.folder / "cache"
        self.device = self.mount(self.mounted)
        self.cache.start()
        self.fill()

    def run_as_root(self, *command: str | Path) -> str:
        """
        Run a program, and give what it prints.
        """
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise lacking(self, f"{command[0]} is not allowed here: {done.stderr.strip()}")
        return done.stdout.strip()

    def mount(self, path: Path) -> str:
        """
        Put a small file system at a path.

        :return: The name of its device.
        """
        self.image = path.with_name("disk.img")
        with self.image.open("wb") as file:
            file.truncate(256 * MiB)
        path.rename(path.with_name("before"))
        path.mkdir(mode=0o700)
        self.run_as_root("mkfs.ext4", "-q", "-F", self.image)
        self.run_as_root("mount", "-o", "loop,errors=remount-ro", self.image, path)
        self.addCleanup(subprocess.run, ["umount", "-l", str(path)], check=False)
        path.chmod(0o700)
        return Path(self.run_as_root("findmnt", "-no", "SOURCE", path)).name

    def fail_disk(self) -> None:
        """
        Have the file system find something wrong with itself.
        """
        Path(f"/sys/fs/ext4/{self.device}/trigger_fs_error").write_text("1")

    def test_serving(self) -> None:
        """
        What is cached goes on being served, everything else is passed through, and the log has the reason.
        """
        other = make_data(3 * MiB)
        other_id = self.upload(other)
        self.fail_disk()
        for _ in range(3):
            self.assert_right(self.download(), "hit")
        for _ in range(2):
            answer = self.download(image_id=other_id)
            self.assertEqual((answer.status, answer.headers["x-cache"], answer.body == other), (200, "bypass", True))
        self.assertIn(f"image {other_id} is not cached: the cache folder", self.cache.log())
        self.assertIn("Read-only file system", self.cache.log())
        self.assertNotIn("Traceback", self.cache.log())

    def test_restart(self) -> None:
        """
        A node does not start on such a disk, and says why; when the disk was mended it has what it had.
        """
        self.fail_disk()
        self.cache.stop()
        with self.assertRaisesRegex(AssertionError, "cannot be used: Read-only file system"):
            self.cache.start()
        self.run_as_root("umount", self.mounted)
        self.run_as_root("mount", "-o", "loop", self.image, self.mounted)
        self.cache.start()
        self.assert_right(self.download(), "hit")
