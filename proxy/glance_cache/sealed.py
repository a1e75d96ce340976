"""
The file in which permissions outlive the daemon: encrypted, and nothing in it that anybody could show to a service.

::

    offline.key         32 random bytes; or where [cache] offline_key_file says
    offline-<n>.lock    held by the process whose file is of that number
    offline-<n>.sealed  its permissions

There are no tokens in it, only keys made of them with a secret of the node, what the images' data are, and when
permissions end.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import orjson
from attrs import asdict, field, frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from glance_cache.files import FileOps
from glance_cache.interfaces import ImageFacts

__all__ = ["Moment", "NodeKey", "SealedFile", "SealedGrant", "Unsealable"]

_MAGIC: Final = b"glance-cache offline 1\n"
_NONCE_BYTES: Final = 12
_KEY_BYTES: Final = 32
_MOST_BYTES: Final = 64 * 1024 * 1024
_MOST_PROCESSES: Final = 256


class Unsealable(Exception):
    """
    A file is not what was written, or not for this node, or its time cannot be told.
    """


@frozen
class Moment:
    """
    When something was written.

    :param boot: The machine's start that ``uptime`` counts from.
    :param at: Seconds since the epoch, by a clock that may be wrong.
    """

    boot: str
    uptime: float
    at: float

    def seconds_since(self, earlier: Moment) -> float:
        """
        Tell how much time has passed.

        :raises Unsealable: The clock is behind.
        """
        passed = self.uptime - earlier.uptime if self.boot == earlier.boot else self.at - earlier.at
        if passed < 0:
            raise Unsealable("the clock is behind the time at which it was written")
        return passed


@frozen
class SealedGrant:
    """
    One permission.

    :param holder: The key of whoever has it.
    :param seconds_left: Of its time, at the moment of writing; below zero where it lived on.
    :param expires_in: Seconds left of its credentials; ``None`` where that is not known.
    """

    holder: bytes
    facts: ImageFacts
    seconds_left: float
    expires_in: float | None


@frozen
class NodeKey:
    """
    What only this node knows.
    """

    _secret: bytes = field(repr=False)

    def derive(self, purpose: bytes) -> bytes:
        """
        Make a key of 32 bytes for one purpose.
        """
        return hmac.new(self._secret, purpose, hashlib.sha256).digest()

    @classmethod
    def load(cls, path: Path, files: FileOps) -> NodeKey:
        """
        Read it from a file, which is made where there is none. Blocks.

        :raises Unsealable: It is no key, or others can read it.
        :raises OSError: As the system says.
        """
        try:
            descriptor = files.create(path)
        except FileExistsError:
            return cls._read(path, files)
        try:
            secret = secrets.token_bytes(_KEY_BYTES)
            files.write(descriptor, secret, 0)
            files.sync(descriptor)
        finally:
            files.close(descriptor)
        files.sync_folder(path.parent)
        return cls(secret)

    @classmethod
    def _read(cls, path: Path, files: FileOps) -> NodeKey:
        descriptor = files.open(path)
        try:
            found = files.stat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
                raise Unsealable(f"{path} must be a file of this daemon's user that nobody else can read")
            secret = files.read(descriptor, _KEY_BYTES + 1, 0)
        finally:
            files.close(descriptor)
        if len(secret) != _KEY_BYTES:
            raise Unsealable(f"{path} has not {_KEY_BYTES} bytes")
        return cls(secret)


class SealedFile:
    """
    One process's file. All methods block.

    :param folder: Where it lies.
    :param key: Of 32 bytes.
    """

    def __init__(self, folder: Path, files: FileOps, key: bytes) -> None:
        self._folder = folder
        self._files = files
        self._cipher = AESGCM(key)
        self._lock, self._number = self._claim()

    def _claim(self) -> tuple[int, int]:
        for number in range(_MOST_PROCESSES):
            descriptor = self._files.create(self._folder / f"offline-{number}.lock", or_open=True)
            try:
                self._files.lock(descriptor)
            except BlockingIOError:
                self._files.close(descriptor)
                continue
            return descriptor, number
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    @property
    def path(self) -> Path:
        """
        Where it lies.
        """
        return self._folder / f"offline-{self._number}.sealed"

    def close(self) -> None:
        """
        Leave it to another process. Harmless when repeated.
        """
        lock, self._lock = self._lock, -1
        self._files.close(lock)

    def write(self, grants: Sequence[SealedGrant], now: Moment) -> None:
        """
        Put permissions in place of those before: all of them, or none.

        :raises OSError: As the system says; those before are still there.
        """
        rows = [[g.holder.hex(), *asdict(g.facts).values(), g.seconds_left, g.expires_in] for g in grants]
        document = orjson.dumps({"written": asdict(now), "grants": rows})
        nonce = secrets.token_bytes(_NONCE_BYTES)
        data = _MAGIC + nonce + self._cipher.encrypt(nonce, document, _MAGIC)
        part = self.path.with_suffix(".part")
        self._files.remove(part)
        descriptor = self._files.create(part)
        try:
            self._files.write(descriptor, data, 0)
            self._files.sync(descriptor)
        finally:
            self._files.close(descriptor)
        self._files.rename(part, self.path)
        self._files.sync_folder(self._folder)

    def read(self, now: Moment) -> list[SealedGrant]:
        """
        Read what was written, with what is left of it now; nothing where there is no file.

        :raises Unsealable: It is not what was written, or not for this node, or its time cannot be told.
        :raises OSError: As the system says.
        """
        try:
            descriptor = self._files.open(self.path)
        except FileNotFoundError:
            return []
        try:
            data = self._files.read(descriptor, _MOST_BYTES, 0)
        finally:
            self._files.close(descriptor)
        start = len(_MAGIC) + _NONCE_BYTES
        if not data.startswith(_MAGIC) or len(data) <= start:
            raise Unsealable("it is torn, or of another version")
        try:
            document = orjson.loads(self._cipher.decrypt(data[len(_MAGIC) : start], data[start:], _MAGIC))
        except InvalidTag:
            raise Unsealable("it is torn, or was changed, or is another node's") from None
        passed = now.seconds_since(Moment(**document["written"]))
        return [
            SealedGrant(bytes.fromhex(holder), ImageFacts(*facts), left - passed, ends and ends - passed)
            for holder, *facts, left, ends in document["grants"]
        ]
