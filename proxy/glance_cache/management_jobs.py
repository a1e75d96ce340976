"""
Routes about images that are to be prefetched.
"""

from __future__ import annotations

from collections.abc import Sequence

from glance_cache.management_tools import ManagementTools, add_path, job_view, require_active
from glance_cache.managers import Managers
from glance_cache.request_credentials import credentials_of
from glance_cache.selection import Selection, Wanted
from glance_tx.web.app import App, BodyRule, request_json
from glance_tx.web.request import Request
from glance_tx.web.response import Response, json_response

__all__ = ["JobRoutes"]


class JobRoutes:
    """
    Show the queue, and queue many images.
    """

    def __init__(self, tools: ManagementTools, managers: Managers) -> None:
        self._tools = tools
        self._managers = managers
        self._selection = Selection(tools.upstream, tools.index, tools.entries.complete_images)

    def mount(self, app: App) -> None:
        """
        Add the routes to an application.
        """
        add_path(app, "/v2/cache/jobs", {"GET": self.list, "POST": self.add}, {"POST": BodyRule.JSON})

    async def list(self, request: Request) -> Response:
        """
        ``GET /v2/cache/jobs``.
        """
        await self._managers.require(request, "cache_list")
        jobs = await self._tools.index.jobs(self._tools.node)
        prefetcher = self._tools.prefetcher
        return json_response(
            {
                "jobs": [job_view(job) for job in jobs],
                "may_begin": prefetcher is not None and prefetcher.may_begin,
            }
        )

    async def add(self, request: Request) -> Response:
        """
        ``POST /v2/cache/jobs``.

        Images that are named are those that the caller sees, all of them active; others are found with the node's own
        credentials.
        """
        caller = await self._managers.identify(request)
        wanted = Wanted.of(await request_json(request))
        if wanted.image_ids is not None:
            records = await self._selection.named(wanted.image_ids, credentials_of(request))
            self._managers.insist("cache_image", caller)
            for image_id, record in zip(wanted.image_ids, records, strict=True):
                require_active(image_id, record)
            return await self._queue(wanted.image_ids, wanted.priority)
        self._managers.insist("cache_image", caller)
        _, own = self._tools.require_prefetcher()
        if wanted.filter is not None:
            return await self._queue(await self._selection.matching(wanted.filter, own), wanted.priority)
        return await self._queue(await self._selection.warmest(wanted.warm or 0, own), wanted.priority)

    async def _queue(self, image_ids: Sequence[str], priority: int) -> Response:
        cached = self._tools.entries.complete_images()
        absent = [image_id for image_id in image_ids if image_id not in cached]
        added = await self._tools.enqueue(absent, priority)
        return json_response({"image_ids": absent, "added": added, "cached": len(image_ids) - len(absent)}, 202)
