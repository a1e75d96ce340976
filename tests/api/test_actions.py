"""
Deactivating and reactivating images.
"""

from __future__ import annotations

from attrs import evolve

from glance_tx.domain.images import ImageStatus
from tests.api.service import UNKNOWN_ID, ServiceTestCase, SqlServiceTestCase

STATUS_AFTER = {"deactivate": "deactivated", "reactivate": "active"}


class ActionTests(ServiceTestCase):
    """
    ``POST /v2/images/{image_id}/actions/...``.
    """

    async def act(self, image_id: str, action: str, *, token: str = "owner", body: bytes = b"") -> int:
        """
        Ask for an action, and tell the status of the answer.
        """
        path = f"/v2/images/{image_id}/actions/{action}"
        return (await self.call("POST", path, token=token, body=body)).status

    async def test_there_and_back(self) -> None:
        """
        Both actions may be repeated; in between the owner has no data, the administrator has, and no data are lost.
        """
        image_id = await self.active(b"precious")
        before = await self.show(image_id)
        for action, for_owner in [("deactivate", 403), ("deactivate", 403), ("reactivate", 200), ("reactivate", 200)]:
            self.assertEqual(await self.act(image_id, action), 204)
            image = await self.show(image_id)
            self.assertEqual(image["status"], STATUS_AFTER[action])
            self.assertEqual(image | {"status": "active", "updated_at": before["updated_at"]}, before)
            for token, status in [("owner", for_owner), ("admin", 200)]:
                reply = await self.call("GET", f"/v2/images/{image_id}/file", token=token)
                self.assertEqual((action, token, reply.status), (action, token, status))
        self.assertEqual(reply.body, b"precious")

    async def test_nothing_changes_when_repeated(self) -> None:
        """
        An action whose end is reached already leaves the time of the last change as it is.
        """
        image_id = await self.active()
        for action in STATUS_AFTER:
            await self.act(image_id, action)
            before = await self.show(image_id)
            self.assertEqual(await self.act(image_id, action), 204)
            self.assertEqual(await self.show(image_id), before)

    async def test_other_statuses(self) -> None:
        """
        An image that has no data, or is about to have some, is neither deactivated nor activated.
        """
        active = await self.images.get(await self.active())
        for number, status in enumerate(ImageStatus):
            if status in {ImageStatus.ACTIVE, ImageStatus.DEACTIVATED, ImageStatus.DELETED}:
                continue
            image_id = f"{UNKNOWN_ID[:-2]}{number:02}"
            await self.images.add(evolve(active, id=image_id, status=status))
            for action in STATUS_AFTER:
                self.assertEqual((status, action, await self.act(image_id, action)), (status, action, 403))
            self.assertEqual((await self.show(image_id))["status"], status)

    async def test_a_body_is_refused(self) -> None:
        """
        The actions take no body.
        """
        image_id = await self.active()
        for action in STATUS_AFTER:
            self.assertEqual(await self.act(image_id, action, body=b"{}"), 400)
        self.assertEqual((await self.show(image_id))["status"], "active")

    async def test_people(self) -> None:
        """
        The owner's members and administrators do it; who merely sees the image may not, for others there is none.
        """
        for token, visibility, status in [
            ("owner", "private", 204),
            ("admin", "private", 204),
            ("reader", "private", 403),
            ("stranger", "public", 403),
            ("stranger", "private", 404),
            ("roleless", "public", 404),
        ]:
            image_id = await self.active(token="admin", owner="p1", visibility=visibility)
            for action in STATUS_AFTER:
                found = await self.act(image_id, action, token=token)
                self.assertEqual((token, visibility, action, found), (token, visibility, action, status))

    async def test_unknown(self) -> None:
        """
        There is nothing to do to an image that is not there, no third action, and no other method.
        """
        image_id = await self.active()
        for action in STATUS_AFTER:
            for wrong in (UNKNOWN_ID, "x", "%F0%9F%98%80"):
                self.assertEqual(await self.act(wrong, action), 404)
            reply = await self.call("PUT", f"/v2/images/{image_id}/actions/{action}")
            self.assertEqual((reply.status, reply.headers["allow"]), (405, "POST"))
        self.assertEqual(await self.act(image_id, "explode"), 404)


class SqlActionTests(SqlServiceTestCase):
    """
    The same in a database.
    """

    async def test_there_and_back(self) -> None:
        """
        The status goes there and back, and nothing else changes.
        """
        image_id = await self.active()
        before = await self.show(image_id)
        for action, status in STATUS_AFTER.items():
            self.assertEqual((await self.call("POST", f"/v2/images/{image_id}/actions/{action}")).status, 204)
            image = await self.show(image_id)
            self.assertEqual(image["status"], status)
        self.assertEqual(image | {"updated_at": before["updated_at"]}, before)
