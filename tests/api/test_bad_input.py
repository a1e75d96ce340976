"""
What a service with a real database makes of everything that is wrong.
"""

from __future__ import annotations

import re
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from tests.api.bad_input import attempts, lies
from tests.api.service import SqlServiceTestCase
from tests.web.serving import reactor

ANSWER_BYTES = 4096


class BadInputTests(SqlServiceTestCase):
    """
    Wrong requests are refused, and change nothing.
    """

    async def setUp(self) -> None:
        await super().setUp()
        self.image_id = await self.create(name="kept", visibility="shared", tags=["kept"], custom="kept")
        self.before = await self.show(self.image_id)

    async def assert_unchanged(self) -> None:
        """
        There is the one image, as it was, without members.
        """
        self.assertEqual(await self.show(self.image_id), self.before)
        await self.assert_alone()

    async def assert_alone(self) -> None:
        """
        There is the one image, without members.
        """
        listed = await self.call("GET", "/v2/images", token="admin")
        self.assertEqual([image["id"] for image in listed.json["images"]], [self.image_id])
        members = await self.call("GET", f"/v2/images/{self.image_id}/members")
        self.assertEqual(members.json["members"], [])

    async def test_attempts(self) -> None:
        """
        Each has its own answer, which says in a few words what is wrong, and never quotes the token.
        """
        for attempt in attempts():
            headers = {name.replace("-", "_"): value for name, value in attempt.headers.items()}
            path = attempt.path.replace("{id}", self.image_id)
            reply = await self.call(attempt.method, path, body=attempt.body, **headers)
            self.assertEqual((attempt, reply.status), (attempt, attempt.status), reply)
            self.assertIn(attempt.says.encode(), reply.body, attempt)
            self.assertLess(len(reply.body), ANSWER_BYTES, attempt)
        await self.assert_unchanged()

    async def test_lies(self) -> None:
        """
        A body that is not as long as its head says is refused, or comes to nothing when the client leaves.
        """
        for lie in lies():
            wire = await self.connect()
            wire.send(lie.request(self.image_id, "owner"))
            if lie.leaves:
                wire.transport.loseWriteConnection()
            statuses = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+)", await wire.ended())]
            self.assertEqual((lie, statuses), (lie, list(lie.statuses)))
            # An upload that began, and was undone, leaves its time.
            self.assertEqual({**await self.settled(), "updated_at": self.before["updated_at"]}, self.before)
            await self.assert_alone()

    async def settled(self) -> dict[str, Any]:
        """
        Look the image up when an upload that broke off has been undone.
        """
        while (image := await self.show(self.image_id))["status"] == "saving":
            undone: Deferred[None] = deferLater(reactor, 0.01)
            await undone
        return image
