"""
A process that ended is known to have ended; all others are not.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from glance_tx.domain.interfaces import IPresence, LeaseOwner
from glance_tx.presence import LockFolderUnusable, Presence, new_boot_id

_LIVING = """
import sys
from glance_tx.presence import Presence
presence = Presence(sys.argv[1], "node", sys.argv[2])
presence.start()
print("here", flush=True)
sys.stdin.read()
"""

# Starts a program as an import plugin or a worker manager might, and dies; the program lives on.
_WITH_CHILD = _LIVING.replace(
    'print("here"',
    'import subprocess; child = subprocess.Popen(["sleep", "60"]); print("here", child.pid',
)

DAY = 24 * 60 * 60


class PresenceTests(SynchronousTestCase):
    """
    Several processes of one node.
    """

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.presence = self.started("observer")

    def started(self, boot_id: str) -> Presence:
        presence = Presence(str(self.folder), "node", boot_id)
        self.addCleanup(presence.stop)
        presence.start()
        return presence

    def child(self, boot_id: str, program: str = _LIVING) -> tuple[subprocess.Popen[str], list[str]]:
        command = [sys.executable, "-c", program, str(self.folder), boot_id]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.end, child)
        assert child.stdout is not None
        said = child.stdout.readline().split()
        self.assertEqual(said[:1], ["here"])
        return child, said

    def end(self, child: subprocess.Popen[str]) -> None:
        child.kill()
        child.communicate()

    def test_interface(self) -> None:
        """
        It provides its interface.
        """
        verifyObject(IPresence, self.presence)

    def test_killed_process(self) -> None:
        """
        A process lives until it is killed, and is dead right after; being asked again does not change that.
        """
        child, _ = self.child("worker-1")
        owner = LeaseOwner("node", "worker-1")
        self.assertFalse(self.presence.is_dead(owner))
        child.send_signal(signal.SIGKILL)
        child.wait()
        other = self.started("other")
        for asking in (self.presence, other, self.presence):
            self.assertTrue(asking.is_dead(owner))

    def test_child_of_a_killed_process(self) -> None:
        """
        A program that a dead process had started does not pass for it.
        """
        child, said = self.child("worker-1", _WITH_CHILD)
        self.addCleanup(os.kill, int(said[1]), signal.SIGKILL)
        child.send_signal(signal.SIGKILL)
        child.wait()
        self.assertTrue(self.presence.is_dead(LeaseOwner("node", "worker-1")))

    def test_stopped(self) -> None:
        """
        A process that said good-bye is dead; saying it twice does no harm.
        """
        other = self.started("other")
        self.assertFalse(self.presence.is_dead(other.owner))
        other.stop()
        other.stop()
        self.assertTrue(self.presence.is_dead(other.owner))

    def test_asked_by_several_at_once(self) -> None:
        """
        Those who ask about a process at the same time are not taken for it.
        """
        other = self.started("other")
        other.stop()
        with (self.folder / "other.lock").open() as asked_too:
            fcntl.flock(asked_too, fcntl.LOCK_SH)
            self.assertTrue(self.presence.is_dead(other.owner))

    def test_oneself(self) -> None:
        """
        A process does not take itself for dead.
        """
        self.assertFalse(self.presence.is_dead(self.presence.owner))

    def test_unknown(self) -> None:
        """
        Nothing is said of processes of another node, and of those that left no mark or could not have left one.
        """
        self.started("other").stop()
        (self.folder / "folder.lock").mkdir()
        (self.folder / "link.lock").symlink_to(self.folder / "other.lock")
        for owner in (
            LeaseOwner("elsewhere", "other"),
            LeaseOwner("node", "never-seen"),
            LeaseOwner("node", "link"),
            LeaseOwner("node", ""),
            LeaseOwner("node", "../other"),
            LeaseOwner("node", "a" * 5000),
        ):
            self.assertFalse(self.presence.is_dead(owner), owner)

    def test_old_marks_go(self) -> None:
        """
        A start removes the marks of processes that were found ended more than a day ago, and no others.
        """
        for name in ("old", "recent"):
            self.started(name).stop()
        living, _ = self.child("living")
        (self.folder / ".half.new").touch()
        self.started("first").stop()
        self.age("old.lock", "living.lock", ".half.new")
        self.started("second").stop()
        self.assertEqual(self.marks(), ["first.lock", "living.lock", "observer.lock", "recent.lock", "second.lock"])
        self.assertFalse(self.presence.is_dead(LeaseOwner("node", "living")))
        self.end(living)
        self.assertTrue(self.presence.is_dead(LeaseOwner("node", "living")))

    def test_mark_of_a_long_life(self) -> None:
        """
        The mark of a process that lived for days and just ended is not an old one.
        """
        self.started("veteran").stop()
        self.age("veteran.lock")
        successor = self.started("successor")
        self.assertTrue(successor.is_dead(LeaseOwner("node", "veteran")))
        self.age("veteran.lock")
        self.started("later")
        self.assertEqual(self.marks(), ["later.lock", "observer.lock", "successor.lock"])

    def marks(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def age(self, *names: str) -> None:
        for name in names:
            long_ago = (self.folder / name).stat().st_mtime - DAY - 60
            os.utime(self.folder / name, (long_ago, long_ago))

    def test_unusable_folder(self) -> None:
        """
        A lock folder that cannot be one is refused with its name and the reason.
        """
        path = Path(self.mktemp()).absolute()
        path.write_bytes(b"")
        error = self.assertRaises(LockFolderUnusable, Presence(str(path), "node", "x").start)
        self.assertIn(str(path), str(error))
        self.assertIn("File exists", str(error))

    def test_boot_ids(self) -> None:
        """
        Boot ids are fit to be used, and differ; what could name another file is refused.
        """
        self.assertNotEqual(new_boot_id(), new_boot_id())
        self.started(new_boot_id())
        for unfit in ("", "a/b", "..", "a.b"):
            with self.assertRaises(ValueError):
                Presence(str(self.folder), "node", unfit)
