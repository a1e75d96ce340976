"""
Routes that manage the cache (contract sections 1.9 and 6.4).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from attrs import frozen

from glance_cache.entries import EntryStore
from glance_cache.entry import EntryState
from glance_cache.errors import EntryNotFound, ImageNotActive, ManagementForbidden, PrefetchImpossible, UpstreamRefused
from glance_cache.interfaces import HitTotals, ICacheIndex, IUpstream
from glance_cache.jobs import JobState
from glance_cache.prefetch import Prefetcher
from glance_cache.routes import credentials_of, is_image_id
from glance_tx.identity.caller import Caller
from glance_tx.identity.interfaces import IIdentity
from glance_tx.policy.interfaces import IPolicy
from glance_tx.web.app import App, BodyRule
from glance_tx.web.callers import Callers
from glance_tx.web.errors import BadRequest, MethodNotAllowed, RouteNotFound
from glance_tx.web.request import Request
from glance_tx.web.response import Response, json_response

__all__ = ["ManagementRoutes", "ManagementTools", "Managers"]

_CLEAR_TARGET: Final = "X-Image-Cache-Clear-Target"
# Nothing stands for both; the word itself is refused, as stock Glance does.
_CLEAR_TARGETS: Final = frozenset({"", "cache", "queue"})

_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_OF_THE_CACHE: Final = frozenset({"GET", "DELETE"})
_OF_AN_IMAGE: Final = frozenset({"PUT", "DELETE"})


class Managers:
    """
    Who may manage this node: by its own strategy, and never by what the upstream thinks of a caller.

    :param identity: ``None`` where the operator chose no strategy; nobody may then.
    """

    def __init__(self, identity: IIdentity | None, policy: IPolicy) -> None:
        self._callers = None if identity is None else Callers(identity)
        self._policy = policy

    async def identify(self, request: Request) -> Caller:
        """
        Tell who is calling.

        :raises ManagementForbidden: Nobody may manage this node.
        :raises NotAuthenticated: There is no valid token.
        """
        if self._callers is None:
            raise ManagementForbidden("this node has no [auth] strategy, so nobody can manage it")
        return await self._callers.of(request)

    def insist(self, rule: str, caller: Caller) -> None:
        """
        Insist on a policy rule.

        :raises ManagementForbidden: It fails.
        """
        if not self._policy.allows(rule, caller, {}):
            raise ManagementForbidden(f"policy does not allow {rule}")


@frozen
class ManagementTools:
    """
    What management works with.

    :param prefetcher: ``None`` where the node has no credentials of its own.
    :param totals: Tells this node's hits of an image.
    """

    entries: EntryStore
    index: ICacheIndex
    node: str
    upstream: IUpstream
    prefetcher: Prefetcher | None
    totals: Callable[[str], HitTotals]
    now: Callable[[], float]


class ManagementRoutes:
    """
    List, queue and delete what is cached.
    """

    def __init__(self, tools: ManagementTools, managers: Managers) -> None:
        self._tools = tools
        self._managers = managers

    def mount(self, app: App) -> None:
        """
        Add the routes to an application.
        """
        app.add("GET", "/v2/cache", self.list)
        app.add("DELETE", "/v2/cache", self.clear)
        app.add("PUT", "/v2/cache/<image_id>", self.queue, BodyRule.STREAM)
        app.add("DELETE", "/v2/cache/<image_id>", self.delete)
        # Whatever else there may be below this path is about a node's own cache, and the upstream's is another one.
        for method in _METHODS:
            app.add(method, "/v2/cache/<image_id>/<path:rest>", self.unknown, BodyRule.STREAM)
            if method not in _OF_AN_IMAGE:
                app.add(method, "/v2/cache/<image_id>", self.not_of_an_image, BodyRule.STREAM)
            if method not in _OF_THE_CACHE:
                app.add(method, "/v2/cache", self.not_of_the_cache, BodyRule.STREAM)

    async def list(self, request: Request) -> Response:
        """
        ``GET /v2/cache``.
        """
        self._managers.insist("cache_list", await self._managers.identify(request))
        cached = []
        for info in self._tools.entries.inventory():
            if info.state is EntryState.COMPLETE:
                hits = self._tools.totals(info.image_id)
                cached.append(
                    {
                        "image_id": info.image_id,
                        "hits": hits.hits,
                        # As stock has it, an image that was never served was last used when it came.
                        "last_accessed": hits.last_at or info.last_modified,
                        "last_modified": info.last_modified,
                        "size": info.size_bytes,
                    }
                )
        return json_response({"cached_images": cached, "queued_images": await self._queued()})

    async def _queued(self) -> Sequence[str]:
        # As stock has it, what is being fetched is queued. What was given up is not.
        jobs = await self._tools.index.jobs(self._tools.node)
        return [job.image_id for job in jobs if job.state is not JobState.FAILED]

    async def queue(self, request: Request, image_id: str) -> Response:
        """
        ``PUT /v2/cache/{image_id}``.
        """
        caller = await self._managers.identify(request)
        image_id = _image_id(image_id)
        record = await self._tools.upstream.show(image_id, credentials_of(request))
        self._managers.insist("cache_image", caller)
        if record.get("status") != "active":
            raise ImageNotActive(image_id, str(record.get("status")))
        if self._tools.prefetcher is None:
            raise PrefetchImpossible("set [service_user], or [cache] prefetch_token")
        await self._tools.index.add_jobs(self._tools.node, [image_id], 0, self._tools.now())
        self._tools.prefetcher.wake()
        return Response(202)

    async def delete(self, request: Request, image_id: str) -> Response:
        """
        ``DELETE /v2/cache/{image_id}``.

        Of an image that is neither here nor known to the upstream nobody learns more than that.
        """
        caller = await self._managers.identify(request)
        image_id = _image_id(image_id)
        if not await self._has(image_id):
            await self._require_image(request, image_id)
        self._managers.insist("cache_delete", caller)
        # First out of the queue: or it could be fetched again meanwhile.
        await self._tools.index.remove_job(self._tools.node, image_id)
        await self._tools.entries.remove(image_id)
        return Response(204)

    async def _has(self, image_id: str) -> bool:
        if any(info.image_id == image_id for info in self._tools.entries.inventory()):
            return True
        return any(job.image_id == image_id for job in await self._tools.index.jobs(self._tools.node))

    async def clear(self, request: Request) -> Response:
        """
        ``DELETE /v2/cache``.
        """
        self._managers.insist("cache_delete", await self._managers.identify(request))
        target = (request.single_header(_CLEAR_TARGET) or "").strip().lower()
        if target not in _CLEAR_TARGETS:
            raise BadRequest(f"{_CLEAR_TARGET} must be cache or queue, or not there for both, and not {target!r}")
        if target != "cache":
            await self._tools.index.clear_jobs(self._tools.node)
        if target != "queue":
            await self._tools.entries.clear()
        return Response(204)

    async def not_of_the_cache(self, request: Request) -> Response:
        """
        Any other method on ``/v2/cache``.
        """
        raise MethodNotAllowed(request.method.decode("ascii"), tuple(sorted(_OF_THE_CACHE)))

    async def not_of_an_image(self, request: Request, image_id: str) -> Response:
        """
        Any other method on ``/v2/cache/{image_id}``.
        """
        _image_id(image_id)
        raise MethodNotAllowed(request.method.decode("ascii"), tuple(sorted(_OF_AN_IMAGE)))

    async def unknown(self, request: Request, image_id: str, rest: str) -> Response:
        """
        Any path below those.
        """
        raise RouteNotFound(f"/v2/cache/{image_id}/{rest}")

    async def _require_image(self, request: Request, image_id: str) -> None:
        try:
            await self._tools.upstream.show(image_id, credentials_of(request))
        except UpstreamRefused as error:
            if error.status >= 500:
                raise
            raise EntryNotFound(image_id) from error


def _image_id(text: str) -> str:
    if not is_image_id(text):
        raise RouteNotFound(f"/v2/cache/{text}")
    return text.lower()
