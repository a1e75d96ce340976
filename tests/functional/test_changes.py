"""
Caching nodes that hear of changes from the image service by way of Redis, as real processes.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.functional.daemons import ADMIN, ALICE, BOB, CACHE_CONFIG, UPSTREAM_CONFIG, DaemonProcess, DaemonTestCase
from tests.services import own_redis

DATA = bytes(range(256)) * 5000
OCTETS = {"Content-Type": "application/octet-stream"}
PATCH = {"Content-Type": "application/openstack-images-v2.1-json-patch"}

PROMISED_SECONDS = 10.0
"""Ten times what is promised: this machine may be busy."""


class ChangesTests(DaemonTestCase):
    """
    Two nodes that remember permissions for ten minutes, and a Redis of their own.
    """

    def setUp(self) -> None:
        folder = Path(self.mktemp()).absolute()
        self.redis = own_redis(self)
        redis = f"\n[redis]\nurl = {self.redis.url}\n"
        self.api = self.make_daemon("glance-api", folder / "api", UPSTREAM_CONFIG + redis)
        self.api.start()
        more = f"grant_ttl = 600\n[upstream]\nurls = {self.api.url}\n{redis}"
        self.nodes = [
            self.make_daemon("glance-cache", folder / name, f"{CACHE_CONFIG}node_name = {name}\n{more}")
            for name in ("one", "two")
        ]
        for node in self.nodes:
            node.start(wait=False)
        for node in self.nodes:
            node.wait_until_up()
            self.wait_for(lambda node=node: node.count("Redis tells of changes") == 1)  # type: ignore[misc]

    def upload(self) -> str:
        """
        Make an image of alice's that is shared with bob.
        """
        document = json.dumps({"disk_format": "raw", "container_format": "bare", "visibility": "shared"}).encode()
        image_id: str = json.loads(self.api.ask("POST", "/v2/images", ALICE, document).body)["id"]
        path = f"/v2/images/{image_id}"
        self.assertEqual(self.api.ask("PUT", f"{path}/file", ALICE, DATA, OCTETS).status, 204)
        self.tell("POST", f"{path}/members", ALICE, {"member": "blue"})
        self.tell("PUT", f"{path}/members/blue", BOB, {"status": "accepted"})
        return image_id

    def tell(self, method: str, path: str, token: str, document: object = None) -> None:
        """
        Change something at the service, past the nodes.
        """
        body = None if document is None else json.dumps(document).encode()
        headers = PATCH if method == "PATCH" else {"Content-Type": "application/json"}
        answer = self.api.ask(method, path, token, body, headers)
        self.assertLess(answer.status, 300, answer.body)

    def download(self, node: DaemonProcess, token: str, image_id: str) -> tuple[int, str | None]:
        answer = node.ask("GET", f"/v2/images/{image_id}/file", token)
        if answer.status == 200:
            self.assertEqual(answer.body, DATA)
        return answer.status, answer.headers.get("x-cache")

    def warm(self, image_id: str) -> None:
        """
        Have both nodes cache an image, and remember that alice and bob may read it.
        """
        for node in self.nodes:
            for token in (ALICE, BOB):
                self.wait_for(lambda node=node, token=token: self.hit(node, token, image_id))  # type: ignore[misc]

    def hit(self, node: DaemonProcess, token: str, image_id: str) -> bool:
        return self.download(node, token, image_id) == (200, "hit")

    def refused(self, token: str, image_id: str, status: int) -> None:
        """
        Both nodes soon refuse somebody.
        """
        for node in self.nodes:
            self.wait_for(lambda node=node: self.download(node, token, image_id)[0] == status, PROMISED_SECONDS)  # type: ignore[misc]

    def cached(self, node: DaemonProcess) -> list[str]:
        return [each["image_id"] for each in json.loads(node.ask("GET", "/v2/cache", ADMIN).body)["cached_images"]]

    def test_withdrawn(self) -> None:
        """
        A member that is removed, an image that is shared no longer, deactivated or deleted: refused on every node
        soon, and to nobody else. What is deleted leaves every node.
        """
        image_id = self.upload()
        path = f"/v2/images/{image_id}"
        self.warm(image_id)
        self.tell("DELETE", f"{path}/members/blue", ALICE)
        self.refused(BOB, image_id, 404)
        self.assertTrue(all(self.hit(node, ALICE, image_id) for node in self.nodes))
        self.tell("POST", f"{path}/members", ALICE, {"member": "blue"})
        self.tell("PUT", f"{path}/members/blue", BOB, {"status": "accepted"})
        self.warm(image_id)
        self.tell("PATCH", path, ALICE, [{"op": "replace", "path": "/visibility", "value": "private"}])
        self.refused(BOB, image_id, 404)
        self.tell("POST", f"{path}/actions/deactivate", ADMIN)
        self.refused(ALICE, image_id, 403)
        self.tell("POST", f"{path}/actions/reactivate", ADMIN)
        self.wait_for(lambda: self.hit(self.nodes[0], ALICE, image_id))
        self.tell("DELETE", path, ALICE)
        self.refused(ALICE, image_id, 404)
        for node in self.nodes:
            self.wait_for(lambda node=node: not self.cached(node), PROMISED_SECONDS)  # type: ignore[misc]
        self.assertEqual(self.api.count(f"GET {path}/file 200"), len(self.nodes))

    def test_nodes(self) -> None:
        """
        Each node lists both, with what they have and did.
        """
        image_id = self.upload()
        self.warm(image_id)
        for node in self.nodes:
            self.wait_for(lambda node=node: self.listed(node) == [("one", 1, True), ("two", 1, True)])  # type: ignore[misc]

    def listed(self, node: DaemonProcess) -> list[tuple[str, int, bool]]:
        """
        The nodes that a node lists: their names, their images, and whether they had hits.
        """
        nodes = json.loads(node.ask("GET", "/v2/cache/nodes", ADMIN).body)["nodes"]
        return [(each["node"], each["entries"], each["hits"] > 0) for each in nodes]

    def test_missed(self) -> None:
        """
        While Redis is away permissions that were given live on. When it comes back none of them counts, and images
        that were deleted meanwhile leave the nodes.
        """
        kept, deleted = self.upload(), self.upload()
        for image_id in (kept, deleted):
            self.warm(image_id)
        self.redis.kill()
        for node in self.nodes:
            self.wait_for(lambda node=node: node.count("Redis tells nothing of changes") == 1)  # type: ignore[misc]
        self.tell("DELETE", f"/v2/images/{deleted}", ALICE)
        self.tell("DELETE", f"/v2/images/{kept}/members/blue", ALICE)
        self.assertTrue(all(self.hit(node, BOB, image_id) for node in self.nodes for image_id in (kept, deleted)))
        self.redis.start()
        self.refused(BOB, kept, 404)
        self.refused(ALICE, deleted, 404)
        for node in self.nodes:
            self.wait_for(lambda node=node: self.cached(node) == [kept], PROMISED_SECONDS)  # type: ignore[misc]
        self.assertTrue(all(self.hit(node, ALICE, kept) for node in self.nodes))
