"""
The journal of hits gives back what was written, whatever happened to the file.
"""

from __future__ import annotations

import errno
import os
import zlib
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from glance_cache.files import FileOps
from glance_cache.hit_journal import HitJournal, JournalContent
from glance_cache.interfaces import HitTotals
from tests.contracts.index import image


class FailingFiles(FileOps):
    """
    File calls of which one can be made to fail, after some of its bytes were written. Nothing waits for the disk: no
    test here takes the power away.
    """

    def __init__(self) -> None:
        self.failing: str | None = None

    def _fail(self, name: str) -> None:
        if self.failing == name:
            raise OSError(errno.ENOSPC, "No space left on device")

    def write(self, descriptor: int, data: bytes | memoryview, offset: int) -> None:
        if self.failing == "write":
            super().write(descriptor, data[: len(data) // 2], offset)
        self._fail("write")
        super().write(descriptor, data, offset)

    def sync(self, descriptor: int) -> None:
        self._fail("sync")

    def sync_data(self, descriptor: int) -> None:
        self._fail("sync_data")

    def sync_folder(self, path: Path) -> None:
        self._fail("sync_folder")

    def rename(self, source: Path, target: Path) -> None:
        self._fail("rename")
        super().rename(source, target)


class HitJournalTests(SynchronousTestCase):
    """
    From one process to the next.
    """

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "hits"
        self.files = FailingFiles()

    def journal(self, node: str = "a") -> HitJournal:
        return HitJournal(self.path, node, self.files)

    def write(self, *lines: tuple[str, HitTotals]) -> None:
        journal = self.journal()
        journal.open()
        journal.append(lines)
        journal.close()

    def read(self, node: str = "a") -> JournalContent:
        journal = self.journal(node)
        try:
            return journal.open()
        finally:
            journal.close()

    def test_there_and_back(self) -> None:
        """
        What was added is there for the next process; of several totals of an image the greater numbers count.
        """
        self.assertEqual(self.read(), JournalContent())
        self.write((image(1), HitTotals(1, 10, 1.5)), (image(2), HitTotals(7, 2**60, 1700000000.123456)))
        self.write((image(1), HitTotals(3, 30, 3.25)), (image(1), HitTotals(2, 20, 2.0)))
        self.assertEqual(
            self.read(),
            JournalContent({image(1): HitTotals(3, 30, 3.25), image(2): HitTotals(7, 2**60, 1700000000.123456)}),
        )

    def test_not_closed(self) -> None:
        """
        Lines are there for the next process although nobody closed or synced the file.
        """
        journal = self.journal()
        journal.open()
        journal.append([(image(1), HitTotals(1, 1, 1.0))])
        journal.append([(image(1), HitTotals(2, 2, 2.0))])
        self.assertEqual(self.read().totals, {image(1): HitTotals(2, 2, 2.0)})
        journal.close()
        journal.close()

    def test_torn_anywhere(self) -> None:
        """
        A file cut off at any byte gives back every line before the cut, and can be written on.
        """
        lines = [(image(number), HitTotals(number, number, float(number))) for number in range(1, 4)]
        self.write(*lines)
        whole = self.path.read_bytes()
        for cut in range(len(whole)):
            self.path.write_bytes(whole[:cut])
            complete = max(whole[:cut].count(b"\n") - 1, 0)
            content = self.read()
            self.assertEqual(content.totals, dict(lines[:complete]))
            self.assertEqual(content.damaged_lines, 0 if not cut or whole[cut - 1 : cut] == b"\n" else 1)
            self.write((image(9), HitTotals(9, 9, 9.0)))
            self.assertEqual(self.read(), JournalContent(dict([*lines[:complete], (image(9), HitTotals(9, 9, 9.0))])))

    def test_damaged_line(self) -> None:
        """
        A line that was altered is passed over; those around it are read.
        """
        lines = [(image(number), HitTotals(number, number, float(number))) for number in range(1, 4)]
        self.write(*lines)
        whole = self.path.read_bytes()
        start = whole.index(image(2).encode())
        for position in range(start - 10, start + 40):
            damaged = bytearray(whole)
            damaged[position] ^= 0x04
            self.path.write_bytes(damaged)
            content = self.read()
            self.assertEqual(content.totals, {key: value for key, value in lines if key != image(2)})
            self.assertEqual(content.damaged_lines, 1)

    @given(junk=st.binary(max_size=300))
    def test_junk(self, junk: bytes) -> None:
        """
        No content of the file keeps the journal from opening.
        """
        self.path.write_bytes(junk)
        self.assertEqual(self.read().totals, {})
        self.assertEqual(self.read(), JournalContent())

    def test_valid_checksum_on_something_else(self) -> None:
        """
        A line of another kind, though sound, is passed over.
        """
        self.write((image(1), HitTotals(1, 1, 1.0)))
        with self.path.open("ab") as file:
            for text in (b'{"x":1}', b"null", b"[1,2,3,4]", b"junk", b""):
                file.write(b"%08x %b\n" % (zlib.crc32(text), text))
        self.assertEqual(self.read().totals, {image(1): HitTotals(1, 1, 1.0)})

    def test_node_renamed(self) -> None:
        """
        Another node's hits are not taken for this one's, or they would be counted under both names.
        """
        self.write((image(1), HitTotals(1, 1, 1.0)))
        self.assertEqual(self.read("b"), JournalContent(other_node="a"))
        self.assertEqual(self.read("b"), JournalContent())
        self.assertTrue((self.folder / "hits.other-node").exists())

    def test_private(self) -> None:
        """
        Nobody else on the machine can read which images are used.
        """
        self.addCleanup(os.umask, os.umask(0))
        self.write((image(1), HitTotals(1, 1, 1.0)))
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    def test_stays_small(self) -> None:
        """
        A journal asks to be compacted when old totals outweigh the newest; then it is small, and knows the same.
        """
        journal = self.journal()
        journal.open()
        totals = {}
        rounds = 0
        while not journal.wants_compaction:
            rounds += 1
            totals = {image(number): HitTotals(rounds, rounds, float(rounds)) for number in range(100)}
            journal.append(totals.items())
        self.assertGreater(rounds, 20)
        journal.compact(totals)
        self.assertFalse(journal.wants_compaction)
        self.assertLess(self.path.stat().st_size, 20_000)
        journal.append([(image(5), HitTotals(9999, 9999, 9999.0))])
        journal.close()
        self.assertEqual(self.read().totals, {**totals, image(5): HitTotals(9999, 9999, 9999.0)})
        self.assertEqual([path.name for path in self.folder.iterdir()], ["hits"])

    def test_many(self) -> None:
        """
        More totals than fit into one read or write are all kept.
        """
        totals = {image(number): HitTotals(number, number, float(number)) for number in range(10_000)}
        self.write(*totals.items())
        self.assertEqual(self.read(), JournalContent(totals))

    def test_failed_append(self) -> None:
        """
        Lines that could not be added whole are not half there, and can be added again.
        """
        journal = self.journal()
        journal.open()
        journal.append([(image(1), HitTotals(1, 1, 1.0))])
        self.files.failing = "write"
        more = [(image(number), HitTotals(2, 2, 2.0)) for number in range(1, 20)]
        with self.assertRaises(OSError):
            journal.append(more)
        self.files.failing = None
        journal.append(more)
        journal.close()
        self.assertEqual(self.read(), JournalContent(dict(more)))

    def test_failed_compaction(self) -> None:
        """
        A compaction that fails at any step leaves the old file, in use, and nothing else.
        """
        for step in ("write", "sync", "rename"):
            journal = self.journal()
            journal.open()
            journal.append([(image(1), HitTotals(1, 1, 1.0))])
            self.files.failing = step
            with self.assertRaises(OSError):
                journal.compact({image(2): HitTotals(2, 2, 2.0)})
            self.assertEqual([path.name for path in self.folder.iterdir()], ["hits"])
            self.files.failing = None
            journal.append([(image(1), HitTotals(3, 3, 3.0))])
            journal.close()
            self.assertEqual(self.read().totals, {image(1): HitTotals(3, 3, 3.0)})

    def test_left_over_compaction(self) -> None:
        """
        What a crash left of a compaction is in nobody's way.
        """
        self.write((image(1), HitTotals(1, 1, 1.0)))
        (self.folder / "hits.new").write_bytes(b"half")
        self.assertEqual(self.read().totals, {image(1): HitTotals(1, 1, 1.0)})
        self.assertEqual([path.name for path in self.folder.iterdir()], ["hits"])
