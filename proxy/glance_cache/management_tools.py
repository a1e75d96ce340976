"""
What all routes of management share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from attrs import frozen

from glance_cache.entries import EntryStore
from glance_cache.entry import EntryInfo, EntryState
from glance_cache.errors import ImageNotActive, PrefetchImpossible, QueueFull
from glance_cache.fills import Fills
from glance_cache.grants import Grants
from glance_cache.interfaces import HitTotals, ICacheIndex, IChunkSource, IOwnCredentials, IUpstream
from glance_cache.jobs import Job, JobState
from glance_cache.neighbors import Neighbors
from glance_cache.prefetch import Prefetcher
from glance_cache.routes import is_image_id
from glance_cache.whole import NodeEntries
from glance_tx.web.app import App, BodyRule, Handler
from glance_tx.web.errors import MethodNotAllowed, RouteNotFound
from glance_tx.web.request import Request
from glance_tx.web.response import Response

__all__ = ["ManagementTools", "add_path", "entry_view", "image_id_of", "job_view", "require_active"]

_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@frozen(kw_only=True)
class ManagementTools:
    """
    What management works with.

    :param whole: The entries as all processes of the node see them.
    :param prefetcher: ``None`` where the node has no credentials of its own.
    :param own: Those credentials.
    :param chunks: Told whose name damaged entries can be repaired in.
    :param totals: Tells this node's hits of an image.
    :param top: Tells the images with most hits on this node, so many of them.
    :param neighbors: The nodes of the index.
    :param health: Shows how that does which the node depends on.
    :param offline: Shows whether the upstream can be reached.
    :param queue_limit: Most jobs in the queue.
    """

    entries: EntryStore
    whole: NodeEntries
    fills: Fills
    grants: Grants
    index: ICacheIndex
    node: str
    upstream: IUpstream
    chunks: IChunkSource
    prefetcher: Prefetcher | None
    own: IOwnCredentials | None
    totals: Callable[[str], HitTotals]
    top: Callable[[int], Mapping[str, HitTotals]]
    neighbors: Neighbors
    health: Callable[[], Mapping[str, object]]
    offline: Callable[[], Mapping[str, object]]
    now: Callable[[], float]
    queue_limit: int = 10_000

    def require_prefetcher(self) -> tuple[Prefetcher, IOwnCredentials]:
        """
        Insist that this node can fetch images by itself.

        :raises PrefetchImpossible: It cannot.
        """
        if self.prefetcher is None or self.own is None:
            raise PrefetchImpossible("set [service_user], or [cache] prefetch_token")
        return self.prefetcher, self.own

    async def enqueue(self, image_ids: Sequence[str], priority: int = 0) -> int:
        """
        Queue images.

        :return: How many there are that were not queued before.
        :raises PrefetchImpossible: This node cannot fetch images by itself.
        :raises QueueFull: Too many would be queued.
        """
        prefetcher, _ = self.require_prefetcher()
        queued = {job.image_id for job in await self.index.jobs(self.node)}
        if len(queued.union(image_ids)) > self.queue_limit:
            raise QueueFull(self.queue_limit)
        added = await self.index.add_jobs(self.node, image_ids, priority, self.now())
        prefetcher.wake()
        return added

    async def queued(self) -> Sequence[str]:
        """
        List what waits or is being fetched: as stock has it, both is queued. What was given up is not.
        """
        return [job.image_id for job in await self.index.jobs(self.node) if job.state is not JobState.FAILED]

    def entry_views(self) -> Sequence[Mapping[str, object]]:
        """
        Show complete entries.
        """
        infos = (info for info in self.whole.inventory() if info.state is EntryState.COMPLETE)
        return [entry_view(info, self.totals(info.image_id)) for info in infos]


def require_active(image_id: str, record: Mapping[str, object]) -> None:
    """
    Insist that an image has data.

    :param record: What the upstream shows of it.
    :raises ImageNotActive: It has none.
    """
    if record.get("status") != "active":
        raise ImageNotActive(image_id, str(record.get("status")))


def image_id_of(text: str, path: str = "/v2/cache/") -> str:
    """
    Read an image id off a path.

    :raises RouteNotFound: It is none.
    """
    if not is_image_id(text):
        raise RouteNotFound(path + text)
    return text.lower()


def add_path(
    app: App,
    path: str,
    methods: Mapping[str, Handler],
    body: Mapping[str, BodyRule] | None = None,
    deadline_seconds: float | None = None,
) -> None:
    """
    Add routes, and answer every other method on their path with 405: whatever is below the paths of management is about
    this node's own cache, and the upstream's is another one.
    """

    async def refuse(request: Request, **_: str) -> Response:
        raise MethodNotAllowed(request.method.decode("ascii"), tuple(sorted(methods)))

    for method, handler in methods.items():
        rule = (body or {}).get(method, BodyRule.NONE)
        app.add(method, path, handler, rule, deadline_seconds=deadline_seconds)
    for method in _METHODS:
        if method not in methods:
            app.add(method, path, refuse, BodyRule.STREAM)


def entry_view(info: EntryInfo, hits: HitTotals) -> Mapping[str, object]:
    """
    Show an entry: stock's fields, and ours.
    """
    return {
        "image_id": info.image_id,
        "hits": hits.hits,
        # As stock has it, an image that was never served was last used when it came.
        "last_accessed": hits.last_at or info.last_modified,
        "last_modified": info.last_modified,
        "size": info.size_bytes,
        "state": str(info.state),
        "present_bytes": info.present_bytes,
        "progress": _part(info.present_bytes, info.size_bytes),
        "followers": info.readers,
        "pinned": info.pinned,
        "verified": info.verified,
        "last_verified": info.last_verified,
    }


def job_view(job: Job) -> Mapping[str, object]:
    """
    Show a job.
    """
    running = job.state is JobState.RUNNING
    return {
        "image_id": job.image_id,
        "state": str(job.state),
        "priority": job.priority,
        "queued_at": job.queued_at,
        "started_at": job.started_at or None,
        "attempts": job.attempts,
        "not_before": job.not_before or None,
        "last_error": job.last_error,
        "size": job.size_bytes,
        "present_bytes": job.present_bytes,
        "progress": _part(job.present_bytes, job.size_bytes or 0),
        "bytes_per_second": job.bytes_per_second if running else None,
        "seconds_left": job.seconds_left,
    }


def _part(present: int, whole: int) -> float:
    return round(present / whole, 4) if whole else 0.0
