"""
The files of an entry while they are written, and what is left of them when something goes wrong at any step.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from glance_cache.catalog import CHUNK_BYTES, HEADER_BYTES, RECORD_BYTES, CatalogDamaged, Header
from glance_cache.files import FileOps
from glance_cache.fillfile import FillFile
from glance_cache.folder import CacheFolder
from glance_cache.names import EntryName
from glance_cache.stamps import Stamp
from glance_tx.streaming.errors import BodyTooLong, BodyTooShort
from glance_tx.streaming.units import GiB
from tests.proxy.folders import DATA, BadSectors, FailingFiles, facts_of, open_files

FACTS = facts_of(DATA)
NAME = EntryName.of(FACTS)


class SyncCounting(FileOps):
    """
    Counts what is brought to the disk.
    """

    def __init__(self) -> None:
        self.syncs = 0

    def sync_data(self, descriptor: int) -> None:
        self.syncs += 1


class FillFileTests(SynchronousTestCase):
    """
    `FillFile` on a disk that works.
    """

    def setUp(self) -> None:
        self.folder = CacheFolder(Path(self.mktemp()).absolute(), FileOps())
        os.close(self.folder.take())

    def file(self, files: FileOps | None = None) -> FillFile:
        folder = self.folder if files is None else CacheFolder(self.folder.path, files)
        file = FillFile(folder, NAME, Header(FACTS, 0.0), GiB)
        self.addCleanup(file.close)
        return file

    def begin(self, data: bytes = b"") -> FillFile:
        self.folder.remove(NAME)
        file = self.file()
        file.create()
        file.append(data)
        return file

    def taken_over(self) -> bytes:
        file = self.file()
        file.reopen()
        pieces = []
        while piece := file.read_recorded():
            pieces.append(piece)
        self.assertEqual(file.position, sum(map(len, pieces)))
        file.close()
        return b"".join(pieces)

    def change(self, path: Path, offset: int) -> None:
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(b"\xff\xff\xff\xff")

    def test_pieces_may_be_of_any_size(self) -> None:
        """However the data is cut up, file and records are the same."""
        catalogs = set()
        for size in (77_777, CHUNK_BYTES, CHUNK_BYTES + 1, len(DATA)):
            file = self.begin()
            for offset in range(0, len(DATA), size):
                file.append(DATA[offset : offset + size])
            file.publish()
            file.close()
            catalogs.add(self.folder.catalog_path(NAME).read_bytes())
            self.assertEqual(self.folder.data_path(NAME).read_bytes(), DATA)
        self.assertEqual(len(catalogs), 1)

    def test_it_is_complete_at_once(self) -> None:
        """Until it is published there is no catalog; then there is one, and none of a fill."""
        file = self.begin(DATA)
        self.assertFalse(self.folder.catalog_path(NAME).exists())
        file.publish()
        self.assertTrue(self.folder.catalog_path(NAME).exists())
        self.assertFalse(self.folder.part_path(NAME).exists())

    def test_the_stamp_tells_of_any_later_change(self) -> None:
        """A change in the very moment after publishing shows in the file's stamp."""
        stamp = self.begin(DATA).publish()
        self.assertLess(stamp.modified_ns, FileOps().now_ns() - 2_000_000_000)
        self.assertEqual(stamp, Stamp.of(self.folder.data_path(NAME).stat()))
        self.change(self.folder.data_path(NAME), 0)
        self.assertNotEqual(stamp, Stamp.of(self.folder.data_path(NAME).stat()))

    def test_all_is_on_the_disk_before_the_entry_is_complete(self) -> None:
        """Data and catalog are brought to the disk before the catalog gets its name, and the name after that."""
        files = FailingFiles(10_000, RuntimeError)
        file = self.file(files)
        file.create()
        file.append(DATA)
        before = len(files.calls)
        file.publish()
        order = [call for call in files.calls[before:] if call in {"write", "sync", "rename", "sync_folder"}]
        self.assertEqual(order, ["sync", "sync", "rename", "sync_folder"])

    def test_bytes_that_are_missing_or_too_many(self) -> None:
        """Data that is not of the image's length cannot be published, and what is too much is not written."""
        file = self.begin(DATA[:-1])
        self.assertRaises(BodyTooShort, file.publish)
        self.assertRaises(BodyTooLong, file.append, b"12")
        file.append(DATA[-1:])
        file.publish()
        self.assertEqual(self.folder.data_path(NAME).read_bytes(), DATA)

    def test_a_long_fill_brings_its_data_to_the_disk_now_and_then(self) -> None:
        """Not more than 64 MiB are left for the machine to write when it pleases."""
        files = SyncCounting()
        folder = CacheFolder(self.folder.path, files)
        facts = evolve(FACTS, size=130 * CHUNK_BYTES)
        file = FillFile(folder, EntryName.of(facts), Header(facts, 0.0), GiB)
        self.addCleanup(file.close)
        file.create()
        for _ in range(130):
            file.append(bytes(CHUNK_BYTES))
        self.assertEqual(files.syncs, 2)

    def test_whole_chunks_are_taken_over(self) -> None:
        """A fill that stopped in an earlier run of the daemon goes on after the last whole chunk."""
        for written in (0, 1, CHUNK_BYTES, 2 * CHUNK_BYTES + 1, len(DATA)):
            self.begin(DATA[:written]).close()
            with self.folder.books.turn() as page:
                page.begin_run()
            good = written if written == len(DATA) else written - written % CHUNK_BYTES
            self.assertEqual(self.taken_over(), DATA[:good])

    def test_nothing_is_taken_over_from_the_first_bad_chunk_on(self) -> None:
        """A chunk that does not match its record, and all after it, are to be fetched anew."""
        self.begin(DATA).close()
        self.change(self.folder.data_path(NAME), CHUNK_BYTES + 5)
        self.assertEqual(self.taken_over(), DATA[:CHUNK_BYTES])

    def test_nothing_is_taken_over_from_a_torn_record_on(self) -> None:
        """A chunk whose record is torn, or was never written, and all after it, are to be fetched anew."""
        self.begin(DATA).close()
        self.change(self.folder.part_path(NAME), HEADER_BYTES + 2 * RECORD_BYTES - 2)
        self.assertEqual(self.taken_over(), DATA[:CHUNK_BYTES])
        os.truncate(self.folder.part_path(NAME), HEADER_BYTES + 5)
        self.assertEqual(self.taken_over(), b"")

    def test_a_fill_that_goes_on_makes_the_same_entry(self) -> None:
        """Data that came in two fills, the first one ending with a bad chunk, is the data that came in one."""
        self.begin(DATA[: 2 * CHUNK_BYTES + 9]).close()
        self.change(self.folder.data_path(NAME), CHUNK_BYTES + 5)
        file = self.file()
        file.reopen()
        while file.read_recorded():
            pass
        file.append(DATA[file.position :])
        file.publish()
        self.assertEqual(self.folder.data_path(NAME).read_bytes(), DATA)
        resumed = self.folder.catalog_path(NAME).read_bytes()
        self.begin(DATA).publish()
        self.assertEqual(resumed, self.folder.catalog_path(NAME).read_bytes())

    def test_a_chunk_that_cannot_be_read_is_fetched_anew(self) -> None:
        """An I/O error where an earlier fill wrote ends what is taken over, and not the fill."""
        self.begin(DATA[:CHUNK_BYTES]).close()
        file = self.file(BadSectors())
        file.reopen()
        self.assertEqual(file.read_recorded(), b"")

    def test_a_fill_of_other_data_does_not_go_on(self) -> None:
        """What was begun for other data, or is of another length now, is not gone on with."""
        self.begin(DATA[:CHUNK_BYTES]).close()
        other = FillFile(self.folder, NAME, Header(evolve(FACTS, os_hash_value="0" * 128), 0.0), GiB)
        self.assertRaises(CatalogDamaged, other.reopen)
        os.truncate(self.folder.data_path(NAME), CHUNK_BYTES)
        self.assertRaises(CatalogDamaged, self.file().reopen)
        before = open_files(self.folder.path)
        self.change(self.folder.part_path(NAME), 20)
        self.assertRaises(CatalogDamaged, self.file().reopen)
        self.assertEqual(open_files(self.folder.path), before)

    def test_a_new_one_does_not_take_the_place_of_another(self) -> None:
        """Where there is an entry, or a fill, none is begun; what is neither is removed first."""
        self.begin(DATA).publish()
        self.assertRaises(FileExistsError, self.file().create)
        self.begin(DATA[:CHUNK_BYTES]).close()
        self.assertRaises(FileExistsError, self.file().create)
        self.folder.part_path(NAME).unlink()
        self.file().create()
        self.assertNotEqual(self.folder.data_path(NAME).read_bytes()[:10], DATA[:10])

    def test_only_what_is_meant_is_removed(self) -> None:
        """Whoever gives an entry up does not remove another one that has its name by now."""
        before = self.begin(DATA)
        inode = self.folder.data_path(NAME).stat().st_ino
        self.begin(DATA).publish()
        before.close()
        self.assertTrue(self.folder.remove(NAME, inode))
        self.assertTrue(self.folder.catalog_path(NAME).exists())
        self.folder.remove(NAME, self.folder.data_path(NAME).stat().st_ino)
        self.assertFalse(self.folder.catalog_path(NAME).exists())

    def test_one_at_a_time(self) -> None:
        """A fill that is under way cannot be gone on with by another one, until that lets go."""
        first = self.begin(DATA[:CHUNK_BYTES])
        self.assertRaises(BlockingIOError, self.file().reopen)
        first.suspend()
        self.file().reopen()

    def test_what_was_shown_is_not_written_again(self) -> None:
        """A fill goes on within a chunk where others were shown a part of it; another run of the daemon does not."""
        data = DATA[: CHUNK_BYTES + 5000]
        self.begin(data).close()
        self.assertEqual(self.taken_over(), data)
        with self.folder.books.turn() as page:
            page.begin_run()
        self.assertEqual(self.taken_over(), DATA[:CHUNK_BYTES])

    def test_a_fill_that_was_removed_is_not_published(self) -> None:
        """What was removed meanwhile, and perhaps begun anew by somebody else, does not become complete."""
        file = self.begin(DATA)
        other = self.begin(DATA[:10])
        self.assertIsNone(file.publish())
        self.assertFalse(self.folder.catalog_path(NAME).exists())
        other.append(DATA[10:])
        other.publish()
        self.assertTrue(self.folder.catalog_path(NAME).exists())


class FailureTests(SynchronousTestCase):
    """
    `FillFile` on a disk that does not.
    """

    def test_nothing_is_left_of_a_file_that_could_not_be_begun(self) -> None:
        """Whichever step of the beginning is refused, no file and no descriptor stays."""
        step = 0
        while True:
            path = Path(self.mktemp()).absolute()
            os.close(CacheFolder(path, FileOps()).take())
            files = FailingFiles(step, lambda: OSError(errno.ENOSPC, "full"))
            file = FillFile(CacheFolder(path, files), NAME, Header(FACTS, 0.0), GiB)
            before = open_files(path)
            try:
                file.create()
            except OSError as error:
                self.assertEqual(error.errno, errno.ENOSPC)
                self.assertEqual(open_files(path), before)
                self.assertEqual(list((path / "entries").glob("*/*")), [])
            if not files.failed:
                file.close()
                break
            step += 1
        self.assertGreater(step, 8)
