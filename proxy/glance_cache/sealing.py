"""
Permissions that outlive the daemon: read when it starts, and written while it runs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from glance_cache.files import FileOps
from glance_cache.grants import Grants
from glance_cache.holders import Holders
from glance_cache.sealed import Moment, NodeKey, SealedFile, Unsealable
from glance_tx.streaming.interfaces import ILane

__all__ = ["MOST_SEALED", "Sealing"]

MOST_SEALED: Final = 10_000
"""Permissions that are kept, the latest ones: some 3 MiB."""

_LOOK_SECONDS: Final = 1.0
"""What is known to have ended is out of the file after this."""

_LOOKS: Final = 10
"""What is new is in it after so many looks."""


class Sealing:
    """
    Keeps the file. Without it the daemon works all the same.

    :param key_path: The node's key.
    :param moment: Tells the time.
    """

    _log = Logger()

    def __init__(
        self,
        folder: Path,
        key_path: Path,
        lane: ILane,
        clock: IReactorTime,
        moment: Callable[[], Moment],
        grants: Grants,
        holders: Holders,
    ) -> None:
        self._folder = folder
        self._key_path = key_path
        self._lane = lane
        self._moment = moment
        self._grants = grants
        self._holders = holders
        self._file: SealedFile | None = None
        self._written: tuple[int, int] = (0, 0)
        self._looks = 0
        self._loop = LoopingCall(self._look)
        self._loop.clock = clock

    async def start(self) -> None:
        """
        Read what there is, and begin to write.
        """
        try:
            key = await self._lane.run(lambda: NodeKey.load(self._key_path, FileOps()))
            self._file = await self._lane.run(lambda: SealedFile(self._folder, FileOps(), key.derive(b"seal")))
        except (OSError, Unsealable) as error:
            self._log.error("permissions will not outlive this process: {error}", error=str(error))
            return
        self._holders.use(key.derive(b"keys"))
        await self._read(self._file)
        self._loop.start(_LOOK_SECONDS, now=False).addErrback(
            lambda failure: self._log.failure("permissions are written no more", failure)
        )

    async def stop(self) -> None:
        """
        Write a last time.
        """
        if self._loop.running:
            self._loop.stop()
        file, self._file = self._file, None
        if file is not None:
            await self._write(file)
            await self._lane.run(file.close)

    async def _read(self, file: SealedFile) -> None:
        now = self._moment()
        try:
            sealed = await self._lane.run(lambda: file.read(now))
        except (OSError, Unsealable) as error:
            self._log.error("{path} is ignored: {error}", path=file.path, error=str(error))
            return
        self._grants.restore(sealed)
        if sealed:
            self._log.info("{count} permissions may live on while offline", count=len(sealed))

    def _look(self) -> Deferred[None] | None:
        self._looks += 1
        added, ended = self._grants.changes
        if self._file is None or (added, ended) == self._written:
            return None
        if ended == self._written[1] and self._looks % _LOOKS:
            return None
        # The loop waits for it, so that there is one at a time.
        return Deferred.fromCoroutine(self._write(self._file))

    async def _write(self, file: SealedFile) -> None:
        written = self._grants.changes
        sealed, now = self._grants.seal(MOST_SEALED), self._moment()
        try:
            await self._lane.run(lambda: file.write(sealed, now))
        except OSError as error:
            self._log.error("permissions cannot be written: {error}", error=str(error))
            return
        self._written = written
