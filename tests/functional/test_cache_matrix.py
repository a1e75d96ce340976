"""
Who gets image data from a cache: nobody whom the image service behind would refuse, in whatever way the data would
come, before glance-api and before a stock Glance.
"""

from __future__ import annotations

import hashlib
import http.client
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from glance_tx.streaming.units import MiB
from tests.functional.access import DATA, OCTETS, PERSONAS, VISIBILITIES, Gallery, Persona, Service
from tests.functional.daemons import CACHE_CONFIG
from tests.functional.keystone import PEOPLE
from tests.functional.relay import Relay
from tests.functional.stock import shared_stock_glance
from tests.functional.test_keystone import PASSWORD, KeystoneTestCase, with_keystone

WAYS = ("cold", "hit", "range", "prefetched")
LARGE = bytes(range(256)) * (8 * MiB // 256)


class MatrixTestCase(KeystoneTestCase):
    """
    A cache before an image service, by a wire that can be slow.
    """

    def start_service(self) -> int:
        """
        Start the service, and tell its port.
        """
        return self.start_api().port

    def setUp(self) -> None:
        super().setUp()
        port = self.start_service()
        self.relay = Relay(port)
        self.addCleanup(self.relay.close)
        config = with_keystone(CACHE_CONFIG, self.keystone, PASSWORD.format(user="glance"))
        config = config.replace("prefetch_token = node-token\n", "grant_ttl = 600\n")
        address = f"auth_url = {self.keystone.url}\nhttp_connect_timeout = 60\n"
        user = f"[service_user]\n{address}{PASSWORD.format(user='node')}"
        self.config = f"{config}\n[upstream]\nurls = http://127.0.0.1:{self.relay.port}\n{user}"
        self.node = self.make_daemon("glance-cache", self.folder / "node", self.config)
        self.node.start()
        self.service = Service(self.keystone, port)
        self.addCleanup(self.service.close)
        self.gallery = Gallery(self.service)
        self.tokens = {user: self.keystone.token(user) for user in PEOPLE}

    def fetch(self, port: int, image_id: str, persona: Persona, part: bool = False) -> tuple[int, str, bytes]:
        """
        Ask for data: status, ``X-Cache``, and the digest of what came, where it is data.
        """
        headers = {} if persona.user is None else {"X-Auth-Token": self.tokens[persona.user]}
        if part:
            headers["Range"] = "bytes=10-19"
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request("GET", f"/v2/images/{image_id}/file", headers=headers)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        digest = hashlib.sha256(body).digest() if response.status in {200, 206} else b""
        return response.status, response.headers.get("X-Cache", ""), digest

    def manage(self, method: str, path: str) -> None:
        answer = self.node.ask(method, path, self.tokens["admin"])
        self.assertLess(answer.status, 300, answer.body)

    def cached(self) -> list[str]:
        listing = json.loads(self.node.ask("GET", "/v2/cache", self.tokens["admin"]).body)
        return [each["image_id"] for each in listing["cached_images"]]

    def warm(self, image_id: str) -> None:
        self.fetch(self.node.port, image_id, PERSONAS["owner"])
        self.wait_for(lambda: image_id in self.cached())

    def prefetch(self, image_id: str) -> None:
        self.manage("DELETE", "/v2/cache")
        self.manage("PUT", f"/v2/cache/{image_id}")
        self.wait_for(lambda: image_id in self.cached())

    def test_matrix(self) -> None:
        """
        Whatever the cache has, however it came there, and while it comes, everybody is answered as the service
        answers; and whoever is served from the cache gets all of it.
        """
        wrong = [line for status in ("active", "deactivated") for line in self.differing(status)]
        if wrong:
            self.fail(f"{len(wrong)} answers differ:\n" + "\n".join(wrong))
        self.follow()

    def test_offline(self) -> None:
        """
        While the service cannot be reached, everybody whom it let have an image is served it, and nobody else: neither
        whom it refused, nor whom it would let have it no more after a change that went by way of the node.
        """
        self.node.stop()
        self.node.config = self.config.replace("grant_ttl = 600\n", "grant_ttl = 0\noffline_grace = 600\n")
        self.node.start()
        kept, changed = Gallery(self.service), Gallery(self.service)
        asked = [
            (gallery.find("active", visibility, persona), visibility, name)
            for gallery in (kept, changed)
            for visibility in VISIBILITIES
            for name, persona in PERSONAS.items()
        ]
        allowed = {}
        for image_id in dict.fromkeys(image_id for image_id, _, _ in asked):
            self.warm(image_id)
        for image_id, visibility, name in asked:
            allowed[image_id, name] = status = self.fetch(self.service.port, image_id, PERSONAS[name])[0]
            self.assertEqual(
                (visibility, self.fetch(self.node.port, image_id, PERSONAS[name])[0]), (visibility, status)
            )
        self.assertEqual(set(allowed.values()), {200, 401, 403, 404})
        withdrawn = {changed.find("active", each, persona) for each in VISIBILITIES for persona in PERSONAS.values()}
        for image_id in withdrawn:
            self.manage("POST", f"/v2/images/{image_id}/actions/deactivate")
        self.relay.close()
        digests = {200: hashlib.sha256(DATA).digest(), 206: hashlib.sha256(DATA[10:20]).digest()}
        for part in (False, True):
            for image_id, visibility, name in asked:
                expected: tuple[int, str, bytes] = (503, "", b"")
                if allowed[image_id, name] == 200 and image_id not in withdrawn:
                    status = 206 if part else 200
                    expected = (status, "offline", digests[status])
                found = self.fetch(self.node.port, image_id, PERSONAS[name], part)
                self.assertEqual((visibility, name, found), (visibility, name, expected))

    def differing(self, status: str) -> Iterator[str]:
        """
        Go through the images of one status, and say what is answered in another way.
        """
        for visibility in VISIBILITIES:
            images: dict[str, list[tuple[str, Persona]]] = {}
            for name, persona in PERSONAS.items():
                images.setdefault(self.gallery.find("active", visibility, persona), []).append((name, persona))
            for image_id, people in images.items():
                if status == "active":
                    self.cold(image_id)
                else:
                    self.warm(image_id)
                    # By way of the node, which knows of it by that.
                    self.manage("POST", f"/v2/images/{image_id}/actions/deactivate")
                yield from self.ask_all(f"{status} {visibility}", image_id, people, status == "active")

    def cold(self, image_id: str) -> None:
        if image_id in self.cached():
            self.manage("DELETE", f"/v2/cache/{image_id}")

    def ask_all(self, about: str, image_id: str, people: list[tuple[str, Persona]], active: bool) -> Iterator[str]:
        """
        Have everybody ask for one image in every way.
        """
        allowed = {name: self.fetch(self.service.port, image_id, persona)[0] for name, persona in people}
        for way in WAYS if active else ("hit", "range"):
            if active and way == "hit":
                self.warm(image_id)
            if way == "prefetched":
                self.prefetch(image_id)
            for name, persona in people:
                if way == "cold":
                    self.cold(image_id)
                status, state, digest = self.fetch(self.node.port, image_id, persona, way == "range")
                expected: tuple[int, str, bytes] = (allowed[name], "", b"")
                if allowed[name] == 200:
                    data = DATA[10:20] if way == "range" else DATA
                    code = 206 if way == "range" else 200
                    expected = (code, "fill" if way == "cold" else "hit", hashlib.sha256(data).digest())
                    if not active:
                        # What is passed on has no mark of a hit.
                        expected = (code, state, hashlib.sha256(data).digest())
                if way == "cold" and status == 200:
                    # The last byte goes out a moment before the image is durable.
                    self.wait_for(lambda image_id=image_id: image_id in self.cached())  # type: ignore[misc]
                if (status, state, digest) != expected:
                    yield f"{about}, {way}, {name}: {status} {state}, not {expected[:2]}"

    def follow(self) -> None:
        """
        While a fill for somebody else is under way, those who may read the image follow it, and others are refused.
        """
        for visibility in VISIBILITIES:
            image_id = self.large(visibility)
            names = ("reader", "admin", "other", "nobody", "owner")
            allowed = {name: self.fetch(self.service.port, image_id, PERSONAS[name])[0] for name in names}
            passed = self.relay.passed_bytes
            self.relay.hold(len(LARGE) // 2)
            with ThreadPoolExecutor(len(names) + 1) as pool:
                filling = pool.submit(self.fetch, self.node.port, image_id, PERSONAS["owner"])
                self.relay.wait_for(passed + len(LARGE) // 8)
                asking = {name: pool.submit(self.fetch, self.node.port, image_id, PERSONAS[name]) for name in names}
                # The client that the fill began with is a user of the entry, too.
                users = 1 + list(allowed.values()).count(200)
                self.wait_for(lambda image_id=image_id, users=users: self.users(image_id) == users)  # type: ignore[misc]
                self.relay.release()
                digest = hashlib.sha256(LARGE).digest()
                self.assertEqual(filling.result(), (200, "fill", digest))
                for name, asked in asking.items():
                    status, state, got = asked.result()
                    self.assertEqual((visibility, name, status), (visibility, name, allowed[name]))
                    self.assertEqual((state, got), ("follow", digest) if status == 200 else ("", b""))

    def users(self, image_id: str) -> int:
        """
        How many clients an image is on its way to.
        """
        answer = self.node.ask("GET", f"/v2/cache/{image_id}", self.tokens["admin"])
        entry = json.loads(answer.body)["entry"] if answer.status == 200 else None
        return 0 if entry is None else int(entry["followers"])

    def large(self, visibility: str) -> str:
        """
        Make an image of alice's that takes a while.
        """
        document = {"disk_format": "raw", "container_format": "bare", "visibility": "shared"}
        image_id: str = self.service.tell("alice", "POST", "/v2/images", document)["id"]
        path = f"/v2/images/{image_id}"
        self.assertEqual(self.service.ask("alice", "PUT", f"{path}/file", OCTETS, LARGE)[0], 204)
        if visibility != "shared":
            change = [{"op": "replace", "path": "/visibility", "value": visibility}]
            self.service.tell("admin", "PATCH", path, change)
        return image_id


class GlanceApiTests(MatrixTestCase):
    """
    Before glance-api.
    """


class StockTests(MatrixTestCase):
    """
    Before a stock Glance.
    """

    def start_service(self) -> int:
        return shared_stock_glance(self).port


# Their base is no test by itself.
del MatrixTestCase
