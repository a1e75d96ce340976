"""
Which of 401, 403 and 404 a refusal is, row by row of the contract's table.
"""

from __future__ import annotations

from tests.api.service import FORMATS, UNKNOWN_ID, ServiceTestCase

RULES = {
    "show": "get_image",
    "download": "download_image",
    "facts": "download_image",
    "change": "modify_image",
    "upload": "upload_image",
    "delete": "delete_image",
}
"""What can be tried on an image, one of `ACTIONS` of the service's tests, and the rule that is asked for it."""


class RefusalTestCase(ServiceTestCase):
    """
    A service where ``owner`` may do nothing with images that a rule has a say in, and ``admin`` everything.
    """

    async def assert_answers(self, token: str | None, expected: dict[str, int], **image: object) -> None:
        """
        Everything that can be tried on an image is answered like this, and as for one that does not exist where it
        is answered 404. Nothing happens to the image.
        """
        image_id = await self.active(token="admin", **{"owner": "p1", **image})
        before = await self.show(image_id)
        for action, status in expected.items():
            self.assertEqual((action, await self.attempt(action, image_id, token)), (action, status))
            if status == 404:
                self.assertEqual(await self.attempt(action, UNKNOWN_ID, token), 404)
        self.assertEqual(await self.show(image_id), before)


class DefaultRefusalTests(RefusalTestCase):
    """
    With the built-in rules.
    """

    async def test_no_valid_token(self) -> None:
        """
        Without a token, or with one that is not valid, everything is answered 401: of an image that is there or not,
        and of lists.
        """
        for token in (None, "", "expired", "own er"):
            for visibility in ("public", "private"):
                await self.assert_answers(token, dict.fromkeys(RULES, 401), visibility=visibility)
            for action in RULES:
                self.assertEqual(await self.attempt(action, UNKNOWN_ID, token), 401)
            for method, path in (("GET", "/v2/images"), ("POST", "/v2/images")):
                self.assertEqual((await self.call(method, path, token=token)).status, 401)

    async def test_not_visible(self) -> None:
        """
        An image that ``get_image`` refuses is not found, whatever is tried.
        """
        await self.assert_answers("stranger", dict.fromkeys(RULES, 404), visibility="private")
        await self.assert_answers("roleless", dict.fromkeys(RULES, 404), visibility="public")

    async def test_visible(self) -> None:
        """
        What another rule refuses, of an image that ``get_image`` shows, is forbidden.
        """
        forbidden = {action: 403 for action in RULES if action != "show"}
        await self.assert_answers("reader", {"show": 200, **forbidden})
        await self.assert_answers("foreign-reader", {"show": 200, **forbidden}, visibility="community")

    async def test_no_object(self) -> None:
        """
        What is about no image is forbidden: to list, to create, to give away and to publish.
        """
        for token, method, document in (
            ("roleless", "GET", None),
            ("roleless", "POST", FORMATS),
            ("reader", "POST", FORMATS),
            ("owner", "POST", {**FORMATS, "owner": "p2"}),
            ("owner", "POST", {**FORMATS, "visibility": "public"}),
        ):
            reply = await self.call(method, "/v2/images", document, token=token)
            self.assertEqual((token, document, reply.status), (token, document, 403))
        self.assertEqual((await self.call("GET", "/v2/images", token="admin")).json["images"], [])


class ClosedRefusalTests(RefusalTestCase):
    """
    Where the operator's rules leave nothing but seeing to anybody but administrators.
    """

    policy_rules = dict.fromkeys({*RULES.values(), "add_image", "get_images"} - {"get_image"}, "role:admin")

    async def test_one_by_one(self) -> None:
        """
        Every rule that is set is asked: its refusal is 403 to the owner, and still 404 to whom ``get_image`` hides
        the image from.
        """
        forbidden = {action: 403 for action in RULES if action != "show"}
        await self.assert_answers("owner", {"show": 200, **forbidden})
        await self.assert_answers("stranger", dict.fromkeys(RULES, 404))
        for method, document in (("GET", None), ("POST", FORMATS)):
            self.assertEqual((await self.call(method, "/v2/images", document)).status, 403)


class HiddenRefusalTests(RefusalTestCase):
    """
    Where the operator's rules hide images that they let people work with.
    """

    policy_rules = {"get_image": "role:admin", **{rule: "@" for rule in RULES.values() if rule != "get_image"}}

    async def test_hidden(self) -> None:
        """
        Whoever may not see an image finds none, even where every other rule passes; a list leaves it out.
        """
        for visibility in ("private", "public"):
            await self.assert_answers("owner", dict.fromkeys(RULES, 404), visibility=visibility)
        reply = await self.call("GET", "/v2/images")
        self.assertEqual((reply.status, reply.json["images"]), (200, []))
