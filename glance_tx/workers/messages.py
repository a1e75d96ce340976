"""
What a parent and its workers tell each other, through a pair of pipes for each worker.

The parent's pipe brings one `Handover`, then orders, and what other workers have to say; the worker's brings reports,
and what it has to say to them. Each message is preceded by its length. Nothing of it lies in a file, so nothing is left
behind by whoever dies.
"""

from __future__ import annotations

import json
import os
import pickle
import struct
from collections.abc import Iterator, Mapping
from typing import Any, Final

from attrs import frozen

from glance_tx.settings import Settings
from glance_tx.web.server import Inherited

__all__ = [
    "FIRST_SOCKET",
    "ORDERS",
    "REOPEN_LOG",
    "REPORTS",
    "SIBLING_DIED",
    "WORKER_ENDED",
    "Frames",
    "Handover",
    "pack",
    "pack_handover",
    "read_handover",
    "unpack",
]

ORDERS: Final = 3
"""The descriptor by which a worker hears from its parent."""

REPORTS: Final = 4
"""The descriptor by which it answers."""

FIRST_SOCKET: Final = 5
"""The first of those it accepts connections from."""

REOPEN_LOG: Final = "reopen log"
SIBLING_DIED: Final = "sibling died"

WORKER_ENDED: Final = "worker ended"
"""A subject of the parent's own: which process is no more, by its number, after all that it had to say."""

_LENGTH: Final = struct.Struct("!I")
_LONGEST: Final = 64 * 1024 * 1024


@frozen
class Handover:
    """
    What a worker has to know.

    :param slot: Its place among its siblings, counted from 1.
    :param settings: The configuration. It comes from the parent and not from the files, which somebody may be
        editing when a worker is started anew.
    :param sockets: Where it listens.
    :param visitors: The descriptor by which its parent connects to it; ``None`` where it does not.
    """

    slot: int
    settings: Settings
    sockets: tuple[Inherited, ...]
    visitors: int | None = None


def pack(message: Mapping[str, Any]) -> bytes:
    """
    Make the bytes of a message.
    """
    return _framed(json.dumps(message).encode())


def unpack(frame: bytes) -> dict[str, Any]:
    """
    Read a message.
    """
    message: dict[str, Any] = json.loads(frame)
    return message


def pack_handover(handover: Handover) -> bytes:
    """
    Make the bytes of the first message to a worker.
    """
    return _framed(pickle.dumps(handover))


def read_handover() -> Handover:
    """
    Read it, in the worker. Blocks: for the time before the reactor runs. The parent sends it at once.

    :raises EOFError: The parent is gone.
    """
    (length,) = _LENGTH.unpack(_read_exactly(_LENGTH.size))
    # From our own parent, through a pipe that nobody else can write to.
    handover: Handover = pickle.loads(_read_exactly(length))  # noqa: S301
    return handover


def _read_exactly(length: int) -> bytes:
    read = bytearray()
    while len(read) < length:
        piece = os.read(ORDERS, length - len(read))
        if not piece:
            raise EOFError("the parent is gone")
        read += piece
    return bytes(read)


def _framed(payload: bytes) -> bytes:
    return _LENGTH.pack(len(payload)) + payload


class Frames:
    """
    Finds the messages in what a pipe brings.
    """

    def __init__(self) -> None:
        self._unread = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """
        Take in bytes, and give out the messages that are whole by now.

        :raises ValueError: This is no message of ours.
        """
        self._unread += data
        while len(self._unread) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._unread)
            if length > _LONGEST:
                raise ValueError(f"a message of {length} bytes")
            end = _LENGTH.size + length
            if len(self._unread) < end:
                return
            frame, self._unread = self._unread[_LENGTH.size : end], self._unread[end:]
            yield frame
