"""
Routes of what is done to an image beside changing its attributes.
"""

from __future__ import annotations

from glance_tx.domain.activation import Activation
from glance_tx.web.app import App
from glance_tx.web.callers import Callers
from glance_tx.web.request import Request
from glance_tx.web.response import Response

__all__ = ["ActionRoutes"]

_ACTIONS = "/v2/images/<image_id>/actions"


class ActionRoutes:
    """
    Deactivate and reactivate images (contract section 1.5).
    """

    def __init__(self, activation: Activation, callers: Callers) -> None:
        self._activation = activation
        self._callers = callers

    def mount(self, app: App) -> None:
        """
        Add the routes to an application.
        """
        app.add("POST", f"{_ACTIONS}/deactivate", self.deactivate)
        app.add("POST", f"{_ACTIONS}/reactivate", self.reactivate)

    async def deactivate(self, request: Request, image_id: str) -> Response:
        """
        ``POST /v2/images/{image_id}/actions/deactivate``.
        """
        await self._activation.deactivate(await self._callers.of(request), image_id)
        return Response(204)

    async def reactivate(self, request: Request, image_id: str) -> Response:
        """
        ``POST /v2/images/{image_id}/actions/reactivate``.
        """
        await self._activation.reactivate(await self._callers.of(request), image_id)
        return Response(204)
