"""
Which processes of this node live, by locks that the kernel releases together with the process.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import time
from pathlib import Path
from typing import Final

from attrs import frozen
from twisted.logger import Logger
from zope.interface import implementer

from glance_tx.domain.interfaces import IPresence, LeaseOwner
from glance_tx.errors import FactualError

__all__ = ["LockFolderUnusable", "Presence", "new_boot_id"]

_log = Logger()

_BOOT_ID: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
_KEEP_SECONDS: Final = 24 * 60 * 60


@frozen
class LockFolderUnusable(FactualError):
    """
    The folder of lock files cannot be used.
    """

    message = "the lock folder {self.path} cannot be used: {self.reason}"
    path: str
    reason: str


def new_boot_id() -> str:
    """
    Draw the name of a process that starts.
    """
    return secrets.token_hex(16)


@implementer(IPresence)
class Presence:
    """
    Shows that this process lives, and tells which others of this node do not.

    Each process holds a lock (``flock``) on ``<folder>/<boot_id>.lock`` for as long as it lives, whatever ends it. A
    lock file that nobody holds is the mark of a process that ended. Marks are kept for a day after they were found,
    since several processes may ask for the same one, and about several leases; later its leases have run out.

    :param folder: For lock files; shared by the processes of one node, and on a disk of its own, as ``flock`` over
        a network tells little. Best not emptied by a reboot.
    :param node: This node's name.
    :param boot_id: This process's, by `new_boot_id`.
    """

    def __init__(self, folder: str, node: str, boot_id: str) -> None:
        if _BOOT_ID.fullmatch(boot_id) is None:
            raise ValueError(f"{boot_id!r} cannot be a boot id")
        self.owner = LeaseOwner(node, boot_id)
        self._folder = Path(folder)
        self._descriptor = -1

    def start(self) -> None:
        """
        Take this process's lock. Blocks for a moment: for start-up, before anything is served.

        :raises LockFolderUnusable: The folder cannot be made or written.
        """
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._drop_old_marks()
            # The file gets its name when it is locked: nobody ever sees it without.
            unnamed = self._folder / f".{self.owner.boot_id}.new"
            self._descriptor = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            unnamed.rename(self._path(self.owner.boot_id))
        except OSError as error:
            self.stop()
            raise LockFolderUnusable(str(self._folder), error.strerror or type(error).__name__) from error

    def stop(self) -> None:
        """
        Count as ended from now on. Harmless when repeated.
        """
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def is_dead(self, owner: LeaseOwner) -> bool:
        """
        See `IPresence`. Makes three short calls to a local disk: for start-up, or a thread.
        """
        if owner.node != self.owner.node or owner == self.owner or _BOOT_ID.fullmatch(owner.boot_id) is None:
            return False
        try:
            return _is_free(self._path(owner.boot_id))
        except FileNotFoundError:
            return False
        except OSError as error:
            _log.warn("nothing can be told of process {owner}: {error}", owner=owner.boot_id, error=error)
            return False

    def _path(self, boot_id: str) -> Path:
        return self._folder / f"{boot_id}.lock"

    def _drop_old_marks(self) -> None:
        for path in (*self._folder.glob("*.lock"), *self._folder.glob(".*.new")):
            try:
                if _is_free(path):
                    _drop_if_old(path)
            except FileNotFoundError:  # another process that starts was faster
                continue


def _drop_if_old(path: Path) -> None:
    """
    Remove the mark of an ended process, a day after the first call for it.

    The file's own time says when the process started, which may be long before it ended. So the first call writes
    into the empty file, and the time of that is what counts.
    """
    status = path.stat()
    if not status.st_size:
        path.write_text("ended\n")
    elif status.st_mtime < time.time() - _KEEP_SECONDS:
        path.unlink()


def _is_free(path: Path) -> bool:
    """
    Tell whether nobody holds a lock file. Those who ask at the same time do not take each other for its holder.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)
