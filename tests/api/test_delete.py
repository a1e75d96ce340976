"""
Showing and deleting images.
"""

from __future__ import annotations

from tests.api.service import UNKNOWN_ID, ServiceTestCase, SqlServiceTestCase
from tests.web.serving import Wire


class DeleteTests(ServiceTestCase):
    """
    ``GET`` and ``DELETE /v2/images/{image_id}``.
    """

    async def test_delete(self) -> None:
        """
        A deleted image is gone for everybody, its data with it, and deleting it again finds nothing.
        """
        image_id = await self.active()
        reply = await self.call("DELETE", f"/v2/images/{image_id.upper()}")
        self.assertEqual((reply.status, reply.body), (204, b""))
        self.assertNotIn("content-type", reply.headers)
        self.assertEqual(self.store.objects, {})
        for token in ("owner", "admin"):
            for method, path in [("GET", ""), ("DELETE", ""), ("GET", "/file"), ("HEAD", "/file")]:
                reply = await self.call(method, f"/v2/images/{image_id}{path}", token=token)
                self.assertEqual((token, method, path, reply.status), (token, method, path, 404))
        self.assertEqual((await self.call("GET", "/v2/images")).json["images"], [])

    async def test_protected(self) -> None:
        """
        A protected image is kept, from administrators too, until it is protected no more.
        """
        image_id = await self.create(protected=True)
        for token in ("owner", "admin"):
            self.assertEqual((await self.call("DELETE", f"/v2/images/{image_id}", token=token)).status, 403)
        await self.patch(image_id, [{"op": "replace", "path": "/protected", "value": False}])
        self.assertEqual((await self.call("DELETE", f"/v2/images/{image_id}")).status, 204)

    async def test_ids(self) -> None:
        """
        What is no image is not found, however it is spelled.
        """
        for image_id in (UNKNOWN_ID, "x", "..", "%2e%2e", "%F0%9F%98%80", "a" * 7000, f"{UNKNOWN_ID}%0a", "%20", "x;y"):
            for method in ("GET", "DELETE"):
                reply = await self.call(method, f"/v2/images/{image_id}")
                self.assertEqual((method, image_id[:20], reply.status), (method, image_id[:20], 404))

    async def test_paths(self) -> None:
        """
        An encoded slash is a slash, and dots are no way up.
        """
        image_id = await self.create()
        for path, status in [
            (f"/v2/images/{image_id}%2ffile", 204),
            (f"/v2/images%2F{image_id}", 200),
            (f"/v2/images/x/../{image_id}", 404),
            (f"/v2/images/../images/{image_id}", 404),
            (f"/v2/./images/{image_id}", 404),
            (f"/v2//images/{image_id}", 404),
            (f"/v2/images/{image_id}/", 404),
            (f"/v2/images/{image_id}%00", 400),
            (f"/v2/images/{image_id}%", 400),
            (f"/v2/images/{image_id}%ff", 400),
            ("/v2/images/%c0%ae%c0%ae", 400),
        ]:
            reply = await self.call("GET", path)
            self.assertEqual((path, reply.status), (path, status))

    async def test_while_data_come_in(self) -> None:
        """
        Deleting an image during its upload is done at once; the upload learns of it at its end, and leaves nothing.
        """
        image_id = await self.create()
        wire: Wire = await self.connect()
        wire.send(f"PUT /v2/images/{image_id}/file HTTP/1.1\r\nHost: h\r\nX-Auth-Token: owner\r\n".encode())
        wire.send(b"Expect: 100-continue\r\nContent-Type: application/octet-stream\r\n")
        wire.send(b"Connection: close\r\nContent-Length: 100000\r\n\r\n")
        await wire.until(b"100 Continue\r\n\r\n")
        self.assertEqual((await self.show(image_id))["status"], "saving")
        self.assertEqual((await self.call("DELETE", f"/v2/images/{image_id}")).status, 204)
        wire.send(bytes(100_000))
        self.assertIn(b"HTTP/1.1 410 Gone\r\n", await wire.ended())
        self.assertEqual((self.store.objects, self.store.parts), ({}, {}))


class SqlDeleteTests(SqlServiceTestCase):
    """
    Deleting images from a database.
    """

    async def test_delete(self) -> None:
        """
        A deleted image is gone, its data with it.
        """
        image_id = await self.active()
        self.assertEqual((await self.call("DELETE", f"/v2/images/{image_id}")).status, 204)
        self.assertEqual((await self.call("GET", f"/v2/images/{image_id}", token="admin")).status, 404)
        self.assertEqual(self.store.objects, {})
