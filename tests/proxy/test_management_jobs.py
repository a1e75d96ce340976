"""
Tests of queueing many images.
"""

from __future__ import annotations

import json
from typing import Any

from glance_cache.interfaces import HitTotals
from tests.proxy.folders import DATA, IMAGE, OTHER
from tests.proxy.test_management import HIDDEN, NODE, QUEUED, UNKNOWN, ManagementTestCase
from tests.web.raw import RawAnswer


class JobsTestCase(ManagementTestCase):
    """
    ``POST /v2/cache/jobs``.
    """

    async def post(self, document: object, token: str | None = "admin") -> RawAnswer:
        return await self.ask_node("POST", "/v2/cache/jobs", token=token, body=json.dumps(document).encode())

    async def add(self, document: object) -> dict[str, Any]:
        answer = await self.post(document)
        self.assertEqual(answer.status, 202, answer.body)
        added: dict[str, Any] = json.loads(answer.body)
        return added

    async def refused(self, document: object, token: str | None = "admin") -> int:
        """
        Ask for what is refused, with nothing queued.
        """
        answer = await self.post(document, token)
        self.assertEqual(await self.queued(), [])
        return answer.status


class ListedTests(JobsTestCase):
    """
    Images by their ids.
    """

    async def test_queued(self) -> None:
        """
        Images are queued in their order, once each; those that are here already are not.
        """
        await self.put_in(OTHER)
        wanted = [HIDDEN, IMAGE.upper(), OTHER, HIDDEN]
        added = {"image_ids": [HIDDEN, IMAGE], "added": 2, "cached": 1}
        self.assertEqual(await self.add({"image_ids": wanted, "priority": 7}), added)
        self.assertEqual(await self.add({"image_ids": wanted}), {**added, "added": 0})
        jobs = json.loads((await self.ask_node("GET", "/v2/cache/jobs")).body)
        self.assertEqual([(job["image_id"], job["priority"]) for job in jobs["jobs"]], [(HIDDEN, 7), (IMAGE, 7)])
        self.assertTrue(jobs["may_begin"])

    async def test_all_or_none(self) -> None:
        """
        Where one of them cannot be had none is queued: seen by the caller, first of all, and then whether he may.
        """
        for wanted, token, status in (
            ([IMAGE, UNKNOWN], "admin", 404),
            ([IMAGE, QUEUED], "admin", 400),
            ([IMAGE, HIDDEN], "member", 404),
            ([IMAGE], "member", 403),
            ([IMAGE], "elsewhere", 401),
            ([IMAGE], None, 401),
        ):
            self.assertEqual(await self.refused({"image_ids": wanted}, token), status, (wanted, token))

    async def test_full(self) -> None:
        """
        No more are queued than may be.
        """
        self.glance.images = dict.fromkeys((IMAGE, OTHER, HIDDEN, UNKNOWN), self.glance.images[IMAGE])
        self.assertEqual(await self.refused({"image_ids": [IMAGE, OTHER, HIDDEN, UNKNOWN]}), 413)
        self.assertEqual((await self.add({"image_ids": [IMAGE, OTHER, HIDDEN]}))["added"], 3)
        self.assertEqual((await self.add({"image_ids": [IMAGE, OTHER, HIDDEN]}))["added"], 0)
        self.assertEqual((await self.post({"image_ids": [UNKNOWN]})).status, 413)
        self.assertEqual(await self.status("PUT", f"/v2/cache/{UNKNOWN}"), 413)

    async def test_malformed(self) -> None:
        """
        What is no such document is refused.
        """
        for document in (
            [],
            {},
            {"priority": 1},
            {"image_ids": []},
            {"image_ids": IMAGE},
            {"image_ids": [IMAGE, "../x"]},
            {"image_ids": [7]},
            {"image_ids": [f"0{number:07d}{IMAGE[8:]}" for number in range(201)]},
            {"image_ids": [IMAGE], "warm": 1},
            {"image_ids": [IMAGE], "color": 1},
            {"image_ids": [IMAGE], "priority": 101},
            {"image_ids": [IMAGE], "priority": True},
            {"warm": 0},
            {"warm": 1001},
            {"warm": "1"},
            {"filter": []},
            {"filter": {"newest": 0}},
            {"filter": {"color": "x"}},
            {"filter": {"name": ""}},
            {"filter": {"name": None}},
            {"filter": {"tags": "x"}},
            {"filter": {"properties": {"limit": "1"}}},
            {"filter": {"properties": {"x": 1}}},
        ):
            self.assertEqual(await self.refused(document), 400, document)
        self.assertEqual((await self.ask_node("POST", "/v2/cache/jobs", body=b"{")).status, 400)


class FilterTests(JobsTestCase):
    """
    Images that a filter finds.
    """

    async def test_found(self) -> None:
        """
        The upstream lists them, with the node's own credentials, page by page.
        """
        self.glance.most_listed = 2
        added = await self.add({"filter": {"newest": 3}})
        self.assertEqual(added["image_ids"], [IMAGE, OTHER, HIDDEN])
        first, second = self.glance.queries
        self.assertEqual(first, "status=active&sort_key=created_at&sort_dir=desc&limit=3")
        self.assertEqual(second, f"limit=2&marker={OTHER}")

    async def test_query(self) -> None:
        """
        Name, tags and properties go into the list that is asked for, whatever is in them.
        """
        wanted = {"name": "a&b=c d", "tags": ["x", "y"], "properties": {"os_distro": "fedora"}, "newest": 1}
        self.assertEqual((await self.add({"filter": wanted}))["image_ids"], [IMAGE])
        self.assertEqual(
            self.glance.queries[0].partition("&status")[0], "name=a%26b%3Dc+d&tag=x&tag=y&os_distro=fedora"
        )

    async def test_who(self) -> None:
        """
        Only who may have images cached, and only where the upstream takes the node's credentials.
        """
        self.assertEqual(await self.refused({"filter": {}}, "member"), 403)
        self.glance.tokens.discard("admin")
        self.assertEqual(await self.refused({"filter": {}}, "elsewhere"), 409)


class WarmTests(JobsTestCase):
    """
    Images with most hits.
    """

    async def test_warm(self) -> None:
        """
        Those with most hits over all nodes are queued, but for those that are here, or no more.
        """
        for node, image_id, hits in (
            (NODE, OTHER, 3),
            ("other-node", HIDDEN, 5),
            (NODE, HIDDEN, 5),
            ("other-node", IMAGE, 9),
            ("other-node", UNKNOWN, 8),
            ("other-node", QUEUED, 7),
        ):
            await self.index.merge_hits(node, {image_id: HitTotals(hits, hits * len(DATA), 1.0)}, after="", mark="m")
        await self.put_in(IMAGE)
        self.assertEqual((await self.add({"warm": 2}))["image_ids"], [HIDDEN])
        self.assertEqual((await self.add({"warm": 1000}))["image_ids"], [HIDDEN, OTHER])
        self.assertEqual(await self.queued(), [HIDDEN, OTHER])


class PoorTests(JobsTestCase):
    """
    A node without credentials of its own.
    """

    has_credentials = False

    async def test_refused(self) -> None:
        """
        It says that it cannot fetch anything by itself.
        """
        for document in ({"image_ids": [IMAGE]}, {"filter": {}}, {"warm": 1}):
            self.assertEqual(await self.refused(document), 409)
