"""
The books of a cache folder: one file by which all processes that use it take turns, and know how much room is taken.
"""

from __future__ import annotations

import binascii
import errno
import os
import secrets
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from glance_cache.files import OUT_OF_SPACE, FileOps

__all__ = ["Books", "Page"]

_PAGE: Final = struct.Struct(">8sqI")  # the daemon's run, bytes taken (-1 for unknown), CRC of both
_RUN_BYTES: Final = 8
_UNKNOWN: Final = -1

_TURN_SECONDS: Final = 30.0
"""How long to wait for a turn. Others keep it for some file calls, or while they count a whole folder."""

_LOOK_AGAIN_SECONDS: Final = 0.002

# Note [Taking turns]
# Names in the folder come and go only in a turn, and in it the number of bytes taken is set to unknown before the
# first file is touched, and to the new number after the last one. Whoever dies in his turn loses it at once, by the
# kernel, and leaves the number unknown: the next one counts anew. So the number is never less than what lies there.


class Page:
    """
    What is in the books, during one turn.

    :param count: Counts the bytes that are taken in the folder.
    """

    def __init__(self, files: FileOps, descriptor: int, count: Callable[[], int]) -> None:
        self._files = files
        self._descriptor = descriptor
        self._count = count
        self.run, self._taken = self._read()

    def _read(self) -> tuple[bytes, int]:
        data = self._files.read(self._descriptor, _PAGE.size, 0)
        if len(data) == _PAGE.size:
            run, taken, checksum = _PAGE.unpack(data)
            if checksum == binascii.crc32(data[:-4]):
                return run, taken
        return bytes(_RUN_BYTES), _UNKNOWN

    def _write(self, taken: int) -> None:
        data = struct.pack(">8sq", self.run, taken)
        self._files.write(self._descriptor, data + struct.pack(">I", binascii.crc32(data)), 0)
        self._taken = taken

    def taken(self) -> int:
        """
        Tell how many bytes are taken; counts them where nobody knows.
        """
        if self._taken == _UNKNOWN:
            self._write(self._count())
        return self._taken

    @contextmanager
    def change(self, taken_bytes: int) -> Iterator[None]:
        """
        Change files. Where that fails half-way, whoever needs the number next counts anew.

        :param taken_bytes: How much more is taken afterwards; negative for less.
        """
        known = self._taken
        if known != _UNKNOWN:
            try:
                self._write(_UNKNOWN)
            except OSError as error:
                # A disk so full that even this cannot be written is made emptier all the same.
                if taken_bytes > 0 or error.errno not in OUT_OF_SPACE:
                    raise
        yield
        if known != _UNKNOWN:
            self._write(known + taken_bytes)

    def begin_run(self) -> None:
        """
        Begin another run of the daemon, which knows nothing yet.
        """
        self.run = secrets.token_bytes(_RUN_BYTES)
        self._write(_UNKNOWN)


class Books:
    """
    The file. See Note [Taking turns].

    :param path: Its path.
    :param count: Counts the bytes that are taken in the folder; called in a turn.
    """

    def __init__(self, path: Path, files: FileOps, count: Callable[[], int]) -> None:
        self._path = path
        self._files = files
        self._count = count

    @contextmanager
    def turn(self) -> Iterator[Page]:
        """
        Wait for a turn, and have it. Blocks; turns do not nest.

        :raises OSError: As the system says; `TimeoutError` where another process keeps its turn, being stopped perhaps.
        """
        descriptor = self._files.create(self._path, or_open=True)
        try:
            self._wait(descriptor)
            yield Page(self._files, descriptor, self._count)
        finally:
            self._files.close(descriptor)

    def _wait(self, descriptor: int) -> None:
        ends_at = time.monotonic() + _TURN_SECONDS
        while True:
            try:
                return self._files.lock(descriptor)
            except BlockingIOError as error:
                if time.monotonic() > ends_at:
                    raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)) from error
            time.sleep(_LOOK_AGAIN_SECONDS)
