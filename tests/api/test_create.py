"""
Creating images: what may be said of them, and what is answered.
"""

from __future__ import annotations

import json
from typing import Any

from tests.api.service import FORMATS, UNKNOWN_ID, ServiceTestCase, SqlServiceTestCase

LONG = "x" * 256
FOUR_BYTES = "\U0001f600"

BLANK: dict[str, Any] = {
    "name": None,
    "status": "queued",
    "visibility": "shared",
    "protected": False,
    "os_hidden": False,
    "checksum": None,
    "os_hash_algo": None,
    "os_hash_value": None,
    "owner": "p1",
    "size": None,
    "virtual_size": None,
    "container_format": None,
    "disk_format": None,
    "min_ram": 0,
    "min_disk": 0,
    "tags": [],
    "schema": "/v2/schemas/image",
}

REFUSED: list[tuple[dict[str, object], int]] = [
    ({"name": 1}, 400),
    ({"name": LONG}, 400),
    ({"name": FOUR_BYTES}, 400),
    ({"name": "a\0b"}, 400),
    ({"id": "1"}, 400),
    ({"id": UNKNOWN_ID + "0"}, 400),
    ({"id": UNKNOWN_ID + "\n"}, 400),
    ({"id": None}, 400),
    ({"id": "\0"}, 400),
    ({"id": FOUR_BYTES}, 400),
    ({"visibility": "secret"}, 400),
    ({"visibility": None}, 400),
    ({"visibility": []}, 400),
    ({"protected": "true"}, 400),
    ({"protected": 1}, 400),
    ({"os_hidden": None}, 400),
    ({"disk_format": "zip"}, 400),
    ({"disk_format": ["raw"]}, 400),
    ({"container_format": "RAW"}, 400),
    ({"min_ram": -1}, 400),
    ({"min_ram": 2**31}, 400),
    ({"min_ram": 1.5}, 400),
    ({"min_ram": "1"}, 400),
    ({"min_disk": True}, 400),
    ({"min_disk": 10**30}, 400),
    ({"tags": "a"}, 400),
    ({"tags": [1]}, 400),
    ({"tags": [LONG]}, 400),
    ({"tags": [FOUR_BYTES]}, 400),
    ({"tags": ["a\0"]}, 400),
    ({"tags": {"a": 1}}, 400),
    ({"owner": LONG}, 400),
    ({"owner": 1}, 400),
    ({"custom": 1}, 400),
    ({"custom": None}, 400),
    ({"custom": ["a"]}, 400),
    ({"custom": {"a": "b"}}, 400),
    ({"custom": "a\0"}, 400),
    ({"custom": FOUR_BYTES}, 400),
    ({"custom": "x" * 65_536}, 400),
    ({LONG: "a"}, 400),
    ({FOUR_BYTES: "a"}, 400),
    ({"a\0": "a"}, 400),
    ({"": "a"}, 400),
    ({"kernel_id": "not a UUID"}, 400),
    ({"cinder_encryption_key_deletion_policy": "perhaps"}, 400),
    ({"status": "active"}, 403),
    ({"size": 1}, 403),
    ({"virtual_size": 1}, 403),
    ({"checksum": "0"}, 403),
    ({"created_at": "2024-01-01T00:00:00Z"}, 403),
    ({"updated_at": "2024-01-01T00:00:00Z"}, 403),
    ({"direct_url": "file:///etc/passwd"}, 403),
    ({"self": "/"}, 403),
    ({"file": "/"}, 403),
    ({"schema": "/"}, 403),
    ({"stores": "main"}, 403),
    ({"location": "http://elsewhere/"}, 403),
    ({"locations": []}, 403),
    ({"deleted": True}, 403),
    ({"deleted_at": None}, 403),
    ({"os_glance_import_task": "x"}, 403),
    ({"owner": "p2"}, 403),
    ({"owner": None}, 403),
    ({"visibility": "public"}, 403),
    ({f"p{number}": "" for number in range(129)}, 413),
    ({"tags": [f"t{number}" for number in range(129)]}, 413),
    ({"tags": [f"{number:x}" for number in range(12_000)]}, 413),
    ({"custom": "x" * 120_000}, 413),
]
"""What a member cannot say of a new image, and the status of the answer."""


