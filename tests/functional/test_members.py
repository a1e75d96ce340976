"""
Sharing images through the cache, with real processes.
"""

from __future__ import annotations

import json
from typing import Any

from tests.functional.daemons import ALICE, BOB, Answer
from tests.functional.test_cache import CacheTestCase


class MembersTests(CacheTestCase):
    """
    Members come, speak and go by way of the cache.
    """

    def ask(self, method: str, path: str, token: str, document: object = None) -> Answer:
        body = b"" if document is None else json.dumps(document).encode()
        return self.cache.ask(method, f"/v2/images{path}", token, body)

    def listed(self, query: str) -> list[Any]:
        images = json.loads(self.ask("GET", f"?{query}", BOB).body)["images"]
        return [image["id"] for image in images]

    def test_sharing(self) -> None:
        """
        A project that an image is shared with lists it as it says, and downloads it, all through the cache.
        """
        data = b"shared" * 1000
        image_id = self.upload(data, visibility="shared")
        members = f"/{image_id}/members"
        self.assertEqual(self.ask("GET", f"/{image_id}/file", BOB).status, 404)
        added = self.ask("POST", members, ALICE, {"member": "blue"})
        self.assertEqual((added.status, json.loads(added.body)["status"]), (200, "pending"))
        self.assertEqual(self.ask("POST", members, ALICE, {"member": "blue"}).status, 409)
        self.assertEqual((self.listed(""), self.listed("member_status=pending")), ([], [image_id]))
        self.assertEqual(self.ask("PUT", f"{members}/blue", ALICE, {"status": "accepted"}).status, 403)
        self.assertEqual(self.ask("PUT", f"{members}/blue", BOB, {"status": "accepted"}).status, 200)
        self.assertEqual(self.listed(""), [image_id])
        downloaded = self.ask("GET", f"/{image_id}/file", BOB)
        self.assertEqual((downloaded.status, downloaded.body), (200, data))
        shown = json.loads(self.ask("GET", members, BOB).body)["members"]
        self.assertEqual([(member["member_id"], member["status"]) for member in shown], [("blue", "accepted")])
        self.assertEqual(self.ask("DELETE", f"{members}/blue", BOB).status, 403)
        self.assertEqual(self.ask("DELETE", f"{members}/blue", ALICE).status, 204)
        self.assertEqual(self.ask("GET", f"/{image_id}", BOB).status, 404)
        self.assertEqual(self.listed("member_status=all"), [])
