"""
Names, locations and what lies behind them.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from glance_tx.stores.folder import DataFolder, ForeignLocation


class LocationTests(SynchronousTestCase):
    """
    From a name to a URL and back.
    """

    def test_there_and_back(self) -> None:
        """
        A name's location stands for that name, whatever the folder is called.
        """
        for path in ("/srv/images", "/srv/im ages/", "/srv//a%2fb", "//srv/x?y#z", "/"):
            folder = DataFolder(path)
            self.assertEqual(folder.name(folder.location("abc.17")), "abc.17")

    def test_form(self) -> None:
        """
        A location is the scheme and the absolute path, as stock Glance writes it.
        """
        self.assertEqual(DataFolder("/srv/./images/").location("abc.17"), "file:///srv/images/abc.17")

    def test_stock_spellings(self) -> None:
        """
        Both of stock Glance's schemes are understood, and slashes too many.
        """
        folder = DataFolder("/srv/images")
        for location in (
            "file:///srv/images/abc",
            "filesystem:///srv/images/abc",
            "FILE:///srv/images/abc",
            "file:////srv//images///abc",
        ):
            self.assertEqual(folder.name(location), "abc")

    def test_foreign(self) -> None:
        """
        A location that leads, or could be read to lead, out of the folder is refused.
        """
        folder = DataFolder("/srv/images")
        for location in (
            "",
            "abc",
            "/srv/images/abc",
            "file:",
            "file://",
            "file:///",
            "file:///srv/images",
            "file:///srv/images/",
            "file:///srv/images/..",
            "file:///srv/images/.",
            "file:///srv/images/../images/abc",
            "file:///srv/images/sub/abc",
            "file:///srv/images/sub/../abc",
            "file:///srv/images2/abc",
            "file:///srv/abc",
            "file://srv/images/abc",
            "file://localhost/srv/images/abc",
            "file:/srv/images/abc",
            "file:///srv/images/%2e%2e",
            "file:///srv/images/a%2f..%2f..%2fetc%2fpasswd",
            "file:///srv%2fimages/abc",
            "file:///srv/images/abc?x",
            "file:///srv/images/abc#x",
            "file:///srv/images/abc\0",
            "file:///srv/images/abc\n",
            "file:///srv/images/.abc.1.part",
            "file:///srv/images/\u0661",
            "file:///srv/images/" + "a" * 248,
            "http:///srv/images/abc",
            "files:///srv/images/abc",
        ):
            with self.assertRaises(ForeignLocation, msg=location):
                folder.name(location)

    def test_impossible_names(self) -> None:
        """
        A key that could name something outside of the folder gets no location.
        """
        for name in ("", "..", "a/b", ".hidden", "a%b", "a" * 248):
            with self.assertRaises(ValueError, msg=name):
                DataFolder("/srv").location(name)

    def test_relative(self) -> None:
        """
        A relative folder is refused: it would change with the working directory.
        """
        for path in ("images", "", "./x"):
            with self.assertRaises(ValueError):
                DataFolder(path)


class FileTests(SynchronousTestCase):
    """
    Only regular files are data.
    """

    def setUp(self) -> None:
        root = Path(self.mktemp()).absolute()
        root.mkdir()
        self.folder = DataFolder(str(root))
        self.root = root

    def test_irregular(self) -> None:
        """
        Links, pipes, sockets and folders are neither opened (which would block), measured nor removed.
        """
        outside = self.root.parent / f"{self.root.name}-outside"
        outside.write_bytes(b"secret")
        (self.root / "link").symlink_to(outside)
        (self.root / "dangling").symlink_to(self.root / "nothing")
        (self.root / "folder").mkdir()
        os.mkfifo(self.root / "pipe")
        here = os.open(self.root, os.O_PATH)  # a socket's path has a short limit
        self.addCleanup(os.close, here)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"/proc/self/fd/{here}/socket")
        for name in ("link", "dangling", "folder", "pipe", "socket"):
            for action in (self.folder.open, self.folder.size_bytes, self.folder.delete):
                with self.assertRaises(ForeignLocation, msg=name):
                    action(name)
            self.assertTrue(os.path.lexists(self.root / name))

    def test_missing_file_and_missing_folder(self) -> None:
        """
        The absence of a file is told from that of the whole folder, of whose files nothing is known.
        """
        elsewhere = DataFolder(f"{self.root}/unmounted")
        for action in ("open", "size_bytes", "delete"):
            with self.assertRaises(FileNotFoundError):
                getattr(self.folder, action)("abc")
            with self.assertRaises(NotADirectoryError):
                getattr(elsewhere, action)("abc")