class CreateTests(ServiceTestCase):
    """
    ``POST /v2/images``.
    """

    async def test_empty_object(self) -> None:
        """
        An image of which nothing is said has stock's defaults, relative links to itself, and an absolute Location.
        """
        reply = await self.call("POST", "/v2/images", {})
        self.assertEqual(reply.status, 201)
        image = reply.json
        path = f"/v2/images/{image['id']}"
        dates = {"created_at": "2024-05-06T07:08:09Z", "updated_at": "2024-05-06T07:08:09Z"}
        self.assertEqual(image, BLANK | dates | {"id": image["id"], "self": path, "file": f"{path}/file"})
        self.assertEqual(reply.headers["location"], f"http://localhost{path}")
        self.assertNotIn("openstack-image-import-methods", reply.headers)
        self.assertNotIn("openstack-image-store-ids", reply.headers)

    async def test_everything(self) -> None:
        """
        What is said of an image comes back: in the answer, and when it is shown.
        """
        said: dict[str, object] = {
            "id": "ABCDEFAB-1234-4321-ABCD-ABCDEFABCDEF",
            "name": "Größe €",
            "visibility": "community",
            "protected": True,
            "os_hidden": True,
            "owner": "p1",
            "disk_format": "qcow2",
            "container_format": "bare",
            "min_ram": 2**31 - 1,
            "min_disk": 1,
            "tags": ["b", "a", "b"],
            "custom": "öäü",
            "description": "",
            "x" * 255: "y" * 65_535,
            "kernel_id": None,
            "deleted_by": "not reserved",
        }
        reply = await self.call("POST", "/v2/images", said)
        self.assertEqual(reply.status, 201)
        expected = {**said, "id": "abcdefab-1234-4321-abcd-abcdefabcdef", "tags": ["a", "b"], "kernel_id": ""}
        self.assertEqual({name: reply.json[name] for name in said}, expected)
        self.assertIn("Größe".encode(), reply.body)
        self.assertEqual(await self.show("ABCDEFAB-1234-4321-ABCD-ABCDEFABCDEF"), reply.json)

    async def test_refused(self) -> None:
        """
        Values that cannot be, names that are not the client's, and too much of anything are refused.
        """
        for values, status in REFUSED:
            reply = await self.call("POST", "/v2/images", values)
            self.assertEqual((str(values)[:80], reply.status), (str(values)[:80], status))
        self.assertEqual((await self.call("GET", "/v2/images")).json["images"], [])

    async def test_hashes_are_dropped(self) -> None:
        """
        The strong hash is accepted and ignored, so that clients may send back what they were shown.
        """
        reply = await self.call("POST", "/v2/images", {"os_hash_algo": "md5", "os_hash_value": 4})
        self.assertEqual((reply.status, reply.json["os_hash_algo"]), (201, None))

    async def test_limits_are_reached(self) -> None:
        """
        As many properties and tags as the quotas say, and the longest texts, are accepted.
        """
        values: dict[str, object] = {f"p{number}": "v" for number in range(128)}
        reply = await self.call(
            "POST", "/v2/images", {**values, "tags": [f"t{number}" for number in range(128)], "name": "€" * 255}
        )
        self.assertEqual(reply.status, 201)

    async def test_people(self) -> None:
        """
        Members create images for their project, administrators for any; readers and the unknown create none.
        """
        for token, values, status in [
            ("owner", {"visibility": "community"}, 201),
            ("owner", {"visibility": "private"}, 201),
            ("owner", {"owner": "p1"}, 201),
            ("reader", {}, 403),
            ("roleless", {}, 403),
            ("admin", {"visibility": "public"}, 201),
            ("admin", {"owner": "p2"}, 201),
            ("admin", {"owner": None}, 201),
            ("garbage", {}, 401),
            (None, {}, 401),
        ]:
            reply = await self.call("POST", "/v2/images", values, token=token)
            self.assertEqual((token, values, reply.status), (token, values, status))

    async def test_id_taken(self) -> None:
        """
        An id is used once: neither another project's, nor that of a deleted image, in whatever letters.
        """
        taken = "abcdefab-1234-4321-abcd-abcdefabcdef"
        await self.create(id=taken)
        for token in ("owner", "stranger", "admin"):
            self.assertEqual((await self.call("POST", "/v2/images", {"id": taken.upper()}, token=token)).status, 409)
        self.assertEqual((await self.call("DELETE", f"/v2/images/{taken}")).status, 204)
        for token in ("owner", "stranger", "admin"):
            self.assertEqual((await self.call("POST", "/v2/images", {"id": taken}, token=token)).status, 409)

    async def test_bodies(self) -> None:
        """
        Only a JSON object is an image; a repeated name counts once, the last one.
        """
        for body, status in [
            (b"", 400),
            (b"   ", 400),
            (b"{", 400),
            (b'"text"', 400),
            (b"1", 400),
            (b"null", 400),
            (b"[]", 400),
            (b'[{"name": "a"}]', 400),
            (b'{"name": "\xff"}', 400),
            (b'{"name": "a\0b"}', 400),
            (b'{"name": "\\u0000"}', 400),
            (b'{"os_hash_algo": "\\u0000"}', 400),
            (b'{"name": "\\ud800"}', 400),
            (b'{"min_ram": NaN}', 400),
            (b'{"a":' * 100_000, 413),
            (b'{"a":' * 20_000, 400),
            (b'{"a":' * 1000 + b"1" + b"}" * 1000, 400),
            (b'{"tags":' + b"[" * 50_000 + b"]" * 50_000 + b"}", 400),
            (b"{}" + b" " * 114_686, 201),
            (b"{}" + b" " * 114_687, 413),
            (b'{"name": 1, "name": "last"}', 201),
        ]:
            reply = await self.call("POST", "/v2/images", body=body)
            self.assertEqual((body[:40], reply.status), (body[:40], status))
        self.assertEqual(reply.json["name"], "last")

    async def test_any_content_type(self) -> None:
        """
        The type that a body claims to have does not matter.
        """
        for kind in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", ";"):
            reply = await self.call("POST", "/v2/images", {}, Content_Type=kind)
            self.assertEqual((kind, reply.status), (kind, 201))

    async def test_chunked(self) -> None:
        """
        A document may come in chunks.
        """
        data = json.dumps({**FORMATS, "name": "chunked"}).encode()
        wire = await self.connect()
        wire.send(b"POST /v2/images HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-Auth-Token: owner\r\n")
        wire.send(b"Transfer-Encoding: chunked\r\n\r\n")
        wire.send(b"".join(b"1\r\n%c\r\n" % byte for byte in data) + b"0\r\n\r\n")
        self.assertIn(b" 201 ", (await wire.ended()).splitlines()[0])


class SqlCreateTests(SqlServiceTestCase):
    """
    ``POST /v2/images`` into a database.
    """

    async def test_refused(self) -> None:
        """
        What is refused is refused before the database has a say, and nothing of it stays there.
        """
        for values, status in REFUSED:
            reply = await self.call("POST", "/v2/images", values)
            self.assertEqual((str(values)[:80], reply.status), (str(values)[:80], status))
        self.assertEqual((await self.call("GET", "/v2/images")).json["images"], [])

    async def test_id_taken(self) -> None:
        """
        An id is used once, also after the image is gone.
        """
        await self.create(id=UNKNOWN_ID)
        self.assertEqual((await self.call("POST", "/v2/images", {"id": UNKNOWN_ID}, token="stranger")).status, 409)
        await self.call("DELETE", f"/v2/images/{UNKNOWN_ID}")
        self.assertEqual((await self.call("POST", "/v2/images", {"id": UNKNOWN_ID})).status, 409)
