"""
Tests of what the dashboard is made of. What it does is shown in ``tests/functional/test_dashboard.py``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import glance_cache.dashboard
from glance_cache.dashboard.routes import DashboardRoutes
from glance_cache.links import Links
from glance_cache.passthrough import PassThrough
from glance_tx.web.app import App
from glance_tx.web.endpoint import PublicEndpoint
from tests.proxy.folders import IMAGE
from tests.proxy.test_management import HIDDEN, ManagementTestCase
from tests.web.raw import until

PAGE = Path(glance_cache.dashboard.__file__).parent / "page"


class DashboardTests(ManagementTestCase):
    """
    `DashboardRoutes`.
    """

    def mount(self, app: App) -> None:
        super().mount(app)
        DashboardRoutes(PassThrough(self.client, Links(PublicEndpoint(None), ()))).mount(app)

    async def test_page(self) -> None:
        """
        The page and all its parts come without a token, as what they are, and with what keeps a browser from being
        talked into anything.
        """
        types = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
        for path in sorted(PAGE.iterdir()):
            target = "/dashboard" if path.suffix == ".html" else f"/dashboard/{path.name}"
            answer = await self.ask_node("GET", target, token=None)
            self.assertEqual((target, answer.status, answer.body), (target, 200, path.read_bytes()))
            self.assertEqual(answer.headers["content-type"].partition(";")[0], types[path.suffix])
            self.assertTrue(answer.headers["content-security-policy"].startswith("default-src 'self';"))
            self.assertEqual(answer.headers["x-content-type-options"], "nosniff")
            self.assertEqual(answer.headers["cache-control"], "no-cache")
            self.assertEqual((await self.ask_node("HEAD", target, token=None)).status, 200)

    async def test_no_code_in_the_page(self) -> None:
        """
        The page has no program, style or handler in its own text, and names nothing that lies elsewhere.
        """
        html = (PAGE / "index.html").read_text()
        self.assertEqual(re.findall(r"<style|\sstyle=|\son\w+=|javascript:|https?://", html), [])
        self.assertEqual(re.findall(r"<script(?![^>]*\ssrc=)", html), [])
        for path in PAGE.glob("*.css"):
            self.assertEqual(re.findall(r"@import|url\(", path.read_text()), [])
        for path in PAGE.glob("*.js"):
            found = re.findall(
                r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", path.read_text()
            )
            self.assertEqual((path.name, found), (path.name, []))
            for imported in re.findall(r'from "([^"]+)"', path.read_text()):
                self.assertTrue((PAGE / imported).is_file(), imported)

    async def test_token_is_kept_nowhere(self) -> None:
        """
        No part of the page puts anything where it would outlast the page, or into an address.
        """
        for path in PAGE.glob("*.js"):
            found = re.findall(
                r"localStorage|sessionStorage|indexedDB|document\.cookie|location\.|history\.", path.read_text()
            )
            self.assertEqual((path.name, found), (path.name, []))

    async def test_names(self) -> None:
        """
        The name of an image is what the image service tells this very caller.
        """
        answer = await self.ask_node("GET", f"/v2/images/{IMAGE}", token="member")
        self.assertEqual((answer.status, json.loads(answer.body)["id"]), (200, IMAGE))
        self.assertEqual((await self.ask_node("GET", f"/v2/images/{HIDDEN}", token="member")).status, 404)
        self.assertEqual((await self.ask_node("GET", f"/v2/images/{IMAGE}", token="nobody")).status, 401)


class NodeViewTests(ManagementTestCase):
    """
    ``GET /v2/cache/node``.
    """

    async def test_node(self) -> None:
        """
        A node shows its work, its room and its health, and the images with most hits.
        """
        await self.request_data()
        self.tally.sample(120.0)
        document = json.loads((await self.ask_node("GET", "/v2/cache/node")).body)
        self.assertEqual(document["node"], "node-1")
        self.assertEqual(document["disk"]["complete"], 1)
        self.assertEqual(document["top_images"][0]["image_id"], IMAGE)
        self.assertEqual(document["health"]["index"], {"kind": "sqlite", "reachable": True, "unsent": 0})
        self.assertEqual(document["prefetch"], {"possible": True, "may_begin": True})
        self.assertEqual(document["fills"], [])
        self.assertEqual([minute["at"] for minute in document["minutes"]], [120.0])

    async def test_policy(self) -> None:
        """
        It is for who may list the cache.
        """
        self.assertEqual(await self.status("GET", "/v2/cache/node", token="member"), 403)
        self.assertEqual(await self.status("GET", "/v2/cache/node", token="nobody"), 401)

    async def request_data(self) -> None:
        client = await self.request("GET", f"/v2/images/{IMAGE}/file", "X-Auth-Token: admin")
        self.assertEqual((await client.answer()).status, 200)
        await until(lambda: self.entries.complete_images() == {IMAGE})
