"""
A caching node with its page, and a browser before it.
"""

from __future__ import annotations

import atexit
import http.client
import json
from functools import cache

from tests.functional.browser import Browser
from tests.functional.daemons import ADMIN, ALICE
from tests.functional.test_cache import CacheTestCase, make_data
from tests.ports import free_port
from tests.services import OwnRedis, own_redis

SIGN_IN = "#token"


@cache
def browser() -> Browser:
    """
    Start a browser, once for all tests of this process.
    """
    started = Browser()
    atexit.register(started.close)
    return started


class DashboardCase(CacheTestCase):
    """
    A test that looks at the page of a node; all of a process share the browser.

    :ivar redis: The node's index, the test's own.
    """

    redis: OwnRedis
    more = ""
    """Further options of the cache, in its section ``[cache]``."""

    def setUp(self) -> None:
        self.browser = browser()
        self.redis = own_redis(self)
        self.management_port = free_port()
        self.cache_options = f"""{self.more}
[redis]
url = {self.redis.url}

[management]
bind_port = {self.management_port}
"""
        super().setUp()

    @property
    def url(self) -> str:
        """
        Where the page is.
        """
        return f"http://127.0.0.1:{self.management_port}/dashboard"

    def sign_in(self, token: str = ADMIN) -> None:
        """
        Open the page, and show it a token.
        """
        self.browser.open(self.url)
        self.browser.type(SIGN_IN, token)
        self.browser.click("#sign-in button")
        self.browser.find("#board")
        self.browser.until(lambda: self.browser.text("#link-text") == "live", "the page does not hear of what happens")

    def small_image(self, name: str, size: int = 100_000) -> str:
        """
        Put a small image into the service.
        """
        return self.upload(make_data(size), name=name)

    def queued(self) -> list[str]:
        """
        Ask the node which images are in its queue.
        """
        jobs = json.loads(self.cache.ask("GET", "/v2/cache/jobs", ADMIN).body)["jobs"]
        return [job["image_id"] for job in jobs]

    def cached(self) -> list[str]:
        """
        Ask the node which images it has.
        """
        listed = json.loads(self.cache.ask("GET", "/v2/cache", ADMIN).body)["cached_images"]
        return [each["image_id"] for each in listed]

    def check_port(self) -> None:
        """
        See that the port for operators serves the page, its parts and the routes of management, these with the same
        door as on the port for clients, and no image data.
        """
        self.assertEqual(self.ask("GET", "/dashboard").status, 200)
        for path in ("index.html", "routes.py", "", "..", "../routes.py", "%2e%2e%2froutes.py", "main.js/", "x"):
            self.assertEqual((path, self.ask("GET", f"/dashboard/{path}").status), (path, 404))
        self.assertEqual(self.ask("POST", "/dashboard").status, 405)
        for path in ("", "/node", "/stats", "/jobs", "/events", f"/{self.image_id}/explain"):
            self.assertEqual((path, self.ask("GET", f"/v2/cache{path}").status), (path, 401))
            self.assertEqual((path, self.ask("GET", f"/v2/cache{path}", ALICE).status), (path, 403))
        self.assertEqual(self.ask("DELETE", "/v2/cache").status, 401)
        self.assertEqual(self.ask("GET", "/v2/cache/node", ADMIN).status, 200)
        self.assertEqual(self.ask("GET", f"/v2/images/{self.image_id}", ADMIN).status, 200)
        self.assertEqual(self.ask("GET", f"/v2/images/{self.image_id}").status, 401)
        self.assertEqual(self.ask("GET", f"/v2/images/{self.image_id}/file", ADMIN).status, 404)
        self.assertEqual(self.ask("GET", "/v2/images", ADMIN).status, 404)

    def ask(
        self, method: str, path: str, token: str | None = None, body: bytes | None = None
    ) -> http.client.HTTPResponse:
        """
        Ask the port for operators.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.management_port, timeout=60)
        self.addCleanup(connection.close)
        connection.request(method, path, body, {} if token is None else {"X-Auth-Token": token})
        return connection.getresponse()
