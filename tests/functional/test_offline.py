"""
A caching node that loses its image service, as real processes.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from tests.functional.daemons import (
    ADMIN,
    ALICE,
    ALICE_READER,
    BOB,
    CACHE_CONFIG,
    UPSTREAM_CONFIG,
    Answer,
    DaemonProcess,
    DaemonTestCase,
)
from tests.services import own_redis

DATA = bytes(range(256)) * 5000
OCTETS = {"Content-Type": "application/octet-stream"}
WARNING = '110 - "Response is Stale"'

BACK_SECONDS = 50.0
"""Ten times what is promised: this machine may be busy."""


class OfflineTestCase(DaemonTestCase):
    """
    A node that remembers permissions for a moment only, before an image service, with a Redis of their own.
    """

    options = "grant_ttl = 1\noffline_grace = 600\n"

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.redis = own_redis(self)
        redis = f"\n[redis]\nurl = {self.redis.url}\n"
        self.api = self.make_daemon("glance-api", self.folder / "api", UPSTREAM_CONFIG + redis)
        self.api.start()
        config = f"{CACHE_CONFIG}{self.options}[upstream]\nurls = {self.api.url}\n{redis}"
        self.node = self.make_daemon("glance-cache", self.folder / "node", config)
        self.node.start()
        self.wait_for(lambda: self.node.count("Redis tells of changes") == 1)

    def upload(self) -> str:
        """
        Make an image of alice's that is shared with bob.
        """
        document = {"disk_format": "raw", "container_format": "bare", "visibility": "shared", "name": "golden"}
        image_id: str = self.tell("POST", "/v2/images", ALICE, document)["id"]
        path = f"/v2/images/{image_id}"
        self.assertEqual(self.api.ask("PUT", f"{path}/file", ALICE, DATA, OCTETS).status, 204)
        self.tell("POST", f"{path}/members", ALICE, {"member": "blue"})
        self.tell("PUT", f"{path}/members/blue", BOB, {"status": "accepted"})
        return image_id

    def tell(
        self, method: str, path: str, token: str, document: object = None, daemon: DaemonProcess | None = None
    ) -> dict[str, str]:
        """
        Ask the service, past the node, for something that has to succeed.
        """
        body = None if document is None else json.dumps(document).encode()
        answer = (daemon or self.api).ask(method, path, token, body, {"Content-Type": "application/json"})
        self.assertLess(answer.status, 300, answer.body)
        told: dict[str, str] = json.loads(answer.body) if answer.body else {}
        return told

    def download(self, image_id: str, token: str | None = ALICE, **headers: str) -> Answer:
        return self.node.ask("GET", f"/v2/images/{image_id}/file", token, headers=headers)

    def hit(self, image_id: str, token: str, state: str = "hit") -> bool:
        """
        Whether somebody is served from the cache.
        """
        answer = self.download(image_id, token)
        self.assertIn(answer.status, (200, 503))
        self.assertTrue(answer.status == 503 or answer.body == DATA)
        self.assertEqual(answer.headers.get("warning"), WARNING if answer.headers.get("x-cache") == "offline" else None)
        return answer.headers.get("x-cache") == state

    def warm(self, image_id: str, *tokens: str) -> None:
        """
        Cache an image, and have people be permitted to read it.
        """
        for token in tokens:
            self.wait_for(lambda token=token: self.hit(image_id, token))  # type: ignore[misc]

    def offline(self, image_id: str, token: str) -> None:
        """
        Somebody soon is served as from a node that is offline; his permission has to end first.
        """
        self.wait_for(lambda: self.hit(image_id, token, "offline"))

    def hits(self, image_id: str) -> int:
        cached = json.loads(self.node.ask("GET", "/v2/cache", ADMIN).body)["cached_images"]
        return sum(each["hits"] for each in cached if each["image_id"] == image_id)

    def refusals(self, image_id: str) -> dict[str, int]:
        """
        What people are told who never had a permission.
        """
        callers = {"reader": ALICE_READER, "garbage": "garbage", "nobody": None}
        return {who: self.download(image_id, token).status for who, token in callers.items()}

    def freeze(self, daemon: DaemonProcess) -> None:
        """
        Have a daemon do nothing at all, as if its machine had gone from the network.
        """
        os.killpg(daemon.pid, signal.SIGSTOP)
        self.addCleanup(self.thaw, daemon)

    def thaw(self, daemon: DaemonProcess) -> None:
        """
        Have it go on.
        """
        if daemon._process is not None:
            os.killpg(daemon.pid, signal.SIGCONT)

    def back(self, image_id: str, token: str = ALICE) -> None:
        """
        The node soon is as always.
        """
        self.wait_for(lambda: self.hit(image_id, token), BACK_SECONDS)


class DataTests(OfflineTestCase):
    """
    Image data while the service is away.
    """

    def test_killed(self) -> None:
        """
        The service is killed: who was permitted to read a cached image goes on being served, whole and in part, and is
        told how; the hits are counted. Nobody else gets anything. When it is back all is as before.
        """
        image_id, cold = self.upload(), self.upload()
        self.warm(image_id, ALICE, BOB, ADMIN)
        before = self.refusals(image_id)
        self.assertEqual(before, {"reader": 403, "garbage": 401, "nobody": 401})
        self.api.kill()
        self.offline(image_id, ALICE)
        self.offline(image_id, BOB)
        part = self.download(image_id, BOB, Range="bytes=10-19")
        self.assertEqual((part.status, part.body), (206, DATA[10:20]))
        self.assertEqual((part.headers["x-cache"], part.headers["warning"]), ("offline", WARNING))
        self.assertEqual(self.refusals(image_id), dict.fromkeys(before, 503))
        self.assertEqual(self.download(cold).status, 503)
        told = {each: json.loads(self.node.ask("GET", f"/v2/cache/{each}/explain").body) for each in (image_id, cold)}
        self.assertEqual(
            {each: facts["outcome"] for each, facts in told.items()}, {image_id: "offline", cold: "refused"}
        )
        self.assertTrue(told[image_id]["caller"]["offline"])
        hits = self.hits(image_id)
        for _ in range(3):
            self.assertTrue(self.hit(image_id, ALICE, "offline"))
        self.wait_for(lambda: self.hits(image_id) >= hits + 3)
        self.api.start()
        self.back(image_id)
        self.assertEqual(self.refusals(image_id), before)

    def test_frozen(self) -> None:
        """
        The service says nothing at all, on connections that stay: the same.
        """
        image_id = self.upload()
        self.warm(image_id, ALICE)
        self.freeze(self.api)
        self.offline(image_id, ALICE)
        self.assertTrue(self.hit(image_id, ALICE, "offline"))
        self.thaw(self.api)
        self.back(image_id)

    def test_redis_as_well(self) -> None:
        """
        Redis goes, too, and comes back, and the service only later: the same.
        """
        image_id = self.upload()
        self.warm(image_id, ALICE)
        self.redis.kill()
        self.api.kill()
        self.offline(image_id, ALICE)
        self.wait_for(lambda: self.node.count("Redis tells nothing of changes") == 1)
        self.redis.start()
        self.wait_for(lambda: self.node.count("Redis tells of changes") == 2)
        self.offline(image_id, ALICE)
        self.api.start()
        self.back(image_id)

    def test_withdrawn(self) -> None:
        """
        What the node heard of while the service could not be reached counts at once; what it missed counts as soon
        as the service is back.
        """
        heard, missed = self.upload(), self.upload()
        for image_id in (heard, missed):
            self.warm(image_id, ALICE, BOB)
        self.node.stop()
        # Another service of the same cloud, which the node cannot reach.
        other = self.make_daemon("glance-api", self.api.folder, self.api.config)
        self.node.start()
        for image_id in (heard, missed):
            self.warm(image_id, ALICE, BOB)
        self.wait_for(lambda: self.node.count("Redis tells of changes") == 2)
        self.api.kill()
        other.start()
        for image_id in (heard, missed):
            self.offline(image_id, BOB)
        self.tell("DELETE", f"/v2/images/{heard}/members/blue", ALICE, daemon=other)
        self.wait_for(lambda: self.download(heard, BOB).status == 503)
        self.redis.kill()
        self.wait_for(lambda: self.node.count("Redis tells nothing of changes") == 1)
        self.tell("DELETE", f"/v2/images/{missed}/members/blue", ALICE, daemon=other)
        self.assertTrue(self.hit(missed, BOB, "offline"))
        other.kill()
        self.api.start()
        for image_id in (heard, missed):
            self.wait_for(lambda image_id=image_id: self.download(image_id, BOB).status == 404, BACK_SECONDS)  # type: ignore[misc]


class MetadataTests(OfflineTestCase):
    """
    What else clients need to boot a server.
    """

    def test_repeated(self) -> None:
        """
        Lists, records, schemas and versions are repeated to those who got them, as they were, and to nobody else;
        the node says that it is offline, and of what it did meanwhile. When the service is back, so are its answers.
        """
        image_id = self.upload()
        self.warm(image_id, ALICE)
        paths = ("/v2/images", "/v2/images?name=golden", f"/v2/images/{image_id}", "/v2/schemas/image", "/versions")
        before = {path: self.node.ask("GET", path, ALICE) for path in paths}
        self.freeze(self.api)
        self.offline(image_id, ALICE)
        for path, answer in before.items():
            repeated = self.node.ask("GET", path, ALICE)
            self.assertEqual((repeated.status, repeated.body), (answer.status, answer.body), path)
            self.assertEqual((repeated.headers["x-cache"], repeated.headers["warning"]), ("offline", WARNING))
            self.assertGreaterEqual(int(repeated.headers["age"]), 0)
        stats = json.loads(self.node.ask("GET", "/v2/cache/stats", ADMIN).body)
        self.assertEqual(stats["offline"]["repeated"], len(paths))
        self.assertGreaterEqual(stats["offline"]["times"], 1)
        self.assertGreater(stats["offline"]["since"], 0)
        self.assertGreater(stats["answers"]["offline"], 0)
        self.assertEqual(self.node.ask("GET", "/healthcheck", None).status, 200)
        self.thaw(self.api)
        self.back(image_id)
        for path, answer in before.items():
            fresh = self.node.ask("GET", path, ALICE)
            self.assertEqual((fresh.status, fresh.body), (answer.status, answer.body), path)
            self.assertNotIn("x-cache", fresh.headers)
        self.assertIsNone(json.loads(self.node.ask("GET", "/v2/cache/stats", ADMIN).body)["offline"]["since"])


class SealedTests(OfflineTestCase):
    """
    A node whose permissions outlive it.
    """

    options = f"{OfflineTestCase.options}offline_grants = true\n"

    def test_cold_start(self) -> None:
        """
        The service, Redis and the node are killed, and the node alone is started again: who was permitted to read a
        cached image is served it, and nobody else. Nowhere in its folder is a token.
        """
        image_id = self.upload()
        self.warm(image_id, ALICE)
        before = self.refusals(image_id)
        sealed = self.node.folder / "cache" / "offline-0.sealed"
        self.wait_for(lambda: sealed.exists() and sealed.stat().st_size > 200)
        self.redis.kill()
        self.api.kill()
        self.node.kill()
        for path in (self.node.folder / "cache").rglob("*"):
            if path.is_file():
                self.assertNotIn(ALICE.encode(), path.read_bytes())
        self.node.start()
        self.assertEqual(self.node.count("permissions may live on while offline"), 1)
        self.assertTrue(self.hit(image_id, ALICE, "offline"))
        self.assertEqual(self.refusals(image_id), dict.fromkeys(before, 503))
        self.assertEqual(self.download(image_id, BOB).status, 503)
        self.api.start()
        self.back(image_id)
        self.assertEqual(self.refusals(image_id), before)

    def test_damaged(self) -> None:
        """
        A file of permissions that was changed is ignored, and said to be.
        """
        image_id = self.upload()
        self.warm(image_id, ALICE)
        self.node.stop()
        self.api.kill()
        sealed = self.node.folder / "cache" / "offline-0.sealed"
        sealed.write_bytes(sealed.read_bytes()[:-1] + b"x")
        self.node.start()
        self.assertEqual(self.download(image_id).status, 503)
        self.assertEqual(self.node.count("is ignored: it is torn, or was changed"), 1)


class ShortGraceTests(OfflineTestCase):
    """
    A grace that ends during the test.
    """

    options = "grant_ttl = 0\noffline_grace = 15\n"

    def test_ends(self) -> None:
        """
        When the grace is over nobody is served any more.
        """
        image_id = self.upload()
        self.warm(image_id, ALICE)
        self.api.kill()
        self.offline(image_id, ALICE)
        self.wait_for(lambda: self.download(image_id).status == 503, 150.0)


class NoGraceTests(OfflineTestCase):
    """
    The default.
    """

    options = "grant_ttl = 0\n"

    def test_none(self) -> None:
        """
        Nobody is served whom the service was not asked about.
        """
        image_id = self.upload()
        self.warm(image_id, ALICE)
        self.api.kill()
        self.assertEqual(self.download(image_id).status, 503)
