"""
Routes that manage all of the cache as those of stock Glance do (contract sections 1.9 and 6.4).
"""

from __future__ import annotations

from typing import Final

from glance_cache.events import IEventSource
from glance_cache.management_images import ImageRoutes
from glance_cache.management_jobs import JobRoutes
from glance_cache.management_node import NodeRoutes
from glance_cache.management_tools import ManagementTools, add_path
from glance_cache.management_watch import WatchRoutes
from glance_cache.managers import Managers
from glance_cache.tally import ITally
from glance_tx.web.app import App, BodyRule
from glance_tx.web.errors import BadRequest, RouteNotFound
from glance_tx.web.request import Request
from glance_tx.web.response import Response, json_response

__all__ = ["ManagementRoutes", "mount_management"]

_CLEAR_TARGET: Final = "X-Image-Cache-Clear-Target"
# Nothing stands for both; the word itself is refused, as stock Glance does.
_CLEAR_TARGETS: Final = frozenset({"", "cache", "queue"})

_ALL_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def mount_management(
    app: App, tools: ManagementTools, managers: Managers, stall_seconds: float, tally: ITally, events: IEventSource
) -> None:
    """
    Add all routes of management to an application.

    :param stall_seconds: See `ManagementRoutes`.
    """
    NodeRoutes(tools, managers, tally).mount(app)
    WatchRoutes(tools, managers, tally, events).mount(app)
    ManagementRoutes(tools, managers, stall_seconds).mount(app)
    JobRoutes(tools, managers).mount(app)
    ImageRoutes(tools, managers).mount(app)


class ManagementRoutes:
    """
    List, clear, clean and prune what is cached.

    :param stall_seconds: A fill that was left for longer is cleaned away.
    """

    def __init__(self, tools: ManagementTools, managers: Managers, stall_seconds: float) -> None:
        self._tools = tools
        self._managers = managers
        self._stall_seconds = stall_seconds

    def mount(self, app: App) -> None:
        """
        Add the routes to an application.
        """
        add_path(app, "/v2/cache", {"GET": self.list, "DELETE": self.clear})
        add_path(app, "/v2/cache/clean", {"POST": self.clean})
        add_path(app, "/v2/cache/prune", {"POST": self.prune})
        add_path(app, "/v2/cached_images", {"GET": self.list_cached, "DELETE": self.delete_all_cached})
        add_path(app, "/v2/queued_images", {"GET": self.list_queued, "DELETE": self.delete_all_queued})
        for method in _ALL_METHODS:
            app.add(method, "/v2/cache/<path:rest>", self.unknown, BodyRule.STREAM)

    async def list(self, request: Request) -> Response:
        """
        ``GET /v2/cache``.
        """
        await self._managers.require(request, "cache_list")
        return json_response({"cached_images": self._tools.entry_views(), "queued_images": await self._tools.queued()})

    async def clear(self, request: Request) -> Response:
        """
        ``DELETE /v2/cache``.
        """
        await self._managers.require(request, "cache_delete")
        target = (request.single_header(_CLEAR_TARGET) or "").strip().lower()
        if target not in _CLEAR_TARGETS:
            raise BadRequest(f"{_CLEAR_TARGET} must be cache or queue, or not there for both, and not {target!r}")
        if target != "cache":
            await self._tools.index.clear_jobs(self._tools.node)
        if target != "queue":
            await self._tools.entries.clear()
        return Response(204)

    async def clean(self, request: Request) -> Response:
        """
        ``POST /v2/cache/clean``.
        """
        await self._managers.require(request, "cache_clean")
        await self._tools.entries.housekeeping.clean(self._stall_seconds)
        return Response(200)

    async def prune(self, request: Request) -> Response:
        """
        ``POST /v2/cache/prune``.
        """
        await self._managers.require(request, "cache_prune")
        removed = await self._tools.entries.housekeeping.prune()
        return json_response({"total_files_pruned": removed.entries, "total_bytes_pruned": removed.size_bytes})

    async def list_cached(self, request: Request) -> Response:
        """
        ``GET /v2/cached_images``.
        """
        await self._managers.require(request, "manage_image_cache")
        return json_response({"cached_images": self._tools.entry_views()})

    async def delete_all_cached(self, request: Request) -> Response:
        """
        ``DELETE /v2/cached_images``.
        """
        await self._managers.require(request, "manage_image_cache")
        return json_response({"num_deleted": await self._tools.entries.clear()})

    async def list_queued(self, request: Request) -> Response:
        """
        ``GET /v2/queued_images``.
        """
        await self._managers.require(request, "manage_image_cache")
        return json_response({"queued_images": await self._tools.queued()})

    async def delete_all_queued(self, request: Request) -> Response:
        """
        ``DELETE /v2/queued_images``.
        """
        await self._managers.require(request, "manage_image_cache")
        return json_response({"num_deleted": await self._tools.index.clear_jobs(self._tools.node)})

    async def unknown(self, request: Request, rest: str) -> Response:
        """
        Any other path below ``/v2/cache``.
        """
        raise RouteNotFound(f"/v2/cache/{rest}")
