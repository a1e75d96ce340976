"""
Data on their way in.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from glance_tx.stores.filesystem import FilesystemSettings, FilesystemStore
from glance_tx.stores.folders import FolderChoice
from glance_tx.stores.interfaces import IStore
from glance_tx.stores.memory import MemorySettings, MemoryStore
from glance_tx.web.app import App
from tests.api.data import UploadTestCase
from tests.api.service import OCTETS, UNKNOWN_ID, ServiceTestCase
from tests.doubles.pools import inline_lanes

DATA = bytes(range(256)) * 300


class UploadTests(UploadTestCase):
    """
    ``PUT /v2/images/{image_id}/file``.
    """

    image_size_cap = 100_000

    async def test_stored(self) -> None:
        """
        Data make an image active; size and hashes are theirs. Nothing says so but the status.
        """
        for data in (DATA, b"x", b""):
            image_id = await self.create()
            reply = await self.upload(image_id, data)
            self.assertEqual((reply.status, reply.body), (204, b""))
            self.assertNotIn("content-type", reply.headers)
            image = await self.show(image_id)
            self.assertEqual((image["status"], image["size"]), ("active", len(data)))
            self.assertEqual(image["virtual_size"], len(data))
            self.assertEqual(image["checksum"], hashlib.md5(data).hexdigest())
            self.assertEqual(image["os_hash_algo"], "sha512")
            self.assertEqual(image["os_hash_value"], hashlib.sha512(data).hexdigest())
            self.assertNotIn("stores", image)

    async def test_chunked(self) -> None:
        """
        Data may come in chunks, with or without a word of how many.
        """
        for line in (b"", b"X-OpenStack-Image-Size: 76800\r\n"):
            image_id = await self.create()
            wire = await self.begin(image_id, b"Transfer-Encoding: chunked\r\n" + line)
            for start in range(0, len(DATA), 10_000):
                piece = DATA[start : start + 10_000]
                wire.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            wire.send(b"0\r\n\r\n")
            self.assertIn(b"HTTP/1.1 204 ", await wire.ended())
            self.assertEqual((await self.show(image_id))["checksum"], hashlib.md5(DATA).hexdigest())

    async def test_content_type(self) -> None:
        """
        Only octets are taken, by a type with parameters or without; the answer says so.
        """
        for kind, status in [
            ("application/octet-stream", 204),
            ("application/octet-stream; charset=binary", 204),
            ("Application/Octet-Stream", 204),
            ("application/json", 415),
            ("application/octet-stream, text/plain", 415),
            ("", 415),
            (";", 415),
        ]:
            image_id = await self.create()
            reply = await self.call("PUT", f"/v2/images/{image_id}/file", body=b"x", Content_Type=kind)
            self.assertEqual((kind, reply.status), (kind, status))
            if status == 415:
                self.assertIn(OCTETS, reply.body.decode())
                self.assertNotIn("accept-patch", reply.headers)
        image_id = await self.create()
        self.assertEqual((await self.call("PUT", f"/v2/images/{image_id}/file", body=b"x")).status, 415)

    async def test_declared_size(self) -> None:
        """
        What is declared has to be a number, and the data's; an image whose data are refused is queued again.
        """
        for declared, status in [
            ("9", 204),
            ("009", 204),
            ("8", 400),
            ("10", 400),
            ("0", 400),
            ("-9", 400),
            ("9.0", 400),
            ("nine", 400),
            ("", 400),
            ("0x9", 400),
            ("\u00b2", 400),
            ("9, 9", 400),
            ("100001", 413),
            ("9" * 19, 413),
            ("9" * 20, 400),
            ("9" * 5000, 400),
        ]:
            image_id = await self.create(visibility="private")
            reply = await self.call(
                "PUT",
                f"/v2/images/{image_id}/file",
                body=b"some data",
                Content_Type=OCTETS,
                X_OpenStack_Image_Size=declared,
            )
            self.assertEqual((declared[:30], reply.status), (declared[:30], status))
            if status != 204:
                await self.assertQueued(image_id)
            self.assertEqual((await self.call("DELETE", f"/v2/images/{image_id}")).status, 204)

    async def test_declared_size_of_chunks(self) -> None:
        """
        Data that turn out longer or shorter than declared are refused, and can be sent again.
        """
        image_id = await self.create()
        for declared in (8, 10, 0):
            wire = await self.begin(
                image_id, b"Transfer-Encoding: chunked\r\nX-OpenStack-Image-Size: %d\r\n" % declared
            )
            wire.send(b"9\r\nsome data\r\n0\r\n\r\n")
            self.assertIn(b"HTTP/1.1 400 ", await wire.ended())
            await self.assertQueued(image_id)
        self.assertEqual((await self.upload(image_id)).status, 204)

    async def test_too_large(self) -> None:
        """
        More data than an image may have are refused: by their announcement, or where they outgrow the limit.
        """
        image_id = await self.create()
        self.assertEqual((await self.upload(image_id, bytes(100_001))).status, 413)
        await self.assertQueued(image_id)
        wire = await self.begin(image_id, b"Transfer-Encoding: chunked\r\n")
        wire.send(b"186a1\r\n" + bytes(100_001) + b"\r\n0\r\n\r\n")
        self.assertIn(b"HTTP/1.1 413 ", await wire.ended())
        await self.assertQueued(image_id)
        self.assertEqual((await self.upload(image_id, bytes(100_000))).status, 204)

    async def test_refused_before_the_data(self) -> None:
        """
        What can be refused without the data is refused while the client still waits to send them.
        """
        active = await self.active()
        no_formats = (await self.call("POST", "/v2/images", {})).json["id"]
        one_format = (await self.call("POST", "/v2/images", {"disk_format": "raw"})).json["id"]
        foreign = await self.create(token="stranger")
        public = await self.create(token="admin", owner="p2", visibility="public")
        queued = await self.create()
        for image_id, lines, status in [
            (active, b"", 409),
            (no_formats, b"", 400),
            (one_format, b"", 400),
            (foreign, b"", 404),
            (public, b"", 403),
            (UNKNOWN_ID, b"", 404),
            ("nonsense", b"", 404),
            (queued, b"X-OpenStack-Image-Size: x\r\n", 400),
            (queued, b"X-OpenStack-Image-Size: 200000\r\n", 413),
            (queued, b"X-Auth-Token: owner\r\n", 400),
        ]:
            wire = await self.begin(image_id, b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n" + lines)
            answer = await wire.ended()
            self.assertTrue(answer.startswith(b"HTTP/1.1 %d " % status), (image_id, lines, answer))
        await self.call("DELETE", f"/v2/images/{active}")
        await self.assertQueued(queued)

    async def test_order_of_refusals(self) -> None:
        """
        The token counts first, then what the headers say, then the image.
        """
        for token, kind, declared, status in [
            ("garbage", "text/plain", "x", 401),
            ("owner", "text/plain", "x", 415),
            ("owner", OCTETS, "x", 400),
            ("owner", OCTETS, "1", 404),
        ]:
            reply = await self.call(
                "PUT",
                f"/v2/images/{UNKNOWN_ID}/file",
                token=token,
                body=b"x",
                Content_Type=kind,
                X_OpenStack_Image_Size=declared,
            )
            self.assertEqual((token, kind, declared, reply.status), (token, kind, declared, status))

    async def test_one_at_a_time(self) -> None:
        """
        While data come in, the image takes no others; a client that leaves makes room.
        """
        image_id = await self.create()
        wire = await self.begin(image_id, b"Expect: 100-continue\r\nContent-Length: 70000\r\n")
        await wire.until(b"100 Continue\r\n\r\n")
        self.assertEqual((await self.show(image_id))["status"], "saving")
        self.assertEqual((await self.upload(image_id)).status, 409)
        self.assertEqual((await self.call("GET", f"/v2/images/{image_id}/file")).status, 204)
        wire.transport.abortConnection()
        record = await self.record_of("PUT", 0)
        self.assertFalse(record.complete)
        await self.transfers.settled()
        await self.assertQueued(image_id)
        self.assertEqual((await self.upload(image_id)).status, 204)

    async def test_broken_chunks(self) -> None:
        """
        Data whose chunks are malformed are refused, and the image is queued again.
        """
        image_id = await self.create()
        wire = await self.begin(image_id, b"Transfer-Encoding: chunked\r\n")
        wire.send(b"4\r\ndata\r\nnonsense\r\n")
        self.assertIn(b"HTTP/1.1 400 ", await wire.ended())
        await self.assertQueued(image_id)


class FullStoreTests(ServiceTestCase):
    """
    A store that fills up.
    """

    def make_store(self) -> IStore:
        return MemoryStore(MemorySettings("main", capacity_bytes=100))

    async def test_full(self) -> None:
        """
        Data that do not fit are refused by 413, whether their length was told before or not; smaller ones fit then.
        """
        image_id = await self.create()
        self.assertEqual((await self.upload(image_id, bytes(101))).status, 413)
        wire = await self.connect()
        wire.send(f"PUT /v2/images/{image_id}/file HTTP/1.1\r\nHost: h\r\nX-Auth-Token: owner\r\n".encode())
        wire.send(b"Connection: close\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        wire.send(b"c8\r\n" + bytes(200) + b"\r\n0\r\n\r\n")
        self.assertIn(b"HTTP/1.1 413 ", await wire.ended())
        self.assertEqual((await self.upload(image_id, bytes(100))).status, 204)


class BrokenStoreTests(ServiceTestCase):
    """
    A store of files whose folder is gone.
    """

    def make_app(self, **options: object) -> App:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        return super().make_app(**options)

    def make_store(self) -> IStore:
        return FilesystemStore(FilesystemSettings("main", [FolderChoice(str(self.folder.absolute()))]), inline_lanes())

    async def test_unavailable(self) -> None:
        """
        A store that cannot be worked in is answered by 503 and when to try again; no path is told. The image stays
        queued.
        """
        image_id = await self.create()
        kept = self.folder.rename(f"{self.folder}.away")
        reply = await self.upload(image_id)
        self.assertEqual((reply.status, reply.headers["retry-after"]), (503, "5"))
        self.assertNotIn(self.folder.name.encode(), reply.body)
        self.assertEqual((await self.show(image_id))["status"], "queued")
        kept.rename(self.folder)
        self.assertEqual((await self.upload(image_id)).status, 204)


class SeveralFoldersTests(ServiceTestCase):
    """
    A store of files in several folders, the best of which is away.
    """

    def make_store(self) -> IStore:
        folders = [Path(self.mktemp()).absolute() for _ in range(2)]
        folders[1].mkdir()
        self.folder = folders[1]
        choices = [FolderChoice(str(folder), rank) for folder, rank in zip(folders, (9, 0), strict=True)]
        return FilesystemStore(FilesystemSettings("main", choices), inline_lanes())

    async def test_goes_to_the_chosen_one(self) -> None:
        """
        Data go to the folder that the store chooses, and come from there.
        """
        image_id = await self.create()
        self.assertEqual((await self.upload(image_id, b"data")).status, 204)
        (file,) = self.folder.iterdir()
        self.assertEqual(file.read_bytes(), b"data")
        self.assertEqual((await self.call("GET", f"/v2/images/{image_id}/file")).body, b"data")
