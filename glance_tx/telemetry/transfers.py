"""
Transfers of image data, by kind.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from glance_tx.telemetry.access import AccessRecord
from glance_tx.telemetry.metrics import Metrics

__all__ = ["UPLOAD", "TransferMetrics"]

UPLOAD: Final = "upload"
"""The kind whose bytes come in. Those of the others go out: ``download``, or what ``X-Cache`` says of the answer."""

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""From a hit to an image service that fetches from a slow store."""


class TransferMetrics:
    """
    Counts transfers, from the moment in which their kind is known to the end of their request.
    """

    def __init__(self, metrics: Metrics) -> None:
        label = ("kind",)
        running = metrics.gauge("transfers_in_progress", "Transfers of image data under way.", label)
        ended = metrics.counter("transfers", "Transfers of image data that ended, whole or not.", label)
        moved = metrics.counter("transfer_bytes", "Bytes of image data, counted when the transfer ends.", label)
        first = metrics.histogram(
            "transfer_first_byte_seconds",
            "Time from a request to the first byte of image data.",
            _SECONDS,
            label,
        )
        # The series of a kind takes longer to find than to add to.
        self._running, self._ended = cache(running.labels), cache(ended.labels)
        self._bytes, self._first = cache(moved.labels), cache(first.labels)

    def began(self, kind: str) -> None:
        """
        Note that one began.

        :param kind: One of few.
        """
        self._running(kind).inc()

    def ended(self, kind: str, record: AccessRecord) -> None:
        """
        Note that it ended with its request.
        """
        self._running(kind).dec()
        self._ended(kind).inc()
        self._bytes(kind).inc(record.received_bytes if kind == UPLOAD else record.sent_bytes)
        if kind != UPLOAD and record.first_byte_seconds is not None:
            self._first(kind).observe(record.first_byte_seconds)
