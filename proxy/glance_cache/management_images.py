"""
Routes that manage one image in the cache (contract sections 1.9 and 6.4, and what stock Glance does not have).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from glance_cache.entry import EntryInfo, EntryState
from glance_cache.errors import (
    CacheFull,
    EntryNotFound,
    FolderUnusable,
    InventoryNotShared,
    UpstreamRefused,
    UpstreamUnavailable,
)
from glance_cache.folder import footprint_bytes
from glance_cache.grants import Grant
from glance_cache.jobs import Job, JobState
from glance_cache.management_tools import (
    ManagementTools,
    add_path,
    entry_view,
    image_id_of,
    job_view,
    require_active,
)
from glance_cache.managers import Managers
from glance_cache.names import EntryName
from glance_cache.request_credentials import credentials_of
from glance_tx.web.app import App, BodyRule
from glance_tx.web.request import Request
from glance_tx.web.response import Response, json_response

__all__ = ["ImageRoutes"]

_VERIFY_SECONDS: Final = 6 * 3600.0
"""Time for reading one image anew: enough for some TB on a slow disk."""

# The best first, where an image has entries of different data.
_STATES: Final = (EntryState.COMPLETE, EntryState.DAMAGED, EntryState.FILLING, EntryState.PARTIAL)


class ImageRoutes:
    """
    Queue, show, explain, verify, pin and delete one image.
    """

    def __init__(self, tools: ManagementTools, managers: Managers) -> None:
        self._tools = tools
        self._managers = managers

    def mount(self, app: App) -> None:
        """
        Add the routes to an application.
        """
        stream = {"PUT": BodyRule.STREAM}
        one = "/v2/cache/<image_id>"
        add_path(app, one, {"GET": self.show, "PUT": self.queue, "DELETE": self.delete}, stream)
        add_path(app, f"{one}/explain", {"GET": self.explain})
        add_path(app, f"{one}/verify", {"POST": self.verify}, deadline_seconds=_VERIFY_SECONDS)
        add_path(app, f"{one}/pin", {"PUT": self.pin, "DELETE": self.unpin})
        add_path(app, "/v2/cache/nodes/<image_id>", {"GET": self.nodes})
        add_path(app, "/v2/cached_images/<image_id>", {"DELETE": self.delete_cached})
        add_path(app, "/v2/queued_images/<image_id>", {"PUT": self.queue_legacy, "DELETE": self.delete_queued}, stream)

    async def queue(self, request: Request, image_id: str) -> Response:
        """
        ``PUT /v2/cache/{image_id}``.
        """
        await self._queue(request, image_id_of(image_id), "cache_image")
        return Response(202)

    async def _queue(self, request: Request, image_id: str, rule: str) -> None:
        # Of an image that a caller cannot see he learns nothing, not even whether he might have it cached.
        caller = await self._managers.identify(request)
        record = await self._tools.upstream.show(image_id, credentials_of(request))
        self._managers.insist(rule, caller)
        require_active(image_id, record)
        await self._tools.enqueue([image_id])

    async def delete(self, request: Request, image_id: str) -> Response:
        """
        ``DELETE /v2/cache/{image_id}``.

        Of an image that is neither here nor known to the upstream nobody learns more than that.
        """
        caller = await self._managers.identify(request)
        image_id = image_id_of(image_id)
        if not await self._has(image_id):
            await self._require_image(request, image_id)
        self._managers.insist("cache_delete", caller)
        # First out of the queue: or it could be fetched again meanwhile.
        await self._tools.index.remove_job(self._tools.node, image_id)
        await self._tools.entries.remove(image_id)
        return Response(204)

    async def _has(self, image_id: str) -> bool:
        if any(name.startswith(f"{image_id}-") for name in self._tools.entries.states()):
            return True
        return any(job.image_id == image_id for job in await self._tools.index.jobs(self._tools.node))

    async def show(self, request: Request, image_id: str) -> Response:
        """
        ``GET /v2/cache/{image_id}``.
        """
        await self._managers.require(request, "cache_list")
        image_id = image_id_of(image_id)
        info, job = self._info(image_id), await self._job(image_id)
        if info is None and job is None:
            raise EntryNotFound(image_id)
        return json_response({"image_id": image_id, "entry": self._view(info), "job": job and job_view(job)})

    async def explain(self, request: Request, image_id: str) -> Response:
        """
        ``GET /v2/cache/{image_id}/explain``: what a download with the caller's own credentials would come to, and why.
        """
        await self._managers.require(request, "cache_list")
        image_id = image_id_of(image_id)
        grant: Grant | None = None
        refusal: str | None = None
        try:
            grant = await self._tools.grants.grant(image_id, credentials_of(request))
        except (UpstreamRefused, UpstreamUnavailable) as error:
            refusal = str(error)
        info, job = self._info(image_id, grant), await self._job(image_id)
        offline = grant is not None and grant.offline
        outcome, why = _outcome(grant, refusal, info)
        if offline:
            outcome, why = _outcome_offline(outcome)
        left = None if grant is None else round(max(0.0, self._tools.grants.seconds_left(grant)), 1)
        return json_response(
            {
                "image_id": image_id,
                "outcome": outcome,
                "why": why,
                "caller": {
                    "may_download": grant is not None,
                    "refusal": refusal,
                    "permission_seconds_left": left,
                    "offline": offline,
                },
                "entry": self._view(info),
                "job": job and job_view(job),
                "waits_for": self._waits_for(info, job),
                "room": await self._room(grant, info),
            }
        )

    def _info(self, image_id: str, grant: Grant | None = None) -> EntryInfo | None:
        """
        Find the entry that counts.

        :param grant: Says which data it must be, where it is known.
        """
        infos = [info for info in self._tools.whole.inventory() if info.image_id == image_id]
        if grant is not None and grant.facts is not None:
            verified = EntryName.of(grant.facts).verified
            infos = [i for i in infos if i.size_bytes == grant.facts.size and i.verified == verified]
        return min(infos, key=lambda info: _STATES.index(info.state), default=None)

    async def _job(self, image_id: str) -> Job | None:
        jobs = await self._tools.index.jobs(self._tools.node)
        return next((job for job in jobs if job.image_id == image_id), None)

    def _view(self, info: EntryInfo | None) -> Mapping[str, object] | None:
        return None if info is None else entry_view(info, self._tools.totals(info.image_id))

    def _waits_for(self, info: EntryInfo | None, job: Job | None) -> str | None:
        """
        Say what keeps an image from being complete now, where something is to come.
        """
        if info is not None and info.state is EntryState.COMPLETE:
            return None
        if info is not None and info.state is EntryState.DAMAGED:
            return "the part of its data that is damaged, to come from the upstream once more"
        if info is not None and info.state is EntryState.FILLING:
            return "the rest of its data, which is on its way from the upstream"
        return "the first client that asks for all of it" if job is None else self._job_waits_for(job)

    def _job_waits_for(self, job: Job) -> str:
        if job.state is JobState.FAILED:
            return f"somebody who queues it anew: it was given up because {job.last_error}"
        if self._tools.prefetcher is not None and not self._tools.prefetcher.may_begin:
            return "the time of day at which images are fetched ([cache] prefetch_window)"
        if job.not_before > self._tools.now():
            return f"the next attempt, in {job.not_before - self._tools.now():.0f} s: {job.last_error}"
        return "its turn in the queue"

    async def _room(self, grant: Grant | None, info: EntryInfo | None) -> Mapping[str, object] | None:
        """
        Say what a fill would need; ``None`` where the image has its room, or nobody knows how large it is.
        """
        if info is not None or grant is None or grant.facts is None or not grant.facts.size:
            return None
        needed = footprint_bytes(grant.facts.size)
        try:
            going = list(await self._tools.entries.housekeeping.would_go(needed))
        except (CacheFull, FolderUnusable) as error:
            return {"needed_bytes": needed, "fits": False, "would_go": [], "why_not": str(error)}
        return {"needed_bytes": needed, "fits": True, "would_go": going, "why_not": None}

    async def verify(self, request: Request, image_id: str) -> Response:
        """
        ``POST /v2/cache/{image_id}/verify``: read all of its data anew.
        """
        await self._managers.require(request, "cache_clean")
        image_id = image_id_of(image_id)
        right = await self._tools.entries.housekeeping.verify(image_id)
        self._tools.chunks.offer(image_id, credentials_of(request))
        if right is None:
            raise EntryNotFound(image_id)
        info = self._info(image_id)
        kept = info is not None and info.state in {EntryState.COMPLETE, EntryState.DAMAGED}
        return json_response({"image_id": image_id, "right": right, "kept": kept})

    async def pin(self, request: Request, image_id: str) -> Response:
        """
        ``PUT /v2/cache/{image_id}/pin``: keep an image from eviction, also one that is still to come.
        """
        await self._managers.require(request, "cache_image")
        image_id = image_id_of(image_id)
        if not await self._has(image_id):
            await self._require_image(request, image_id)
        await self._tools.entries.pin(image_id)
        return Response(204)

    async def unpin(self, request: Request, image_id: str) -> Response:
        """
        ``DELETE /v2/cache/{image_id}/pin``.
        """
        await self._managers.require(request, "cache_image")
        image_id = image_id_of(image_id)
        if not self._tools.entries.is_pinned(image_id):
            raise EntryNotFound(image_id)
        await self._tools.entries.unpin(image_id)
        return Response(204)

    async def nodes(self, request: Request, image_id: str) -> Response:
        """
        ``GET /v2/cache/nodes/{image_id}``: as with a driver of stock Glance that is not the central one.
        """
        await self._managers.require(request, "list_cached_nodes")
        image_id_of(image_id, "/v2/cache/nodes/")
        raise InventoryNotShared

    async def delete_cached(self, request: Request, image_id: str) -> Response:
        """
        ``DELETE /v2/cached_images/{image_id}``.
        """
        await self._managers.require(request, "manage_image_cache")
        await self._tools.entries.remove(image_id_of(image_id, "/v2/cached_images/"))
        return json_response(None)

    async def queue_legacy(self, request: Request, image_id: str) -> Response:
        """
        ``PUT /v2/queued_images/{image_id}``. Unlike stock's it does not take images that are not there.
        """
        await self._queue(request, image_id_of(image_id, "/v2/queued_images/"), "manage_image_cache")
        return json_response(None)

    async def delete_queued(self, request: Request, image_id: str) -> Response:
        """
        ``DELETE /v2/queued_images/{image_id}``.
        """
        await self._managers.require(request, "manage_image_cache")
        await self._tools.index.remove_job(self._tools.node, image_id_of(image_id, "/v2/queued_images/"))
        return json_response(None)

    async def _require_image(self, request: Request, image_id: str) -> None:
        try:
            await self._tools.upstream.show(image_id, credentials_of(request))
        except UpstreamRefused as error:
            if error.status >= 500:
                raise
            raise EntryNotFound(image_id) from error


def _outcome(grant: Grant | None, refusal: str | None, info: EntryInfo | None) -> tuple[str, str]:
    if grant is None:
        return "refused", f"this caller gets no permission: {refusal}"
    if grant.facts is None or not grant.facts.size:
        return "bypass", "the image has no data that could be cached"
    if info is None:
        return "fill", "the image is not here; the first client fetches it, and the others follow"
    known = {
        EntryState.COMPLETE: (
            "hit",
            "the image is here, whole" + ("" if info.verified else ", with no hash to be held against"),
        ),
        EntryState.DAMAGED: ("bypass", "a part of the image here is damaged, and is being fetched again"),
        EntryState.FILLING: ("follow", "the image is on its way, and clients are sent what is here"),
    }
    left = f"a fill was left with {info.present_bytes} of {info.size_bytes} bytes, and goes on from there"
    return known.get(info.state, ("fill", left))


def _outcome_offline(outcome: str) -> tuple[str, str]:
    if outcome == "hit":
        return "offline", "no upstream can be reached; the image is here, whole, and an earlier permission lives on"
    return "refused", "no upstream can be reached, and the image is not here whole"
