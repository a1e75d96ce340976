"""
What is to be prefetched, and how far that is.
"""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen

__all__ = ["HIGHEST_PRIORITY", "Job", "JobState"]

HIGHEST_PRIORITY = 100
"""The lowest is as far below 0."""


class JobState(StrEnum):
    """
    What happens with a job.
    """

    QUEUED = "queued"
    RUNNING = "running"
    """Claimed by a worker. Once its lease has run out, another one may claim it."""
    FAILED = "failed"
    """Given up. It stays to be seen, until somebody queues the image again or takes it out."""


@frozen(kw_only=True)
class Job:
    """
    One image that a node is to fetch. Times are in seconds since the epoch.

    A claim is known by ``place`` and ``fence`` together: what an earlier worker says of the job, or what is said of an
    earlier job for the same image, counts no more.

    :param image_id: In lower case. A node has one job for an image at most.
    :param priority: The greater one goes first.
    :param place: Goes up from job to job: among equals, the lower one goes first.
    :param attempts: How often it was claimed, where that was not undone.
    :param not_before: It is not claimed earlier.
    :param last_error: Why the last attempt was in vain.
    :param worker: Who claimed it last.
    :param fence: Goes up with each claim.
    :param lease_until: The claim ends then.
    :param started_at: When it was claimed last.
    :param reported_at: When the worker last told of it.
    :param size_bytes: Of the data; ``None`` while that is not known.
    :param present_bytes: How much of it is here.
    :param fetched_bytes: How much of that came since ``started_at``.
    """

    image_id: str
    place: int
    queued_at: float
    priority: int = 0
    state: JobState = JobState.QUEUED
    attempts: int = 0
    not_before: float = 0.0
    last_error: str | None = None
    worker: str | None = None
    fence: int = 0
    lease_until: float = 0.0
    started_at: float = 0.0
    reported_at: float = 0.0
    size_bytes: int | None = None
    present_bytes: int = 0
    fetched_bytes: int = 0

    @property
    def order(self) -> tuple[int, int]:
        """
        By what jobs are sorted: the first one is next.
        """
        return -self.priority, self.place

    @property
    def bytes_per_second(self) -> float | None:
        """
        How fast it goes on; ``None`` where nothing came yet.
        """
        seconds = self.reported_at - self.started_at
        return self.fetched_bytes / seconds if self.fetched_bytes > 0 and seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """
        How long it will take if it goes on like that; ``None`` where nobody can tell.
        """
        rate = self.bytes_per_second
        if self.state is not JobState.RUNNING or self.size_bytes is None or rate is None:
            return None
        return max(0, self.size_bytes - self.present_bytes) / rate
