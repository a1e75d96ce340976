"""
What goes wrong with workers.
"""

from __future__ import annotations

from attrs import frozen

from glance_tx.errors import FactualError

__all__ = ["NoWorker", "WorkerFailed"]


class NoWorker(OSError):
    """
    No worker serves.
    """

    def __str__(self) -> str:
        return "no worker serves"


@frozen
class WorkerFailed(FactualError):
    """
    A worker did not get as far as serving.
    """

    message = "worker {self.slot} {self.how} before it was ready"
    slot: int
    how: str
