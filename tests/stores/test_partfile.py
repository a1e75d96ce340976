"""
A file appears whole and durable, or not at all.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from glance_tx.stores.folder import DataFolder
from glance_tx.stores.partfile import PartFile

_DYING_WRITER = """
import os, signal, sys
from glance_tx.stores.folder import DataFolder
from glance_tx.stores.partfile import PartFile
part = PartFile(DataFolder(sys.argv[1]), "abc.1", mode=None, reserve=True)
part.create(1000)
part.append(b"x" * 500)
if sys.argv[2] == "published":
    part.publish()
os.kill(os.getpid(), signal.SIGKILL)
"""


class PartFileTests(SynchronousTestCase):
    """
    From the first byte to the name.
    """

    def setUp(self) -> None:
        self.root = Path(self.mktemp()).absolute()
        self.root.mkdir()
        self.folder = DataFolder(str(self.root))

    def part(self, name: str = "abc.1", mode: int | None = None, reserve: bool = True) -> PartFile:
        return PartFile(self.folder, name, mode=mode, reserve=reserve)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.root.iterdir())

    def test_hidden_until_published(self) -> None:
        """
        Until it is whole the file has a hidden name, and only its own name afterwards.
        """
        part = self.part()
        part.create(None)
        part.append(b"data")
        self.assertEqual(self.names(), [".abc.1.part"])
        part.publish()
        self.assertEqual(self.names(), ["abc.1"])
        self.assertEqual((self.root / "abc.1").read_bytes(), b"data")

    def test_durable_in_order(self) -> None:
        """
        The data is synced before the file gets its name, and the folder after the last change of names.
        """
        part = self.part()
        part.create(None)
        part.append(b"data")
        calls: list[str] = []

        def note(frame: object, event: str, function: object) -> None:
            if event == "c_call" and function in {os.fsync, os.link, os.unlink}:
                calls.append(function.__name__)

        sys.setprofile(note)
        try:
            part.publish()
        finally:
            sys.setprofile(None)
        self.assertEqual(calls, ["fsync", "link", "unlink", "fsync"])

    def test_permissions(self) -> None:
        """
        Files are 0640 less the umask, or exactly what was asked for.
        """
        self.addCleanup(os.umask, os.umask(0o027))
        for number, (mode, expected) in enumerate([(None, 0o640), (0o600, 0o600), (0o644, 0o644)]):
            part = self.part(f"abc.{number}", mode)
            part.create(None)
            part.publish()
            self.assertEqual((self.root / f"abc.{number}").stat().st_mode & 0o7777, expected)

    def test_room_is_taken_first(self) -> None:
        """
        The room of an announced size is taken before the first byte, and what was not needed is given back.
        """
        part = self.part()
        part.create(1 << 20)
        self.assertGreaterEqual((self.root / ".abc.1.part").stat().st_blocks * 512, 1 << 20)
        part.append(b"x")
        part.publish()
        status = (self.root / "abc.1").stat()
        self.assertEqual(status.st_size, 1)
        self.assertLess(status.st_blocks * 512, 1 << 20)

    def test_room_is_not_taken_where_told(self) -> None:
        """
        Without reservation only the bytes written take room.
        """
        part = self.part(reserve=False)
        part.create(1 << 20)
        self.assertEqual((self.root / ".abc.1.part").stat().st_size, 0)
        part.discard()

    def test_never_replaces(self) -> None:
        """
        A file that came to lie under the name meanwhile is kept, and survives the discarding of the other.
        """
        part = self.part()
        part.create(None)
        (self.root / "abc.1").write_bytes(b"first")
        with self.assertRaises(FileExistsError):
            part.publish()
        part.discard()
        self.assertEqual(self.names(), ["abc.1"])
        self.assertEqual((self.root / "abc.1").read_bytes(), b"first")

    def test_taken_name(self) -> None:
        """
        A name in use cannot be begun, and neither its file nor a trace of the attempt is touched or left.
        """
        (self.root / "abc.1").write_bytes(b"first")
        with self.assertRaises(FileExistsError):
            self.part().create(None)
        other = self.part("abc.2")
        other.create(None)
        loser = self.part("abc.2")
        with self.assertRaises(FileExistsError):
            loser.create(None)
        loser.discard()
        self.assertEqual(self.names(), [".abc.2.part", "abc.1"])

    def test_discard_after_publishing_failed_half_way(self) -> None:
        """
        What was published and then could not be made durable is removed under both names.
        """
        part = self.part()
        part.create(None)
        calls = []

        def failing_fsync(descriptor: int) -> None:
            calls.append(descriptor)
            if len(calls) == 2:
                raise OSError(errno.EIO, "broken disk")

        self.patch(os, "fsync", failing_fsync)
        with self.assertRaises(OSError):
            part.publish()
        self.assertEqual(self.names(), ["abc.1"])
        part.discard()
        part.discard()
        self.assertEqual(self.names(), [])

    def test_without_hard_links(self) -> None:
        """
        On a file system without hard links the file is renamed, and still replaces nothing.
        """

        def refuse(*args: object, **kwargs: object) -> None:
            raise OSError(errno.EPERM, "no hard links here")

        self.patch(os, "link", refuse)
        part = self.part()
        part.create(None)
        part.append(b"data")
        part.publish()
        self.assertEqual(self.names(), ["abc.1"])
        late = self.part("abc.2")
        late.create(None)
        (self.root / "abc.2").write_bytes(b"first")
        with self.assertRaises(FileExistsError):
            late.publish()
        late.discard()
        self.assertEqual((self.root / "abc.2").read_bytes(), b"first")

    def test_repeated_link(self) -> None:
        """
        A name that turns out to be this very file's, as after a lost answer of an NFS server, is no conflict.
        """
        link = os.link

        def twice(*args: object, **kwargs: object) -> None:
            link(*args, **kwargs)
            link(*args, **kwargs)

        self.patch(os, "link", twice)
        part = self.part()
        part.create(None)
        part.publish()
        self.assertEqual(self.names(), ["abc.1"])

    def test_larger_than_any_file(self) -> None:
        """
        An announced size that no file can have is an error of the system's kind.
        """
        for size in (1 << 62, 1 << 64, 10**30):
            with self.assertRaises(OSError) as caught:
                self.part().create(size)
            self.assertIn(caught.exception.errno, {errno.EFBIG, errno.ENOSPC})
        self.assertEqual(self.names(), [])

    def test_killed(self) -> None:
        """
        A process killed while it writes leaves nothing under the name; one killed after publishing, the file.
        """
        for moment, left in [("writing", [".abc.1.part"]), ("published", ["abc.1"])]:
            command = [sys.executable, "-c", _DYING_WRITER, str(self.root), moment]
            done = subprocess.run(command, check=False, timeout=60)
            self.assertEqual(done.returncode, -signal.SIGKILL)
            self.assertEqual(self.names(), left)
            self.folder.delete("abc.1")
            self.assertEqual(self.names(), [])
