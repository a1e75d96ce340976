"""
Changing images: both dialects of patches, and everything they are refused for.
"""

from __future__ import annotations

from typing import Any

from tests.api.service import OLDER_PATCH_TYPE, PATCH_TYPE, UNKNOWN_ID, ServiceTestCase, SqlServiceTestCase

LONG = "x" * 256
FOUR_BYTES = "\U0001f600"
BASE = [
    "name",
    "visibility",
    "protected",
    "os_hidden",
    "owner",
    "disk_format",
    "container_format",
    "min_ram",
    "min_disk",
    "tags",
]
READ_ONLY = [
    "id",
    "status",
    "checksum",
    "os_hash_algo",
    "os_hash_value",
    "size",
    "virtual_size",
    "created_at",
    "updated_at",
    "direct_url",
    "self",
    "file",
    "schema",
    "stores",
]
RESERVED = ["location", "locations", "deleted", "deleted_at", "os_glance_importing_to_stores"]


def add(path: object, value: object = "v") -> dict[str, Any]:
    return {"op": "add", "path": path, "value": value}


def replace(path: object, value: object = "v") -> dict[str, Any]:
    return {"op": "replace", "path": path, "value": value}


def remove(path: object) -> dict[str, Any]:
    return {"op": "remove", "path": path}


MALFORMED: list[tuple[object, int]] = [
    ({}, 400),
    ({"op": "add", "path": "/a", "value": "b"}, 400),
    (["add"], 400),
    ([[]], 400),
    ([None], 400),
    ([{}], 400),
    ([{"path": "/a", "value": "b"}], 400),
    ([{"op": None, "path": "/a", "value": "b"}], 400),
    ([{"op": ["add"], "path": "/a", "value": "b"}], 400),
    ([{"op": "move", "from": "/name", "path": "/a"}], 400),
    ([{"op": "copy", "from": "/name", "path": "/a"}], 400),
    ([{"op": "test", "path": "/name", "value": "b"}], 400),
    ([{"op": "ADD", "path": "/a", "value": "b"}], 400),
    ([{"add": "/a", "value": "b"}], 400),
    ([{"op": "add", "value": "b"}], 400),
    ([{"op": "add", "path": "/a"}], 400),
    ([{"op": "replace", "path": "/name"}], 400),
    ([add("a")], 400),
    ([add("")], 400),
    ([add("/")], 400),
    ([add("//")], 400),
    ([add("//a")], 400),
    ([add("/a/")], 400),
    ([add("/a//b")], 400),
    ([add("/a~")], 400),
    ([add("/a~2")], 400),
    ([add("/a/b")], 400),
    ([add("/tags/0")], 400),
    ([add("/tags/-")], 400),
    ([remove("/tags/0")], 400),
    ([add("/status/x")], 400),
    ([add("/name/x")], 400),
    ([add(None)], 400),
    ([add(1)], 400),
    ([add(["a"])], 400),
    ([add({"a": 1})], 400),
    ([add("/a\0")], 400),
    ([remove("/a\0")], 400),
    ([add("/" + LONG)], 400),
    ([add("/" + FOUR_BYTES)], 400),
    ([add("/a", 1)], 400),
    ([add("/a", None)], 400),
    ([add("/a", ["b"])], 400),
    ([add("/a", FOUR_BYTES)], 400),
    ([add("/a", "x" * 65_536)], 400),
    ([replace("/name", 1)], 400),
    ([replace("/name", LONG)], 400),
    ([replace("/visibility", "secret")], 400),
    ([replace("/protected", "true")], 400),
    ([replace("/disk_format", "zip")], 400),
    ([replace("/min_ram", -1)], 400),
    ([replace("/min_disk", 2**31)], 400),
    ([replace("/tags", "a")], 400),
    ([replace("/tags", [LONG])], 400),
    ([replace("/tags", None)], 400),
    ([replace("/absent")], 409),
    ([remove("/absent")], 409),
    ([add("/a"), remove("/a"), remove("/a")], 409),
    *[([operation(f"/{name}")], 403) for name in READ_ONLY + RESERVED for operation in (add, replace, remove)],
    *[([remove(f"/{name}")], 403) for name in BASE],
    ([add("/locations/-", {"url": "file:///etc/passwd", "metadata": {}})], 403),
    ([remove("/locations/0")], 403),
    ([replace("/owner", "p2")], 403),
    ([replace("/owner", "p1")], 403),
    ([replace("/visibility", "public")], 403),
    ([add(f"/p{number}") for number in range(129)], 413),
    ([replace("/tags", [str(number) for number in range(129)])], 413),
    ([replace("/tags", [f"{number:x}" for number in range(12_000)])], 413),
    ([replace("/tags", [f"{number:x}" for number in range(100_000)])], 413),
    ([add("/a") for _ in range(100_000)], 413),
    ([add("/good"), replace("/name", 1)], 400),
]
"""Patches in the newer dialect that the owner of a queued image cannot make, and the status of the answer."""


