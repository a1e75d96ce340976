"""
The watch over files, as both daemons have it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet.interfaces import IReactorTime

from glance_tx.settings import Settings
from glance_tx.settings.daemon import WatchSettings
from glance_tx.settings.watch import FileWatch, Source
from glance_tx.streaming.lanes import Lanes
from glance_tx.telemetry.metrics import Metrics

__all__ = ["watch_files", "watch_lanes"]


def watch_files(
    settings: Settings, sources: Iterable[Source[Any]], lanes: Lanes, clock: IReactorTime, metrics: Metrics
) -> FileWatch:
    """
    Make a part of a daemon that reads files anew when they change, and shows in a metric which of them are wrong.
    """
    stale = metrics.gauge(
        "stale_files", "1 where files changed and are wrong, so older content is in force.", ["file"], merge="max"
    )

    def report(name: str, wrong: bool) -> None:
        stale.labels(name).set(wrong)

    seconds = float(settings[WatchSettings].look_seconds)
    return FileWatch(tuple(sources), lanes.lane("watch").run, clock, seconds, report)


def watch_lanes(lanes: Lanes, metrics: Metrics) -> None:
    """
    Show how much work waits for threads.
    """
    metrics.watch("thread_jobs_running", "Jobs (hashing, reading, writing) that a thread is at.", lambda: lanes.running)
    metrics.watch("thread_jobs_waiting", "Jobs that wait for a thread, or for an earlier one.", lambda: lanes.waiting)
