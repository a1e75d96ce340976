"""
Routes of image members.
"""

from __future__ import annotations

from typing import Any

from glance_tx.api.v2.views import timestamp
from glance_tx.domain.members import Member
from glance_tx.domain.sharing import Sharing
from glance_tx.web.app import App, BodyRule, request_json
from glance_tx.web.callers import Callers
from glance_tx.web.errors import BadRequest
from glance_tx.web.request import Request
from glance_tx.web.response import Response, json_response

__all__ = ["MemberRoutes", "member_view"]

_MEMBERS = "/v2/images/<image_id>/members"
_MEMBER = f"{_MEMBERS}/<member_id>"


def member_view(member: Member) -> dict[str, Any]:
    """
    Make the JSON object of a member (contract section 4.2).
    """
    return {
        "member_id": member.member_id,
        "image_id": member.image_id,
        "status": member.status.value,
        "created_at": timestamp(member.created_at),
        "updated_at": timestamp(member.updated_at),
        "schema": "/v2/schemas/member",
    }


class MemberRoutes:
    """
    Share images with other projects (contract section 4.2).
    """

    def __init__(self, sharing: Sharing, callers: Callers) -> None:
        self._sharing = sharing
        self._callers = callers

    def mount(self, app: App) -> None:
        """
        Add the routes to an application.
        """
        app.add("GET", _MEMBERS, self.list)
        app.add("POST", _MEMBERS, self.add, BodyRule.JSON)
        app.add("GET", _MEMBER, self.show)
        app.add("PUT", _MEMBER, self.change, BodyRule.JSON)
        app.add("DELETE", _MEMBER, self.remove)

    async def list(self, request: Request, image_id: str) -> Response:
        """
        ``GET /v2/images/{image_id}/members``.
        """
        members = await self._sharing.list(await self._callers.of(request), image_id)
        return json_response({"members": [member_view(member) for member in members], "schema": "/v2/schemas/members"})

    async def add(self, request: Request, image_id: str) -> Response:
        """
        ``POST /v2/images/{image_id}/members``. It is answered 200, not 201, as in stock Glance.
        """
        caller = await self._callers.of(request)
        member_id = await _value(request, "member")
        return json_response(member_view(await self._sharing.add(caller, image_id, member_id)))

    async def show(self, request: Request, image_id: str, member_id: str) -> Response:
        """
        ``GET /v2/images/{image_id}/members/{member_id}``.
        """
        caller = await self._callers.of(request)
        return json_response(member_view(await self._sharing.show(caller, image_id, member_id)))

    async def change(self, request: Request, image_id: str, member_id: str) -> Response:
        """
        ``PUT /v2/images/{image_id}/members/{member_id}``.
        """
        caller = await self._callers.of(request)
        status = await _value(request, "status")
        return json_response(member_view(await self._sharing.change(caller, image_id, member_id, status)))

    async def remove(self, request: Request, image_id: str, member_id: str) -> Response:
        """
        ``DELETE /v2/images/{image_id}/members/{member_id}``.
        """
        await self._sharing.remove(await self._callers.of(request), image_id, member_id)
        return Response(204)


async def _value(request: Request, name: str) -> object:
    """
    Take the one value out of a body that matters; others may stand beside it.
    """
    document = await request_json(request)
    if not isinstance(document, dict) or name not in document:
        raise BadRequest(f"the body must be a JSON object with {name!r}")
    return document[name]
