"""
Digests of a body taken on its way past, off the reactor.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from glance_tx.streaming.lanes import Lanes
from glance_tx.streaming.settle import settle

__all__ = ["Digests"]


class Digests:
    """
    Several digests of the same bytes, each computed in a lane of its own.

    Hashing a MiB takes some milliseconds, in which hashlib lets go of the interpreter lock: the algorithms run
    side by side where there are cores, and never in the reactor.

    :param lanes: Where the work is done.
    :param algorithms: Names hashlib knows.
    :raises ValueError: hashlib knows no such algorithm.
    """

    def __init__(self, lanes: Lanes, algorithms: Iterable[str]) -> None:
        names = tuple(dict.fromkeys(algorithms))
        # Integrity, not secrecy: MD5 must work on a machine in FIPS mode, too.
        self._hashes = {name: hashlib.new(name, usedforsecurity=False) for name in names}
        self._lanes = {name: lanes.lane(f"digest-{name}") for name in names}
        self._updating = 0

    def update(self, data: bytes) -> Deferred[None]:
        """
        Take in the next piece.

        Pieces given while one is still in work are taken in order. After a cancelled update the digests are
        worth nothing.

        :return: Fires when ``data`` may be forgotten.
        """
        self._updating += 1
        jobs = [self._lanes[name].run(digest.update, data) for name, digest in self._hashes.items()]
        return settle(jobs).addBoth(self._updated)

    def _updated(self, outcome: object) -> Failure | None:
        self._updating -= 1
        return outcome if isinstance(outcome, Failure) else None

    def hexdigests(self) -> Mapping[str, str]:
        """
        Tell the digest of everything taken in, by algorithm.

        :raises RuntimeError: An update is still in work.
        """
        if self._updating:
            raise RuntimeError("digests were asked for while a piece was still being hashed")
        return {name: digest.hexdigest() for name, digest in self._hashes.items()}
