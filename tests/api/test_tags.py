"""
Single tags of images.
"""

from __future__ import annotations

from urllib.parse import quote

from glance_tx.domain.values import ImageRules
from tests.api.service import UNKNOWN_ID, Reply, ServiceTestCase, SqlServiceTestCase

LONGEST = "x" * 255
ODD_TAGS = [LONGEST, "a", "A", " a", "größe", "日本", "a%2fb", "a?b#c", "a,b", ".", "..", "'\"<>&\\", "\t"]
"""Tags of which each is another one."""


class TagTests(ServiceTestCase):
    """
    ``PUT`` and ``DELETE /v2/images/{image_id}/tags/{tag}``.
    """

    rules = ImageRules(tag_quota=20)

    async def tag(
        self, method: str, image_id: str, tag: str, *, token: str = "owner", body: bytes = b"", raw: bool = False
    ) -> Reply:
        """
        Add a tag or take it off.

        :param raw: The tag is encoded already.
        """
        encoded = tag if raw else quote(tag, safe="")
        return await self.call(method, f"/v2/images/{image_id}/tags/{encoded}", token=token, body=body)

    async def test_tags_come_and_go(self) -> None:
        """
        Any text is a tag, added once however often, and taken off once; the answers are empty.
        """
        image_id = await self.create(tags=["kept"])
        for tag in ODD_TAGS:
            for _ in range(2):
                reply = await self.tag("PUT", image_id, tag)
                self.assertEqual((tag, reply.status, reply.body), (tag, 204, b""))
        self.assertEqual((await self.show(image_id))["tags"], sorted([*ODD_TAGS, "kept"]))
        for tag in ODD_TAGS:
            for status in (204, 404):
                self.assertEqual((tag, (await self.tag("DELETE", image_id, tag)).status), (tag, status))
        self.assertEqual((await self.show(image_id))["tags"], ["kept"])

    async def test_a_change_has_its_time(self) -> None:
        """
        A tag that comes or goes changes the image, one that was there already does not.
        """
        image_id = await self.create(name="n", custom="v")
        times = [(await self.show(image_id))["updated_at"]]
        for method in ("PUT", "PUT", "DELETE"):
            await self.tag(method, image_id, "t")
            image = await self.show(image_id)
            times.append(image["updated_at"])
        created, added, again, removed = times
        self.assertEqual(added, again)
        self.assertLess(created, added)
        self.assertLess(again, removed)
        self.assertEqual((image["name"], image["custom"]), ("n", "v"))

    async def test_refused(self) -> None:
        """
        What is no tag is refused, and what cannot be part of a path is not found.
        """
        image_id = await self.create()
        for method, tag, status in [
            ("PUT", "x" * 256, 400),
            ("PUT", "%F0%9F%98%80", 400),
            ("PUT", "%00", 400),
            ("PUT", "%FF", 400),
            ("PUT", "a%2fb", 404),
            ("PUT", "a/b", 404),
            ("PUT", "", 404),
            ("DELETE", "x" * 256, 404),
            ("DELETE", "%F0%9F%98%80", 404),
            ("DELETE", "absent", 404),
            ("DELETE", "a%2fb", 404),
        ]:
            reply = await self.tag(method, image_id, tag, raw=True)
            self.assertEqual((method, tag[:20], reply.status), (method, tag[:20], status))
        reply = await self.tag("PUT", image_id, "%F0%9F%98%80", raw=True)
        self.assertIn(b"Basic Multilingual Plane", reply.body)
        self.assertEqual((await self.show(image_id))["tags"], [])

    async def test_a_body_is_refused(self) -> None:
        """
        Neither method takes a body.
        """
        image_id = await self.create(tags=["t"])
        for method in ("PUT", "DELETE"):
            self.assertEqual((await self.tag(method, image_id, "t", body=b"{}")).status, 400)
        self.assertEqual((await self.show(image_id))["tags"], ["t"])

    async def test_quota(self) -> None:
        """
        An image at its quota takes no further tag, and keeps those it has, asked for again or not.
        """
        tags = [f"{number:02}" for number in range(20)]
        image_id = await self.create(tags=tags[:-1])
        for method, tag, status in [
            ("PUT", tags[-1], 204),
            ("PUT", "more", 413),
            ("PUT", tags[0], 204),
            ("DELETE", tags[0], 204),
            ("PUT", "more", 204),
        ]:
            self.assertEqual((tag, (await self.tag(method, image_id, tag)).status), (tag, status))
        self.assertEqual((await self.show(image_id))["tags"], [*tags[1:], "more"])

    async def test_people(self) -> None:
        """
        Who may change an image may tag it; who merely sees it may not, for others there is none.
        """
        for token, visibility, status in [
            ("owner", "private", 204),
            ("admin", "private", 204),
            ("reader", "private", 403),
            ("stranger", "public", 403),
            ("stranger", "private", 404),
            ("roleless", "public", 404),
        ]:
            image_id = await self.create(token="admin", owner="p1", visibility=visibility)
            for method in ("PUT", "DELETE"):
                reply = await self.tag(method, image_id, "t", token=token)
                self.assertEqual((token, visibility, method, reply.status), (token, visibility, method, status))
            # Who may not change an image is told so, whatever the tag.
            for method in ("PUT", "DELETE"):
                reply = await self.tag(method, image_id, "x" * 256, token=token)
                self.assertEqual(reply.status, status if status != 204 else {"PUT": 400, "DELETE": 404}[method])

    async def test_unknown(self) -> None:
        """
        There is no tagging of what is no image, and no other method.
        """
        for image_id in (UNKNOWN_ID, "x"):
            for method in ("PUT", "DELETE"):
                self.assertEqual((await self.tag(method, image_id, "t")).status, 404)
        reply = await self.tag("GET", await self.create(), "t")
        self.assertEqual((reply.status, reply.headers["allow"]), (405, "DELETE, PUT"))


class SqlTagTests(SqlServiceTestCase):
    """
    The same in a database.
    """

    async def test_tags_come_and_go(self) -> None:
        """
        Tags are added once and taken off once, letter by letter.
        """
        image_id = await self.create()
        for tag in ("a", "A", "größe"):
            for method, status in [("PUT", 204), ("PUT", 204), ("DELETE", 204), ("DELETE", 404), ("PUT", 204)]:
                reply = await self.call(method, f"/v2/images/{image_id}/tags/{quote(tag)}")
                self.assertEqual((tag, method, reply.status), (tag, method, status))
        self.assertEqual((await self.show(image_id))["tags"], ["A", "a", "größe"])
