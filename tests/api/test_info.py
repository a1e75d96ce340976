"""
What clients can find out about the service itself.
"""

from __future__ import annotations

from tests.api.service import PROJECTS_AND_ROLES, ServiceTestCase

PATHS = ("/v2/info/import", "/v2/info/stores", "/v2/info/stores/detail", "/v2/info/usage")


class InfoTests(ServiceTestCase):
    """
    ``/v2/info/...`` of a service with one store and no import.
    """

    async def test_import(self) -> None:
        """
        The list of import methods is there, and empty as long as there is no import.
        """
        methods = (await self.call("GET", "/v2/info/import")).json["import-methods"]
        self.assertEqual((methods["type"], methods["value"]), ("array", []))
        self.assertTrue(methods["description"])

    async def test_stores(self) -> None:
        """
        The one store is the default one; flags are texts.
        """
        for token in PROJECTS_AND_ROLES:
            reply = await self.call("GET", "/v2/info/stores", token=token)
            self.assertEqual((reply.status, reply.json), (200, {"stores": [{"id": "main", "default": "true"}]}))

    async def test_named_store(self) -> None:
        """
        A client that picked the store from the list may name it in an upload.
        """
        store = (await self.call("GET", "/v2/info/stores")).json["stores"][0]["id"]
        image_id = await self.create()
        headers = {"Content_Type": "application/octet-stream", "X_Image_Meta_Store": store}
        reply = await self.call("PUT", f"/v2/images/{image_id}/file", body=b"data", **headers)
        self.assertEqual(reply.status, 204)

    async def test_detail(self) -> None:
        """
        Type and properties are shown to administrators only.
        """
        detail = {"id": "main", "default": "true", "type": "memory", "weight": 0, "properties": {"room": 5}}
        reply = await self.call("GET", "/v2/info/stores/detail", token="admin")
        self.assertEqual((reply.status, reply.json), (200, {"stores": [detail]}))
        for token in PROJECTS_AND_ROLES.keys() - {"admin"}:
            self.assertEqual((await self.call("GET", "/v2/info/stores/detail", token=token)).status, 403)

    async def test_usage(self) -> None:
        """
        Nothing is accounted as long as nothing is limited.
        """
        self.assertEqual((await self.call("GET", "/v2/info/usage")).json, {"usage": {}})

    async def test_refusals(self) -> None:
        """
        A token is wanted, and no body.
        """
        for path in PATHS:
            self.assertEqual((path, (await self.call("GET", path, token=None)).status), (path, 401))
            self.assertEqual((path, (await self.call("GET", path, token="admin", body=b"x")).status), (path, 400))
            self.assertEqual((path, (await self.call("POST", path, token="admin")).status), (path, 405))
