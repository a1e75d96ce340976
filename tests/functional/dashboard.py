"""
A caching node with its page, and a browser before it.
"""

from __future__ import annotations

import atexit
import json
from functools import cache

from tests.functional.browser import Browser
from tests.functional.daemons import ADMIN
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
