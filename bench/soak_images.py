"""
Images that a soak makes: what is in them, and which of them there should be.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections import deque
from collections.abc import Iterator

from attrs import define, field

__all__ = ["Content", "Image", "Images", "Pool"]

MIB = 1 << 20
_POOL_BYTES = 16 * MIB + 12_347
"""No multiple of anything, so that bytes from a wrong place of an image are wrong bytes."""


class Pool:
    """
    Random bytes that all images are cut from, each beginning somewhere else.
    """

    def __init__(self, rng: random.Random) -> None:
        data = rng.randbytes(_POOL_BYTES)
        self._data = data + data[:MIB]
        self._zeros = bytes(MIB)

    def cut(self, start: int, length: int) -> bytes:
        """
        Cut a piece of 1 MiB at most, going round at the end.
        """
        start %= _POOL_BYTES
        return self._data[start : start + length]

    def zeros(self, length: int) -> bytes:
        """
        Cut a piece of nothing.
        """
        return self._zeros[:length]


@define
class Content:
    """
    The bytes of one image.

    :param sparse: Two of three MiB are zero.
    """

    pool: Pool
    start: int
    size: int
    sparse: bool
    md5: str = ""
    sha512: str = ""

    @classmethod
    def make(cls, pool: Pool, rng: random.Random, size: int) -> Content:
        """
        Make one up, and take its digests.
        """
        content = cls(pool, rng.randrange(_POOL_BYTES), size, rng.random() < 0.25)
        # Once in 65536 times they would look like the boot sector of a disk whose partitions make no sense.
        while b"".join(content.pieces(510, 2)) == b"\x55\xaa":
            content.start += 1
        md5, sha512 = hashlib.md5(), hashlib.sha512()  # noqa: S324
        for piece in content.pieces():
            md5.update(piece)
            sha512.update(piece)
        content.md5, content.sha512 = md5.hexdigest(), sha512.hexdigest()
        return content

    def pieces(self, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """
        Tell its bytes, 1 MiB at most at a time.
        """
        end = self.size if length is None else min(offset + length, self.size)
        while offset < end:
            piece = min(MIB - offset % MIB, end - offset)
            if self.sparse and (self.start + offset // MIB) % 3:
                yield self.pool.zeros(piece)
            else:
                yield self.pool.cut(self.start + offset, piece)
            offset += piece

    def matches(self, offset: int, data: bytes) -> bool:
        """
        Tell whether bytes are those at an offset.
        """
        at = 0
        for piece in self.pieces(offset, len(data)):
            if not data.startswith(piece, at):
                return False
            at += len(piece)
        return at == len(data)


@define(eq=False)
class Image:
    """
    An image that is, or was, in the service.

    :param doomed: Somebody is about to delete it, or has.
    """

    id: str
    content: Content
    doomed: bool = False
    deleted_at: float = 0.0


@define
class Images:
    """
    All of them. Clients in many threads share it.
    """

    _lock: threading.Lock = field(factory=threading.Lock)
    _live: list[Image] = field(factory=list)
    _dead: deque[Image] = field(factory=lambda: deque(maxlen=50))

    def add(self, image: Image) -> None:
        """
        Note that an image is active.
        """
        with self._lock:
            self._live.append(image)

    def pick(self, rng: random.Random) -> Image | None:
        """
        Choose one; some are wanted much more than others, as in life.
        """
        with self._lock:
            return (
                self._live[min(int(rng.expovariate(4) * len(self._live)), len(self._live) - 1)] if self._live else None
            )

    def doom(self, rng: random.Random) -> Image | None:
        """
        Choose one that is to be deleted now.
        """
        with self._lock:
            if not self._live:
                return None
            image = self._live.pop(rng.randrange(len(self._live)))
            image.doomed = True
            return image

    def bury(self, image: Image) -> None:
        """
        Note that one is deleted.
        """
        with self._lock:
            image.deleted_at = time.monotonic()
            self._dead.append(image)

    def dead(self, rng: random.Random, seconds: float) -> Image | None:
        """
        Choose one that was deleted some time ago.
        """
        with self._lock:
            old = [image for image in self._dead if time.monotonic() - image.deleted_at > seconds]
        return rng.choice(old) if old else None

    def live(self) -> list[Image]:
        """
        List those that are there.
        """
        with self._lock:
            return list(self._live)