class ChangeTests(ServiceTestCase):
    """
    ``PATCH /v2/images/{image_id}``.
    """

    async def test_refused(self) -> None:
        """
        A patch that is malformed, or not the caller's to make, is refused whole.
        """
        image_id = await self.create(name="before", tags=["t"])
        before = await self.show(image_id)
        for patch, status in MALFORMED:
            reply = await self.patch(image_id, patch)
            self.assertEqual((str(patch)[:120], reply.status), (str(patch)[:120], status))
        self.assertEqual(await self.show(image_id), before)

    async def test_accepted(self) -> None:
        """
        Operations are done in order, and all of them are saved; the answer is the whole image.
        """
        image_id = await self.create(kept="1", dropped="2")
        patch = [
            replace("/name", "new"),
            add("/name", "newer"),
            add("/visibility", "community"),
            replace("/tags", ["b", "a", "a"]),
            add("/kept", "3"),
            remove("/dropped"),
            add("/a~1b~0c~01", "slash"),
            add("/first"),
            replace("/first", "second"),
            replace("/protected", True),  # noqa: FBT003 - a JSON value
            replace("/min_disk", 5),
            replace("/disk_format", None),
        ]
        reply = await self.patch(image_id, patch)
        self.assertEqual(reply.status, 200)
        expected = {
            "name": "newer",
            "visibility": "community",
            "tags": ["a", "b"],
            "kept": "3",
            "a/b~c~1": "slash",
            "first": "second",
            "protected": True,
            "min_disk": 5,
            "disk_format": None,
        }
        self.assertEqual({name: reply.json[name] for name in expected}, expected)
        self.assertNotIn("dropped", reply.json)
        self.assertEqual(await self.show(image_id), reply.json)

    async def test_nothing(self) -> None:
        """
        A patch without operations changes nothing, not even the time of the last change.
        """
        image_id = await self.create()
        before = await self.show(image_id)
        for kind in (PATCH_TYPE, OLDER_PATCH_TYPE):
            reply = await self.patch(image_id, [], kind=kind)
            self.assertEqual((reply.status, reply.json), (200, before))

    async def test_older_dialect(self) -> None:
        """
        In the older dialect the operation is a name of the object, and adding does not overwrite.
        """
        image_id = await self.create(there="1")
        for patch, status in [
            ([{"add": "/a", "value": "b"}], 200),
            ([{"add": "/a", "value": "c"}], 409),
            ([{"add": "/name", "value": "c"}], 409),
            ([{"replace": "/name", "value": "c"}], 200),
            ([{"replace": "/there", "value": "2"}], 200),
            ([{"replace": "/absent", "value": "2"}], 409),
            ([{"remove": "/there"}], 200),
            ([{"remove": "/there"}], 409),
            ([{"remove": "/name"}], 403),
            ([{"add": "/status", "value": "active"}], 403),
            ([{"add": "/b", "remove": "/a", "value": "b"}], 400),
            ([{"op": "add", "path": "/b", "value": "b"}], 400),
            ([{"move": "/b"}], 400),
            ([{"add": "/b"}], 400),
            ([{"add": "b", "value": "b"}], 400),
            ([{"add": None, "value": "b"}], 400),
            ([{}], 400),
            ([3], 400),
            ({}, 400),
        ]:
            reply = await self.patch(image_id, patch, kind=OLDER_PATCH_TYPE)
            self.assertEqual((patch, reply.status), (patch, status))
        image = await self.show(image_id)
        self.assertEqual((image["a"], image["name"], image.get("there")), ("b", "c", None))

    async def test_media_types(self) -> None:
        """
        Other types are refused with the names of both that would do; parameters and case do not matter.
        """
        image_id = await self.create()
        for kind in ("application/json", "application/json-patch+json", "text/plain", f"{PATCH_TYPE}, text/plain", ""):
            reply = await self.patch(image_id, [], kind=kind)
            self.assertEqual((kind, reply.status), (kind, 415))
            self.assertEqual(reply.headers["accept-patch"], f"{PATCH_TYPE}, {OLDER_PATCH_TYPE}")
        reply = await self.call("PATCH", f"/v2/images/{image_id}", [])
        self.assertEqual(reply.status, 415)
        for kind in (f"{PATCH_TYPE}; charset=utf-8", PATCH_TYPE.upper(), f"{OLDER_PATCH_TYPE};v=1"):
            self.assertEqual((await self.patch(image_id, [], kind=kind)).status, 200)

    async def test_media_type_twice(self) -> None:
        """
        Two types at once are refused: another server might read the other one.
        """
        image_id = await self.create()
        headers = f"X-Auth-Token: owner\r\nContent-Type: {PATCH_TYPE}\r\nContent-Type: text/plain\r\n"
        answer = await self.ask("PATCH", f"/v2/images/{image_id}", headers, b"[]")
        self.assertEqual(answer.status, 400)

    async def test_bodies(self) -> None:
        """
        A patch without a JSON document is refused.
        """
        image_id = await self.create()
        for body, status in [(b"", 400), (b"[", 400), (b"3", 400), (b"[" * 60_000, 400), (b" " * 200_000, 413)]:
            reply = await self.call("PATCH", f"/v2/images/{image_id}", body=body, Content_Type=PATCH_TYPE)
            self.assertEqual((body[:10], reply.status), (body[:10], status))

    async def test_formats_stay_with_the_data(self) -> None:
        """
        Once there are data their formats are fixed; everything else may still change.
        """
        image_id = await self.active()
        for token in ("owner", "admin"):
            for name in ("disk_format", "container_format"):
                for value in ("ami", None):
                    self.assertEqual(
                        (await self.patch(image_id, [replace(f"/{name}", value)], token=token)).status, 403
                    )
        self.assertEqual((await self.patch(image_id, [replace("/name", "n"), add("/a")])).status, 200)

    async def test_administrator(self) -> None:
        """
        An administrator may change other projects' images, give them away, and make them public.
        """
        image_id = await self.create()
        patch = [replace("/owner", "p2"), replace("/visibility", "public")]
        reply = await self.patch(image_id, patch, token="admin")
        self.assertEqual((reply.status, reply.json["owner"], reply.json["visibility"]), (200, "p2", "public"))
        self.assertEqual((await self.patch(image_id, [add("/a")])).status, 403)
        self.assertEqual((await self.patch(image_id, [add("/a")], token="stranger")).status, 200)

    async def test_quotas_stop_only_growth(self) -> None:
        """
        An image at its quota may change the properties it has, exchange them and lose them.
        """
        image_id = await self.create(**{f"p{number}": "v" for number in range(128)})
        for patch, status in [
            ([add("/p0", "new")], 200),
            ([add("/other")], 413),
            ([add("/other"), remove("/p0")], 200),
            ([remove("/p1")], 200),
        ]:
            self.assertEqual((patch, (await self.patch(image_id, patch)).status), (patch, status))

    async def test_ids(self) -> None:
        """
        What is no image is not found.
        """
        for image_id in (UNKNOWN_ID, "x", "..", "%2e%2e", FOUR_BYTES_ENCODED, "a" * 7000):
            self.assertEqual((image_id[:20], (await self.patch(image_id, [])).status), (image_id[:20], 404))


FOUR_BYTES_ENCODED = "%F0%9F%98%80"


class SqlChangeTests(SqlServiceTestCase):
    """
    ``PATCH /v2/images/{image_id}`` in a database.
    """

    async def test_refused(self) -> None:
        """
        A patch is refused whole, and nothing of it reaches the database.
        """
        image_id = await self.create(name="before", tags=["t"])
        before = await self.show(image_id)
        for patch, status in MALFORMED:
            reply = await self.patch(image_id, patch)
            self.assertEqual((str(patch)[:120], reply.status), (str(patch)[:120], status))
        self.assertEqual(await self.show(image_id), before)

    async def test_many_operations(self) -> None:
        """
        As many operations as fit a body are done.
        """
        image_id = await self.create()
        patch = [operation for _ in range(1000) for operation in (add("/a"), remove("/a"))]
        reply = await self.patch(image_id, [*patch, add("/a", "last")])
        self.assertEqual((reply.status, reply.json["a"]), (200, "last"))
