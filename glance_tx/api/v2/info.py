"""
What the service can do, and where it keeps data (contract section 1.6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from glance_tx.domain.access import Access
from glance_tx.web.app import App
from glance_tx.web.callers import Callers
from glance_tx.web.request import Request
from glance_tx.web.response import Response, json_response

__all__ = ["InfoRoutes", "StoreInfo"]


@frozen
class StoreInfo:
    """
    What may be told of a store.

    :param kind: The word for its type, such as ``file``.
    :param details: What operators see of it, by stock's names for stores of its type.
    :param default: It takes the data of clients that name no store.
    """

    name: str
    kind: str
    details: Mapping[str, Any]
    default: bool = False

    def view(self) -> dict[str, Any]:
        """
        Show what everybody may know.
        """
        # Flags are texts, and stand there only when they are up.
        return {"id": self.name, "default": "true"} if self.default else {"id": self.name}

    def detail(self) -> dict[str, Any]:
        """
        Show all of it.
        """
        return {**self.view(), "type": self.kind, "weight": 0, "properties": dict(self.details)}


class InfoRoutes:
    """
    ``/v2/info/...``.

    :param stores: All of them, in the order of configuration.
    :param import_methods: The methods by which images may be imported.
    """

    def __init__(
        self, callers: Callers, access: Access, stores: Sequence[StoreInfo], import_methods: Sequence[str] = ()
    ) -> None:
        self._callers = callers
        self._access = access
        self._stores = tuple(stores)
        self._import_methods = tuple(import_methods)

    def mount(self, app: App) -> None:
        """
        Add the routes to an application.
        """
        app.add("GET", "/v2/info/import", self.imports)
        app.add("GET", "/v2/info/stores", self.stores)
        app.add("GET", "/v2/info/stores/detail", self.stores_detail)
        app.add("GET", "/v2/info/usage", self.usage)

    async def imports(self, request: Request) -> Response:
        """
        ``GET /v2/info/import``.
        """
        await self._callers.of(request)
        methods = {"description": "Import methods available.", "type": "array", "value": self._import_methods}
        return json_response({"import-methods": methods})

    async def stores(self, request: Request) -> Response:
        """
        ``GET /v2/info/stores``.
        """
        await self._callers.of(request)
        return json_response({"stores": [store.view() for store in self._stores]})

    async def stores_detail(self, request: Request) -> Response:
        """
        ``GET /v2/info/stores/detail``.
        """
        caller = await self._callers.of(request)
        self._access.require_global("stores_info_detail", caller)
        return json_response({"stores": [store.detail() for store in self._stores]})

    async def usage(self, request: Request) -> Response:
        """
        ``GET /v2/info/usage``.
        """
        await self._callers.of(request)
        # Filled by limits that Keystone keeps, where they are used.
        return json_response({"usage": {}})
