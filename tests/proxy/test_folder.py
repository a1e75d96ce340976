"""
The cache folder: whose it may be, and what is found in it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from glance_cache.catalog import CHUNK_BYTES, HEADER_BYTES, RECORD_BYTES, Header
from glance_cache.content import BucketContent, FoundEntry, footprint_bytes
from glance_cache.errors import FolderUnusable
from glance_cache.files import FileOps
from glance_cache.fillfile import FillFile
from glance_cache.folder import CacheFolder
from glance_cache.names import EntryName
from glance_tx.streaming.units import GiB
from tests.proxy.folders import DATA, IMAGE, OTHER, facts_of, open_files


class TakeTests(SynchronousTestCase):
    """
    Taking a folder.
    """

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.folder = CacheFolder(self.path, FileOps())

    def take(self) -> None:
        self.addCleanup(os.close, self.folder.take())

    def refused(self) -> str:
        before = open_files(self.path)
        refusal = self.assertRaises(FolderUnusable, self.folder.take)
        self.assertEqual(open_files(self.path), before)
        return refusal.reason

    def test_a_new_one_is_for_its_owner_alone(self) -> None:
        """A folder that is not there is made, and nobody else can look into it."""
        self.take()
        for path in (self.path, self.path / "entries"):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o700)
        for path in (self.path / "format", self.path / "lock"):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)

    def test_one_that_is_in_use_is_refused(self) -> None:
        """A folder that another daemon uses is refused, until that daemon is gone, however it went."""
        lock = self.folder.take()
        self.assertIn("another daemon", self.refused())
        os.close(lock)
        self.take()

    def test_one_that_others_can_write_is_refused(self) -> None:
        """A folder is refused while its group, or everyone, may write to it or to its entries."""
        os.close(self.folder.take())
        for path in (self.path, self.path / "entries"):
            for mode in (0o720, 0o702):
                path.chmod(mode)
                self.assertIn("may write", self.refused())
            path.chmod(0o755)
        self.take()

    def test_one_of_another_user_is_refused(self) -> None:
        """A folder that belongs to somebody else is refused, even where we could write to it."""
        if os.geteuid() != 0:
            self.skipTest("only root can give a folder away")
        os.close(self.folder.take())
        os.chown(self.path, 65534, -1)
        self.assertIn("belongs to user 65534", self.refused())

    def test_one_that_cannot_be_is_refused(self) -> None:
        """A path that is a file, or below a folder that is not there, is refused."""
        self.path.write_text("")
        self.assertIn("not a folder", self.refused())
        self.path.unlink()
        self.folder = CacheFolder(self.path / "deeper" / "cache", FileOps())
        self.assertIn("No such file", self.refused())

    def test_another_format_is_refused(self) -> None:
        """Entries of an unknown format are left alone: the folder is refused."""
        os.close(self.folder.take())
        (self.path / "format").write_text("somebody's photographs\n")
        self.assertIn("photographs", self.refused())
        (self.path / "format").unlink()
        self.assertIn("unknown format", self.refused())

    def test_another_version_is_begun_anew(self) -> None:
        """Entries of another version are found no more, and removed bit by bit, wherever that was stopped before."""
        for version in (0, 2):
            os.close(self.folder.take())
            (self.path / "entries" / "71").mkdir(parents=True)
            for number in range(150):
                (self.path / "entries" / "71" / f"{number}.data").touch()
            (self.path / "format").write_text(f"glance-cache folder, version {version}\n")
            os.close(self.folder.take())
            self.assertEqual(list((self.path / "entries").iterdir()), [])
            self.assertTrue(self.folder.clear_outdated())
            self.assertFalse(self.folder.clear_outdated())
            names = {path.name for path in self.path.iterdir()}
            self.assertEqual(names, {"books", "entries", "format", "lock", "removed"})

    def test_a_format_file_that_was_never_finished_is_written_again(self) -> None:
        """A daemon that died while it made the folder does not keep the next one from it."""
        self.path.mkdir()
        (self.path / "format.part").write_text("glance-ca")
        self.take()
        self.assertEqual({path.name for path in self.path.iterdir()}, {"books", "entries", "format", "lock", "removed"})

    def test_a_relative_path_is_a_mistake(self) -> None:
        """The folder's path is absolute."""
        self.assertRaises(ValueError, CacheFolder, Path("cache"), FileOps())


