"""
Routes of single tags.
"""

from __future__ import annotations

from glance_tx.domain.tags import Tags
from glance_tx.web.app import App
from glance_tx.web.callers import Callers
from glance_tx.web.request import Request
from glance_tx.web.response import Response

__all__ = ["TagRoutes"]

_TAG = "/v2/images/<image_id>/tags/<tag>"


class TagRoutes:
    """
    Add tags to images and take them off (contract section 1.5).
    """

    def __init__(self, tags: Tags, callers: Callers) -> None:
        self._tags = tags
        self._callers = callers

    def mount(self, app: App) -> None:
        """
        Add the routes to an application.
        """
        app.add("PUT", _TAG, self.add)
        app.add("DELETE", _TAG, self.remove)

    async def add(self, request: Request, image_id: str, tag: str) -> Response:
        """
        ``PUT /v2/images/{image_id}/tags/{tag}``.
        """
        await self._tags.add(await self._callers.of(request), image_id, tag)
        return Response(204)

    async def remove(self, request: Request, image_id: str, tag: str) -> Response:
        """
        ``DELETE /v2/images/{image_id}/tags/{tag}``.
        """
        await self._tags.remove(await self._callers.of(request), image_id, tag)
        return Response(204)
