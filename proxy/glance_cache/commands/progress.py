"""
Images on their way into a cache, as bars.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from glance_cache.commands.client import NodeClient

__all__ = ["follow"]

_LOOK_SECONDS: Final = 1.0


def follow(node: NodeClient, console: Console) -> bool:
    """
    Show the progress of all jobs, until none is left that waits or runs.

    :return: Whether none was given up.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        bars: dict[str, Any] = {}
        while True:
            jobs = {job["image_id"]: job for job in node.ask("GET", "/v2/cache/jobs")["jobs"]}
            _draw(progress, bars, jobs)
            if not any(job["state"] != "failed" for job in jobs.values()):
                break
            time.sleep(_LOOK_SECONDS)
    for image_id, job in jobs.items():
        console.print(f"Image {image_id} was given up: {job['last_error']}", markup=False, soft_wrap=True)
    return not jobs


def _draw(progress: Progress, bars: dict[str, Any], jobs: Mapping[str, Mapping[str, Any]]) -> None:
    for image_id, job in jobs.items():
        if image_id not in bars:
            bars[image_id] = progress.add_task(image_id, total=None)
        progress.update(bars[image_id], total=job["size"], completed=job["present_bytes"])
    for image_id in bars.keys() - jobs.keys():
        task = next(task for task in progress.tasks if task.id == bars[image_id])
        progress.update(task.id, total=task.total or 1, completed=task.total or 1)