class ExamineTests(SynchronousTestCase):
    """
    What is found, and what is garbage.
    """

    def setUp(self) -> None:
        self.folder = CacheFolder(Path(self.mktemp()).absolute(), FileOps())
        self.addCleanup(os.close, self.folder.take())
        self.facts = facts_of(DATA)
        self.name = EntryName.of(self.facts)

    def write(self, *, count: int = len(DATA), publish: bool = False, image_id: str = IMAGE) -> None:
        facts = facts_of(DATA, image_id)
        file = FillFile(self.folder, EntryName.of(facts), Header(facts, 0.0), GiB)
        file.create()
        file.append(DATA[:count])
        if publish:
            file.publish()
        file.close()

    def examine(self) -> BucketContent:
        return self.folder.examine(self.name.bucket)

    def assert_garbage(self, reason: str) -> None:
        content = self.examine()
        self.assertEqual([(garbage.name, garbage.reason) for garbage in content.garbage], [(self.name, reason)])
        self.assertEqual(content.entries, [])
        self.assertEqual(list((self.folder.path / "entries").glob("*/*")), [])

    def assert_found(self, *, complete: bool, recorded_bytes: int) -> FoundEntry:
        content = self.examine()
        self.assertEqual((len(content.entries), content.garbage), (1, []))
        found = content.entries[0]
        self.assertEqual(self.folder.find(self.name), found)
        self.assertEqual(self.folder.find_image(IMAGE), [found])
        self.assertEqual(
            (found.name, found.size_bytes, found.complete, found.recorded_bytes),
            (self.name, len(DATA), complete, recorded_bytes),
        )
        return found

    def test_a_complete_entry(self) -> None:
        """Data beside a catalog is a complete entry; when the catalog was touched is when it was used."""
        self.write(publish=True)
        os.utime(self.folder.catalog_path(self.name), (5.0, 5.0))
        os.utime(self.folder.data_path(self.name), (4.0, 4.0))
        found = self.assert_found(complete=True, recorded_bytes=len(DATA))
        self.assertEqual((found.used_at, found.modified_at), (5.0, 4.0))

    def test_a_fill_that_was_begun(self) -> None:
        """Data beside the catalog of a fill is found with as many bytes as there are records for."""
        self.write(count=2 * CHUNK_BYTES + 5)
        self.assert_found(complete=False, recorded_bytes=2 * CHUNK_BYTES)

    def test_records_after_a_torn_one_do_not_count(self) -> None:
        """What is recorded of a fill ends at the first record that is damaged."""
        self.write(count=2 * CHUNK_BYTES)
        with self.folder.part_path(self.name).open("r+b") as file:
            file.seek(HEADER_BYTES + RECORD_BYTES - 1)
            file.write(b"\0")
        self.assert_found(complete=False, recorded_bytes=0)

    def test_what_takes_how_much_room(self) -> None:
        """Both files count, in whole blocks, and take all of it from the start."""
        self.write(count=0)
        sizes = [path.stat().st_blocks * 512 for path in (self.folder.entries_path).glob("*/*")]
        self.assertEqual(sum(sizes), footprint_bytes(len(DATA)))

    def test_data_without_a_catalog_is_garbage(self) -> None:
        """Data whose catalog is gone is removed."""
        self.write(publish=True)
        self.folder.catalog_path(self.name).unlink()
        self.assert_garbage("data without a catalog")

    def test_a_catalog_without_data_is_garbage(self) -> None:
        """A catalog whose data is gone is removed, complete or not."""
        for publish in (False, True):
            self.write(publish=publish)
            self.folder.data_path(self.name).unlink()
            self.assert_garbage("a catalog without data")

    def test_truncated_data_is_garbage(self) -> None:
        """Data that lost chunks is removed, whether or not it was complete."""
        self.write(publish=True)
        os.truncate(self.folder.data_path(self.name), CHUNK_BYTES)
        self.assert_garbage(f"the catalog is not that of {CHUNK_BYTES} bytes")
        self.write()
        os.truncate(self.folder.data_path(self.name), CHUNK_BYTES)
        self.assert_garbage("the catalog is that of other data")

    def test_a_fill_with_a_damaged_header_is_garbage(self) -> None:
        """A fill of which nobody knows any more what it was is removed."""
        self.write(count=CHUNK_BYTES)
        with self.folder.part_path(self.name).open("r+b") as file:
            file.seek(40)
            file.write(b"\0\0")
        self.assert_garbage("the catalog's header is damaged")

    def test_what_is_not_ours_is_left_alone(self) -> None:
        """Files with other names, folders and links stay, and are told of."""
        self.write(publish=True)
        bucket = self.folder.bucket_path(self.name)
        (bucket / "notes.txt").write_text("mine")
        (bucket / f"{EntryName.of(facts_of(b'x')).stem}.data").mkdir()
        (bucket / f"{EntryName.of(facts_of(b'y')).stem}.data").symlink_to("/etc/hostname")
        content = self.examine()
        self.assertEqual((len(content.entries), len(content.foreign), content.garbage), (1, 3, []))
        self.assertEqual(len(list(bucket.iterdir())), 5)

    def test_images_are_told_apart(self) -> None:
        """Looking for one image finds no other, and no path leads out of the folder."""
        self.write(publish=True)
        self.write(publish=True, image_id=OTHER)
        self.assertEqual([found.name.image_id for found in self.folder.find_image(OTHER)], [OTHER])
        self.assertEqual(sorted(self.folder.buckets()), ["11", "71"])
        for image_id in ("../x", "", "11111111-0000-49cd-a114-e12490b328d9", "99"):
            self.assertEqual(self.folder.find_image(image_id), [])
