"""
Routes of image records.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.interfaces import IReactorTime

from glance_tx.api.v2.patch import OLDER_PATCH, PATCH_MEDIA_TYPES, parse_patch
from glance_tx.api.v2.query import first_link, next_link, parse_image_query, query_pairs
from glance_tx.api.v2.turns import in_turns
from glance_tx.api.v2.views import image_view
from glance_tx.domain.catalog import Catalog
from glance_tx.domain.images import Image
from glance_tx.identity.caller import Caller
from glance_tx.web.app import App, BodyRule, request_json
from glance_tx.web.callers import Callers
from glance_tx.web.endpoint import PublicEndpoint
from glance_tx.web.errors import BadRequest, UnsupportedMediaType
from glance_tx.web.media import media_type
from glance_tx.web.request import Request
from glance_tx.web.response import Response, json_response

__all__ = ["ImageRoutes"]

_LIST = "/v2/images"
_AT_ONCE: Final = 250
"""So many images of a page are made into JSON in one turn of the reactor, for about a millisecond."""


class ImageRoutes:
    """
    Create, show, list, change and delete images (contract section 1.5).

    :param clock: Gives others their turn.
    :param default_limit: Images in a page of the list where the client does not say.
    """

    def __init__(
        self, catalog: Catalog, callers: Callers, endpoint: PublicEndpoint, clock: IReactorTime, default_limit: int
    ) -> None:
        self._clock = clock
        self._catalog = catalog
        self._callers = callers
        self._endpoint = endpoint
        self._default_limit = default_limit

    def mount(self, app: App) -> None:
        """
        Add the routes to an application.
        """
        app.add("GET", _LIST, self.list)
        app.add("POST", _LIST, self.create, BodyRule.JSON)
        app.add("GET", f"{_LIST}/<image_id>", self.show)
        app.add("PATCH", f"{_LIST}/<image_id>", self.change, BodyRule.JSON)
        app.add("DELETE", f"{_LIST}/<image_id>", self.delete)

    async def create(self, request: Request) -> Response:
        """
        ``POST /v2/images``.
        """
        caller = await self._callers.of(request)
        values = await request_json(request)
        if not isinstance(values, dict):
            raise BadRequest("an image must be a JSON object")
        image = await self._catalog.create(caller, values)
        location = f"{self._endpoint.base(request)}{_LIST}/{image.id}"
        return json_response(self._view(caller, image), 201, {"Location": location})

    async def show(self, request: Request, image_id: str) -> Response:
        """
        ``GET /v2/images/{image_id}``.
        """
        caller = await self._callers.of(request)
        return json_response(self._view(caller, await self._catalog.show(caller, image_id)))

    async def list(self, request: Request) -> Response:
        """
        ``GET /v2/images``.
        """
        caller = await self._callers.of(request)
        pairs = query_pairs(request.uri.partition(b"?")[2])
        page = await self._catalog.list(caller, parse_image_query(pairs, self._default_limit))
        document: dict[str, object] = {
            "images": [self._view(caller, image) async for image in in_turns(self._clock, page.images, _AT_ONCE)],
            "first": first_link(_LIST, pairs),
            "schema": "/v2/schemas/images",
        }
        if page.next_marker is not None:
            document["next"] = next_link(_LIST, pairs, page.next_marker)
        return json_response(document)

    async def change(self, request: Request, image_id: str) -> Response:
        """
        ``PATCH /v2/images/{image_id}``.
        """
        caller = await self._callers.of(request)
        kind = media_type(request)
        if kind not in PATCH_MEDIA_TYPES:
            raise UnsupportedMediaType(kind, PATCH_MEDIA_TYPES)
        operations = parse_patch(await request_json(request), kind)
        image = await self._catalog.change(caller, image_id, operations, strict_add=kind == OLDER_PATCH)
        return json_response(self._view(caller, image))

    async def delete(self, request: Request, image_id: str) -> Response:
        """
        ``DELETE /v2/images/{image_id}``.
        """
        caller = await self._callers.of(request)
        await self._catalog.delete(caller, image_id)
        return Response(204)

    def _view(self, caller: Caller, image: Image) -> dict[str, Any]:
        return image_view(image, self._catalog.seen_locations(caller, image))
