"""
Small requests beside large transfers: how long they take meanwhile.
"""

from __future__ import annotations

import http.client
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import define, field

from processes import HOST, ServerProcess

__all__ = ["P99", "WORST", "Probe", "percentile", "probing"]

P99, WORST = "others_p99_ms", "others_worst_ms"

_PATH = "/v2/images?limit=1"
_PAUSE_SECONDS = 0.01
_LIMIT_SECONDS = 5.0


@define
class Probe:
    """
    Lists images again and again, over one connection where the server keeps it.

    :ivar seconds: What each of the requests took; one without an answer took `_LIMIT_SECONDS`.
    """

    target: ServerProcess
    seconds: list[float] = field(factory=list)
    _over: threading.Event = field(factory=threading.Event)

    def run(self) -> None:
        """
        Ask until told to stop.
        """
        connection = http.client.HTTPConnection(HOST, self.target.port, timeout=_LIMIT_SECONDS)
        while not self._over.wait(_PAUSE_SECONDS):
            began = time.monotonic()
            try:
                connection.request("GET", _PATH)
                connection.getresponse().read()
                self.seconds.append(time.monotonic() - began)
            except (OSError, http.client.HTTPException):
                self.seconds.append(_LIMIT_SECONDS)
                connection.close()
        connection.close()

    def stop(self) -> None:
        """
        Ask no more.
        """
        self._over.set()

    def figures(self) -> dict[str, float]:
        """
        Tell how long they took.
        """
        return {P99: percentile(self.seconds, 99) * 1000, WORST: max(self.seconds) * 1000}


@contextmanager
def probing(target: ServerProcess) -> Iterator[Probe]:
    """
    Ask for as long as the block takes.
    """
    probe = Probe(target)
    thread = threading.Thread(target=probe.run, daemon=True)
    thread.start()
    try:
        yield probe
    finally:
        probe.stop()
        thread.join()


def percentile(values: list[float], percent: int) -> float:
    """
    Tell below what so many percent of the values lie; among few values it is the greatest.
    """
    if len(values) < 100 // (100 - percent):
        return max(values)
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
