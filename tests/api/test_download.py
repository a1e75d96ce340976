"""
Data on their way out, whole and in parts.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from glance_tx.domain.images import Location
from glance_tx.domain.interfaces import LeaseOwner
from glance_tx.stores.filesystem import FilesystemSettings, FilesystemStore
from glance_tx.stores.folders import FolderChoice
from glance_tx.stores.interfaces import IStore
from glance_tx.web.app import App
from tests.api.service import OCTETS, ServiceTestCase, SqlServiceTestCase
from tests.doubles.pools import inline_lanes

DATA = bytes(range(256)) * 4000
SIZE = len(DATA)
MD5 = hashlib.md5(DATA).hexdigest()
SHA512 = hashlib.sha512(DATA).hexdigest()
CONDITIONAL = ("If_Range", "If_None_Match", "If_Match", "If_Modified_Since", "If_Unmodified_Since")

SATISFIED = [
    ("bytes=0-0", 0, 1),
    ("bytes=0-9", 0, 10),
    ("bytes=5-5", 5, 6),
    ("bytes=1000-", 1000, SIZE),
    ("bytes=0-", 0, SIZE),
    (f"bytes={SIZE - 1}-", SIZE - 1, SIZE),
    (f"bytes=10-{SIZE}", 10, SIZE),
    (f"bytes=10-{'9' * 20}", 10, SIZE),
    ("bytes=-1", SIZE - 1, SIZE),
    ("bytes=-500000", SIZE - 500_000, SIZE),
    (f"bytes=-{SIZE}", 0, SIZE),
    (f"bytes=-{SIZE + 1}", 0, SIZE),
    ("bytes=-0", 0, SIZE),
    ("BYTES=0-9", 0, 10),
    ("  bytes = 0 - 9  ", 0, 10),
]
"""Ranges, and which bytes they bring."""

REFUSED = [
    (f"bytes={SIZE}-", 416),
    (f"bytes={SIZE}-{SIZE + 5}", 416),
    (f"bytes={'9' * 20}-", 416),
    (f"bytes={'9' * 5000}-", 416),
    ("bytes=9-5", 416),
    ("bytes=a-b", 416),
    ("bytes=1-b", 416),
    ("bytes=-", 416),
    ("bytes=", 416),
    ("bytes=--1", 416),
    ("bytes=+1-2", 416),
    ("bytes=1", 416),
    ("bytes", 416),
    ("", 416),
    ("0-5", 416),
    ("items=0-5", 416),
    ("bytes=0x1-0x2", 416),
    ("bytes=\u00b2-3", 416),
    ("bytes=0-1,5-6", 400),
    ("bytes=0-1,", 400),
    (",", 400),
]
"""Ranges that are not served."""


class DownloadTests(ServiceTestCase):
    """
    ``GET /v2/images/{image_id}/file``.
    """

    async def test_whole(self) -> None:
        """
        All data come with their length and their MD5 in hex, and without any validator.
        """
        image_id = await self.active(DATA)
        reply = await self.call("GET", f"/v2/images/{image_id}/file")
        self.assertEqual((reply.status, reply.body == DATA), (200, True))
        self.assertEqual(reply.headers["content-type"], OCTETS)
        self.assertEqual(reply.headers["content-length"], str(SIZE))
        self.assertEqual(reply.headers["content-md5"], MD5)
        for name in ("etag", "last-modified", "accept-ranges", "content-disposition", "content-range"):
            self.assertNotIn(name, reply.headers)

    async def test_empty(self) -> None:
        """
        An image without a byte is an image; no range of it can be had.
        """
        image_id = await self.active(b"")
        reply = await self.call("GET", f"/v2/images/{image_id}/file")
        self.assertEqual((reply.status, reply.headers["content-length"], reply.body), (200, "0", b""))
        self.assertEqual(reply.headers["content-md5"], hashlib.md5(b"").hexdigest())
        for asked in ("bytes=0-", "bytes=0-0", "bytes=-1", "bytes=-0"):
            reply = await self.call("GET", f"/v2/images/{image_id}/file", Range=asked)
            self.assertEqual((asked, reply.status, reply.headers["content-range"]), (asked, 416, "bytes */0"))

    async def test_ranges(self) -> None:
        """
        A part comes with its place in the whole, and with the MD5 of the whole.
        """
        image_id = await self.active(DATA)
        for asked, start, end in SATISFIED:
            reply = await self.call("GET", f"/v2/images/{image_id}/file", Range=asked)
            self.assertEqual((asked, reply.status), (asked, 206))
            self.assertEqual(reply.headers["content-range"], f"bytes {start}-{end - 1}/{SIZE}")
            self.assertEqual(reply.headers["content-length"], str(end - start))
            self.assertEqual((reply.headers["content-type"], reply.headers["content-md5"]), (OCTETS, MD5))
            self.assertTrue(reply.body == DATA[start:end], asked)

    async def test_refused_ranges(self) -> None:
        """
        What is no range of these data is refused, by 400 where it is several and by 416 else.
        """
        image_id = await self.active(DATA)
        for asked, status in REFUSED:
            reply = await self.call("GET", f"/v2/images/{image_id}/file", Range=asked)
            self.assertEqual((asked[:30], reply.status), (asked[:30], status))
            if status == 416:
                self.assertEqual(reply.headers["content-range"], f"bytes */{SIZE}")
            self.assertNotEqual(reply.headers["content-type"], OCTETS)

    async def test_range_twice(self) -> None:
        """
        Two Range headers ask for two ranges.
        """
        image_id = await self.active(DATA)
        headers = "X-Auth-Token: owner\r\nRange: bytes=0-1\r\nRange: bytes=5-6\r\n"
        self.assertEqual((await self.ask("GET", f"/v2/images/{image_id}/file", headers)).status, 400)

    async def test_content_range(self) -> None:
        """
        Old clients ask by Content-Range; a Range beside it counts more.
        """
        image_id = await self.active(DATA)
        path = f"/v2/images/{image_id}/file"
        for asked, status, part in [
            ("bytes 5-9/*", 206, DATA[5:10]),
            (f"bytes 5-9/{SIZE}", 206, DATA[5:10]),
            (f"bytes 5-{SIZE + 9}/*", 206, DATA[5:]),
            (f"bytes {SIZE}-{SIZE}/*", 416, None),
            ("bytes 9-5/*", 416, None),
            ("bytes */5", 416, None),
            ("bytes=5-9", 416, None),
            ("nonsense", 416, None),
            ("bytes 0-1/*, bytes 5-6/*", 400, None),
        ]:
            reply = await self.call("GET", path, Content_Range=asked)
            self.assertEqual((asked, reply.status), (asked, status))
            self.assertTrue(part is None or reply.body == part)
        reply = await self.call("GET", path, Content_Range="bytes 5-9/*", Range="bytes=1-2")
        self.assertEqual((reply.status, reply.body), (206, DATA[1:3]))

    async def test_conditions(self) -> None:
        """
        There are no validators, so conditions are passed over.
        """
        image_id = await self.active(DATA)
        path = f"/v2/images/{image_id}/file"
        for name in CONDITIONAL:
            for value in ('"x"', f'"sha512:{SHA512}"', "Sat, 29 Oct 2094 19:43:31 GMT", "*"):
                whole = await self.call("GET", path, **{name: value})
                part = await self.call("GET", path, Range="bytes=0-0", **{name: value})
                self.assertEqual((name, value, whole.status, part.status), (name, value, 200, 206))

    async def test_no_data(self) -> None:
        """
        Without data the answer is 204, with neither body nor type, whatever range is asked for.
        """
        queued = await self.create()
        saving = await self.create()
        await self.images.begin_upload(saving, LeaseOwner("n", "b"), lambda _: Location("main", ""), self.now())
        for image_id in (queued, saving):
            for method in ("GET", "HEAD"):
                for asked in ({}, {"Range": "bytes=0-0"}, {"Range": "nonsense"}):
                    reply = await self.call(method, f"/v2/images/{image_id}/file", **asked)
                    self.assertEqual((reply.status, reply.body), (204, b""))
                    self.assertNotIn("content-type", reply.headers)
                    self.assertNotIn("content-length", reply.headers)

    async def test_lost_data(self) -> None:
        """
        Data that are missing in the store, or of another length, are no data.
        """
        for spoil in (self.remove, self.shorten):
            image_id = await self.active(DATA)
            await spoil(image_id)
            for method in ("GET", "HEAD"):
                reply = await self.call(method, f"/v2/images/{image_id}/file")
                self.assertEqual((reply.status, reply.body), (204, b""))
            self.assertEqual((await self.show(image_id))["status"], "active")

    async def remove(self, image_id: str) -> None:
        """
        Lose the data of an image.
        """
        await self.store.delete(await self.location_of(image_id))

    async def shorten(self, image_id: str) -> None:
        """
        Lose some data of an image.
        """
        location = await self.location_of(image_id)
        self.store.objects[location] = self.store.objects[location][:-1]

    async def location_of(self, image_id: str) -> str:
        """
        Tell where the data of an image are.
        """
        return (await self.images.get(image_id)).locations[0].url

    async def test_head(self) -> None:
        """
        HEAD tells what GET would bring, and the strong hash as validator; it has no body, and knows no range.
        """
        image_id = await self.active(DATA)
        for asked in ({}, {"Range": "bytes=0-0"}, {"Range": "bytes=0-1,3-4"}, {"If_None_Match": f'"sha512:{SHA512}"'}):
            reply = await self.call("HEAD", f"/v2/images/{image_id}/file", **asked)
            self.assertEqual((reply.status, reply.body), (200, b""))
            expected = {
                "content-type": OCTETS,
                "content-length": str(SIZE),
                "content-md5": MD5,
                "etag": f'"sha512:{SHA512}"',
                "x-openstack-image-hash-algo": "sha512",
                "x-openstack-image-hash-value": SHA512,
            }
            self.assertEqual({name: reply.headers[name] for name in expected}, expected)
        empty = await self.active(b"")
        reply = await self.call("HEAD", f"/v2/images/{empty}/file")
        self.assertEqual((reply.status, reply.headers["content-length"]), (200, "0"))

    async def test_preferred_stores(self) -> None:
        """
        With one store there is nothing to prefer; an empty preference is none.
        """
        image_id = await self.active(DATA)
        for method in ("GET", "HEAD"):
            for query, status in [("prefer=main", 400), ("prefer=a,b", 400), ("prefer=", 200), ("preferred=a", 200)]:
                reply = await self.call(method, f"/v2/images/{image_id}/file?{query}")
                self.assertEqual((method, query, reply.status), (method, query, status))

    async def test_no_body(self) -> None:
        """
        A request for data has no body.
        """
        image_id = await self.active(DATA)
        for method in ("GET", "HEAD"):
            reply = await self.call(method, f"/v2/images/{image_id}/file", body=b"x")
            self.assertEqual((method, reply.status), (method, 400))


class FileDownloadTests(DownloadTests):
    """
    The same from files.
    """

    def make_app(self, **options: object) -> App:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        return super().make_app(**options)

    def make_store(self) -> IStore:
        return FilesystemStore(FilesystemSettings("main", [FolderChoice(str(self.folder.absolute()))]), inline_lanes())

    async def shorten(self, image_id: str) -> None:
        """
        Lose some data of an image.
        """
        (data,) = self.folder.glob(f"{image_id}*")
        data.write_bytes(DATA[:-1])


class SqlDownloadTests(SqlServiceTestCase):
    """
    Downloads of what a database knows.
    """

    async def test_whole(self) -> None:
        """
        What was stored comes back, with its hashes.
        """
        image_id = await self.active(DATA)
        reply = await self.call("GET", f"/v2/images/{image_id}/file", Range="bytes=5-9")
        self.assertEqual((reply.status, reply.body, reply.headers["content-md5"]), (206, DATA[5:10], MD5))
        reply = await self.call("HEAD", f"/v2/images/{image_id}/file")
        self.assertEqual(reply.headers["etag"], f'"sha512:{SHA512}"')
