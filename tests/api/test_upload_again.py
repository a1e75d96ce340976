"""
Uploads that fail, in each way there is, and the one that comes after them.
"""

from __future__ import annotations

from glance_tx.stores.interfaces import IStore
from glance_tx.stores.memory import MemorySettings, MemoryStore
from tests.api.data import UploadTestCase
from tests.api.service import OCTETS
from tests.doubles import disks

CHUNKED = b"Transfer-Encoding: chunked\r\n"
GOOD = disks.qcow2()


class UploadAgainTests(UploadTestCase):
    """
    An upload that failed leaves nothing, and the next one works.
    """

    image_size_cap = 4 * disks.MIB
    storage_quota = 3 * disks.MIB

    def make_store(self) -> IStore:
        return MemoryStore(MemorySettings("main", capacity_bytes=2 * disks.MIB))

    async def assert_works(self, image_id: str) -> None:
        await self.transfers.settled()
        await self.assertQueued(image_id)
        self.assertEqual((await self.upload(image_id, GOOD)).status, 204)
        image = await self.show(image_id)
        self.assertEqual((image["status"], image["virtual_size"]), ("active", disks.DISK_BYTES))
        reply = await self.call("GET", f"/v2/images/{image_id}/file")
        self.assertTrue(reply.body == GOOD)
        await self.call("DELETE", f"/v2/images/{image_id}")

    async def test_refused(self) -> None:
        """
        Whatever is wrong with data, whether their length was announced or not: they are refused with the status that
        says so.
        """
        for data, status in [
            (disks.raw(), 415),  # another format
            (disks.qcow2(backing=1), 415),  # not safe
            (GOOD.ljust(4 * disks.MIB + 1, b"x"), 413),  # more than an image may have
            (GOOD.ljust(3 * disks.MIB + 1, b"x"), 413),  # more than the project may keep
            (GOOD.ljust(2 * disks.MIB + 1, b"x"), 413),  # more than the store can take
        ]:
            image_id = await self.create(disk_format="qcow2")
            reply = await self.upload(image_id, data)
            self.assertEqual((len(data), reply.status), (len(data), status))
            await self.assert_works(image_id)
            image_id = await self.create(disk_format="qcow2")
            answer = await self.chunked(image_id, data)
            self.assertTrue(answer.startswith(b"HTTP/1.1 %d " % status), answer[:200])
            await self.assert_works(image_id)

    async def test_broken_off(self) -> None:
        """
        A client that leaves, that breaks its own framing, or whose data are not as long as it said.
        """
        for lines, data in [
            (b"Content-Length: 70000\r\n", GOOD[:100]),
            (CHUNKED, b"64\r\n" + GOOD[:100]),
            (CHUNKED, b"nonsense\r\n"),
            (CHUNKED + b"X-OpenStack-Image-Size: 100\r\n", b"5\r\nxxxxx\r\n0\r\n\r\n"),
            (CHUNKED + b"X-OpenStack-Image-Size: 4\r\n", b"5\r\nxxxxx\r\n0\r\n\r\n"),
        ]:
            image_id = await self.create(disk_format="qcow2")
            wire = await self.begin(image_id, lines + b"Expect: 100-continue\r\n")
            await wire.until(b"100 Continue\r\n\r\n")
            self.assertEqual((await self.show(image_id))["status"], "saving")
            wire.send(data)
            wire.transport.loseConnection()
            await wire.ended()
            await self.assert_works(image_id)

    async def test_refused_early(self) -> None:
        """
        Data whose first MiB is wrong are refused then, while the client still has the most of them.
        """
        image_id = await self.create(disk_format="qcow2")
        wire = await self.begin(image_id, b"Content-Length: 2000000\r\n")
        wire.send(disks.raw().ljust(1_500_000, b"x"))
        answer = await wire.ended()
        self.assertTrue(answer.startswith(b"HTTP/1.1 415 "), answer[:200])
        self.assertIn(b"qcow2", answer)
        await self.assert_works(image_id)

    async def test_deleted_meanwhile(self) -> None:
        """
        An image that is deleted while its data come in is gone for them, and nothing of them is kept.
        """
        for lines, first, rest in [
            (b"Content-Length: 11\r\n", b"data, ", b" more"),
            (CHUNKED, b"6\r\ndata, \r\n", b"5\r\n more\r\n0\r\n\r\n"),
        ]:
            image_id = await self.create()
            wire = await self.begin(image_id, lines + b"Expect: 100-continue\r\n")
            await wire.until(b"100 Continue\r\n\r\n")
            wire.send(first)
            self.assertEqual((await self.call("DELETE", f"/v2/images/{image_id}")).status, 204)
            wire.send(rest)
            self.assertIn(b"HTTP/1.1 410 ", await wire.ended())
            self.assertEqual((self.store.objects, self.store.parts), ({}, {}))
            self.assertEqual((await self.call("GET", f"/v2/images/{image_id}")).status, 404)

    async def test_quota(self) -> None:
        """
        The refusal says how much is left; another project has its own.
        """
        first = await self.create(disk_format="raw")
        await self.upload(first, bytes(disks.MIB))
        second = await self.create(disk_format="raw")
        reply = await self.upload(second, bytes(2 * disks.MIB + 1))
        self.assertEqual(reply.status, 413)
        self.assertIn(f"{2 * disks.MIB} bytes", reply.body.decode())
        other = await self.create(token="stranger")
        self.assertEqual((await self.upload(other, b"x", token="stranger")).status, 204)


class StoreHeaderTests(UploadTestCase):
    """
    ``X-Image-Meta-Store``.
    """

    async def put(self, image_id: str, store: str, token: str = "owner", **headers: str) -> int:
        reply = await self.call(
            "PUT",
            f"/v2/images/{image_id}/file",
            token=token,
            body=b"data",
            X_Image_Meta_Store=store,
            **{"Content_Type": OCTETS, **headers},
        )
        return reply.status

    async def test_store(self) -> None:
        """
        The store that there is may be named; any other name is refused, and the image takes data afterwards.
        """
        image_id = await self.create()
        for name in ("elsewhere", "", "Main", "main,main", "x" * 5000):
            self.assertEqual((name[:20], await self.put(image_id, name)), (name[:20], 400))
        await self.assertQueued(image_id)
        self.assertEqual(await self.put(image_id, "main"), 204)

    async def test_order(self) -> None:
        """
        The store is looked at after the other headers and before the image.
        """
        image_id = "00000000-0000-4000-8000-000000000000"
        self.assertEqual(await self.put(image_id, "elsewhere", token="garbage"), 401)
        self.assertEqual(await self.put(image_id, "elsewhere", Content_Type="text/plain"), 415)
        self.assertEqual(await self.put(image_id, "elsewhere"), 400)
        self.assertEqual(await self.put(image_id, "main"), 404)
