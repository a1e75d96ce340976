"""
How much was taken from the image service behind a cache.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Protocol

from attrs import define

from imagedata.relay import Relay

__all__ = ["LoggedUpstream", "RelayedUpstream", "Upstream", "sent_bytes"]

_SENT = re.compile(r" GET /v2/images/[^/ ]+/file\S* 20[06] sent=(\d+) ")


class Upstream(Protocol):
    """
    Counts.
    """

    def forget(self) -> None:
        """
        Count from zero.
        """

    def fetched_bytes(self) -> int:
        """
        Tell how much image data was fetched.
        """

    def first_byte(self) -> float:
        """
        Tell when its first byte came, as `time.monotonic` counts; 0 where that is not known.
        """


@define
class RelayedUpstream:
    """
    One behind a line that counts.
    """

    line: Relay

    def forget(self) -> None:
        """
        See `Upstream.forget`.
        """
        self.line.forget()

    def fetched_bytes(self) -> int:
        """
        See `Upstream.fetched_bytes`.
        """
        return self.line.data_bytes

    def first_byte(self) -> float:
        """
        See `Upstream.first_byte`.
        """
        return self.line.first_byte


@define
class LoggedUpstream:
    """
    Our image service, by its access log: nothing is in the way of the bytes.
    """

    log: Path
    _seen: int = 0

    def forget(self) -> None:
        """
        See `Upstream.forget`.
        """
        self._seen = self.log.stat().st_size

    def fetched_bytes(self) -> int:
        """
        See `Upstream.fetched_bytes`.
        """
        with self.log.open("rb") as log:
            log.seek(self._seen)
            return sent_bytes(log.read().decode())

    def first_byte(self) -> float:
        """
        See `Upstream.first_byte`.
        """
        return 0.0


def sent_bytes(log: str) -> int:
    """
    Add up the image data of the downloads that a log of ours tells of.
    """
    return sum(int(found) for found in _SENT.findall(log))
