"""
What tests of image data have in common.
"""

from __future__ import annotations

from tests.api.service import ServiceTestCase
from tests.web.serving import Wire


class UploadTestCase(ServiceTestCase):
    """
    A service with its data in memory, and uploads sent piece by piece.
    """

    async def begin(self, image_id: str, lines: bytes) -> Wire:
        """
        Send the head of an upload.
        """
        wire = await self.connect()
        wire.send(f"PUT /v2/images/{image_id}/file HTTP/1.1\r\nHost: h\r\nX-Auth-Token: owner\r\n".encode())
        wire.send(b"Connection: close\r\nContent-Type: application/octet-stream\r\n" + lines + b"\r\n")
        return wire

    async def chunked(self, image_id: str, data: bytes, lines: bytes = b"") -> bytes:
        """
        Send data whose length nobody was told, and wait for the answer.
        """
        wire = await self.begin(image_id, b"Transfer-Encoding: chunked\r\n" + lines)
        wire.send((b"%x\r\n%b\r\n" % (len(data), data) if data else b"") + b"0\r\n\r\n")
        return await wire.ended()

    async def assertQueued(self, image_id: str) -> None:
        """
        Check that an image is as if nobody had ever sent it data.
        """
        image = await self.show(image_id)
        derived = ("status", "size", "virtual_size", "checksum", "os_hash_algo", "os_hash_value")
        self.assertEqual([image[name] for name in derived], ["queued", None, None, None, None, None])
        self.assertEqual((self.store.objects, self.store.parts), ({}, {}))
