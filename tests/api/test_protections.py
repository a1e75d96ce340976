"""
Protected properties, as clients meet them.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from glance_tx.domain.protections import PropertyAction, Protection, Protections
from glance_tx.domain.values import ImageRules
from glance_tx.identity.caller import Caller
from tests.api.service import OLDER_PATCH_TYPE, ServiceTestCase
from tests.api.test_change import add, remove, replace


def section(pattern: str, **roles: Collection[str]) -> Protection:
    """
    Permit what is named to these roles.
    """

    def permit(wanted: Collection[str]) -> object:
        return lambda caller: bool(caller.roles & frozenset(wanted))

    return Protection(re.compile(pattern), {PropertyAction(action): permit(wanted) for action, wanted in roles.items()})


BOTH = {"member", "admin"}


class ProtectionTests(ServiceTestCase):
    """
    Properties of which some are for administrators, and one is for members alone.
    """

    rules = ImageRules(property_quota=5)
    protections = Protections(
        [
            section("^hidden$", create={"admin"}, read={"admin"}, update={"admin"}, delete={"admin"}),
            section("^fixed$", create=BOTH, read=BOTH),
            section("^given$", create={"admin"}, read=BOTH, update=BOTH),
            section("^blind$", create={"member", "admin"}, read={"admin"}),
            section("^theirs$", create={"member"}, read={"member"}, update={"member"}, delete={"member"}),
            section("^free$", create=BOTH, read=BOTH, update=BOTH, delete=BOTH),
        ]
    )

    async def test_create(self) -> None:
        """
        Who may not create a property cannot have it from the beginning; administrators are not special.
        """
        for token, name, status in [
            ("owner", "hidden", 403),
            ("owner", "given", 403),
            ("owner", "unknown", 403),
            ("owner", "fixed", 201),
            ("owner", "blind", 201),
            ("admin", "hidden", 201),
            ("admin", "theirs", 403),
            ("admin", "unknown", 403),
        ]:
            reply = await self.call("POST", "/v2/images", {name: "v"}, token=token)
            self.assertEqual((token, name, reply.status), (token, name, status))
            shown = status == 201 and (token, name) != ("owner", "blind")
            self.assertEqual((name, name in reply.json if status == 201 else False), (name, shown))

    async def test_reading(self) -> None:
        """
        What somebody may not read is absent for them: when shown, listed, changed, and looked for.
        """
        image_id = await self.create(
            token="admin", owner="p1", visibility="public", hidden="secret", fixed="f", free="x"
        )
        for token, seen in [("owner", {"fixed", "free"}), ("admin", {"hidden", "fixed", "free"}), ("reader", set())]:
            [listed] = (await self.call("GET", "/v2/images", token=token)).json["images"]
            for image in (await self.show(image_id, token=token), listed):
                self.assertEqual((token, {"hidden", "fixed", "free"} & image.keys()), (token, seen))
            for name, value in [("hidden", "secret"), ("fixed", "f")]:
                found = (await self.call("GET", f"/v2/images?{name}={value}", token=token)).json
                self.assertEqual((token, name, len(found["images"])), (token, name, int(name in seen)))
                self.assertNotIn("next", found)
        for patch in ([], [add("/free", "y")]):
            reply = await self.patch(image_id, patch)
            self.assertEqual((reply.status, "hidden" in reply.json), (200, False))
        self.assertEqual((await self.show(image_id))["hidden"], "secret")

    async def test_change(self) -> None:
        """
        Changing and removing have rights of their own; what cannot be read cannot be replaced or removed, as if it
        were not there.
        """
        image_id = await self.create(token="admin", owner="p1", hidden="h", fixed="f", given="g", free="x", blind="b")
        before = await self.show(image_id)
        for operation, status in [
            (replace("/hidden"), 409),
            (remove("/hidden"), 409),
            (add("/hidden"), 403),
            (replace("/fixed"), 403),
            (add("/fixed"), 403),
            (remove("/fixed"), 403),
            (remove("/given"), 403),
            (add("/unknown"), 403),
            (replace("/unknown"), 409),
            (replace("/blind"), 409),
            (remove("/blind"), 409),
            (add("/os_glance_x"), 403),
        ]:
            # What was permitted before it is not kept either.
            reply = await self.patch(image_id, [add("/free", "changed"), operation])
            self.assertEqual((operation, reply.status), (operation, status))
        self.assertEqual(await self.show(image_id), before)
        for operation in (replace("/given", "n"), add("/given", "n"), add("/blind", "n"), remove("/free")):
            self.assertEqual((operation, (await self.patch(image_id, [operation])).status), (operation, 200))
        image = await self.show(image_id)
        self.assertEqual((image["given"], image["blind"], "free" in image), ("n", "n", False))

    async def test_administrators_are_not_special(self) -> None:
        """
        An administrator neither sees nor changes what is the members' alone.
        """
        image_id = await self.create(theirs="t")
        self.assertNotIn("theirs", await self.show(image_id, token="admin"))
        for operation, status in [(replace("/theirs"), 409), (remove("/theirs"), 409), (add("/theirs"), 403)]:
            self.assertEqual((await self.patch(image_id, [operation], token="admin")).status, status)
        self.assertEqual((await self.show(image_id, token="owner"))["theirs"], "t")

    async def test_older_dialect(self) -> None:
        """
        In the older dialect adding what is there is a conflict, unless it cannot be seen: then it is for those who may
        create it.
        """
        image_id = await self.create(token="admin", owner="p1", hidden="h", given="g", blind="b")
        for patch, status in [
            ({"add": "/given", "value": "v"}, 409),
            ({"add": "/hidden", "value": "v"}, 403),
            ({"add": "/blind", "value": "v"}, 200),
        ]:
            reply = await self.patch(image_id, [patch], kind=OLDER_PATCH_TYPE)
            self.assertEqual((patch, reply.status), (patch, status))

    async def test_the_quota_counts_what_is_hidden(self) -> None:
        """
        A property that the caller does not see takes its room all the same.
        """
        image_id = await self.create(token="admin", owner="p1", hidden="h", fixed="f", given="g", blind="b")
        self.assertEqual((await self.patch(image_id, [add("/free")])).status, 200)
        self.assertEqual((await self.patch(image_id, [remove("/free"), add("/free"), add("/theirs")])).status, 413)


class CallerTests(ServiceTestCase):
    """
    Without protections.
    """

    async def test_open(self) -> None:
        """
        Everybody who may change an image may do anything to its properties.
        """
        self.assertTrue(Protections().allows(PropertyAction.DELETE, "any", Caller(None, None, ())))
        image_id = await self.create(a="1")
        for operation in (replace("/a", "2"), add("/b"), remove("/a")):
            self.assertEqual((await self.patch(image_id, [operation])).status, 200)
