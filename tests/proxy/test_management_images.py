"""
Tests of the routes about one image, and of those of old.
"""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred

from glance_cache.interfaces import UpstreamCredentials
from glance_cache.jobs import JobState
from tests.doubles.upstreams import reactor
from tests.proxy.folders import DATA, IMAGE, OTHER
from tests.proxy.nodes import later
from tests.proxy.test_management import HIDDEN, NODE, QUEUED, UNKNOWN, ManagementTestCase
from tests.web.raw import until

ADMIN = UpstreamCredentials(auth_token="admin")


class ImageTestCase(ManagementTestCase):
    """
    Documents about one image.
    """

    async def document(self, path: str, method: str = "GET", token: str = "admin") -> Any:
        answer = await self.ask_node(method, path, token=token)
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "application/json"), answer.body)
        return json.loads(answer.body)

    async def explain(self, image_id: str = IMAGE, token: str = "admin") -> Any:
        return await self.document(f"/v2/cache/{image_id}/explain", token=token)

    async def flip(self) -> None:
        (path,) = self.path.glob(f"entries/*/{IMAGE}-*.data")
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)


class AccessTests(ImageTestCase):
    """
    Every route asks for its rule.
    """

    async def test_rules(self) -> None:
        """
        Who is no administrator may use none of them, and nothing happens; without a token nobody is told anything.
        """
        await self.put_in()
        await self.enqueue(OTHER)
        for method, path in (
            ("GET", f"/v2/cache/{IMAGE}"),
            ("GET", f"/v2/cache/{IMAGE}/explain"),
            ("POST", f"/v2/cache/{IMAGE}/verify"),
            ("PUT", f"/v2/cache/{IMAGE}/pin"),
            ("DELETE", f"/v2/cache/{IMAGE}/pin"),
            ("GET", "/v2/cache/nodes"),
            ("GET", f"/v2/cache/nodes/{IMAGE}"),
            ("POST", "/v2/cache/clean"),
            ("POST", "/v2/cache/prune"),
            ("GET", "/v2/cache/jobs"),
            ("GET", "/v2/cache/stats"),
            ("GET", "/v2/cache/events"),
            ("GET", "/v2/cached_images"),
            ("DELETE", "/v2/cached_images"),
            ("DELETE", f"/v2/cached_images/{IMAGE}"),
            ("GET", "/v2/queued_images"),
            ("DELETE", "/v2/queued_images"),
            ("PUT", f"/v2/queued_images/{IMAGE}"),
            ("DELETE", f"/v2/queued_images/{OTHER}"),
        ):
            self.assertEqual(await self.status(method, path, token="member"), 403, (method, path))
            self.assertEqual(await self.status(method, path, token=None), 401, (method, path))
        self.assertEqual((await self.cached(), await self.queued()), ([IMAGE], [OTHER]))
        self.assertFalse(self.entries.is_pinned(IMAGE))


class ShowTests(ImageTestCase):
    """
    ``GET /v2/cache/{image_id}``.
    """

    async def test_not_here(self) -> None:
        """
        What is neither cached nor queued is not found.
        """
        for image_id in (IMAGE, "x", f"{IMAGE}x"):
            self.assertEqual(await self.status("GET", f"/v2/cache/{image_id}"), 404)

    async def test_cached(self) -> None:
        """
        A cached image is shown as it is listed.
        """
        await self.put_in()
        shown = await self.document(f"/v2/cache/{IMAGE.upper()}")
        self.assertEqual(shown, {"image_id": IMAGE, "entry": (await self.listing())[0][0], "job": None})

    async def test_under_way(self) -> None:
        """
        A fill is shown with what is here of it, and with how many read it.
        """
        facts = await self.upstream.authorize(IMAGE, ADMIN)
        assert facts is not None
        writer = await self.entries.begin(facts)
        await writer.append(DATA[: len(DATA) // 2])
        entry = (await self.document(f"/v2/cache/{IMAGE}"))["entry"]
        self.assertEqual((entry["state"], entry["progress"], entry["followers"]), ("filling", 0.5, 0))
        self.assertEqual((await self.explain())["outcome"], "follow")
        await writer.suspend()
        entry = (await self.document(f"/v2/cache/{IMAGE}"))["entry"]
        self.assertEqual((entry["state"], entry["followers"]), ("partial", 0))
        self.assertEqual((await self.explain())["outcome"], "fill")

    async def test_queued(self) -> None:
        """
        A job is shown with what has become of it, also when it was given up.
        """
        await self.enqueue(IMAGE)
        now = reactor.seconds()
        job = await self.index.claim_job(NODE, "w", now, now + 60, 1)
        assert job is not None
        await self.index.update_job(
            NODE,
            evolve(
                job, reported_at=now + 4, size_bytes=1000, present_bytes=600, fetched_bytes=400, lease_until=now + 60
            ),
        )
        shown = (await self.document(f"/v2/cache/{IMAGE}"))["job"]
        self.assertEqual((shown["state"], shown["progress"], shown["attempts"]), ("running", 0.6, 1))
        self.assertEqual((round(shown["bytes_per_second"]), round(shown["seconds_left"])), (100, 4))
        await self.index.update_job(NODE, evolve(job, state=JobState.FAILED, last_error="it broke"))
        shown = (await self.document(f"/v2/cache/{IMAGE}"))["job"]
        self.assertEqual((shown["state"], shown["last_error"], shown["seconds_left"]), ("failed", "it broke", None))
        self.assertEqual(await self.queued(), [])
        self.assertIn("it broke", (await self.explain())["waits_for"])
        self.assertEqual(await self.status("DELETE", f"/v2/cache/{IMAGE}"), 204)
        self.assertEqual((await self.document("/v2/cache/jobs"))["jobs"], [])


class ExplainTests(ImageTestCase):
    """
    ``GET /v2/cache/{image_id}/explain``.
    """

    async def test_hit(self) -> None:
        """
        A cached image is a hit for whom the upstream lets have it.
        """
        await self.put_in()
        told = await self.explain()
        self.assertEqual((told["outcome"], told["waits_for"], told["room"]), ("hit", None, None))
        self.assertTrue(told["caller"]["may_download"])
        self.assertGreater(told["caller"]["permission_seconds_left"], 0)

    async def test_refused(self) -> None:
        """
        It is no hit for whom the upstream refuses it, whatever he may do here.
        """
        await self.put_in()
        told = await self.explain(token="elsewhere")
        self.assertEqual(told["outcome"], "refused")
        self.assertEqual(
            told["caller"],
            {
                "may_download": False,
                "refusal": "the upstream answered 401",
                "permission_seconds_left": None,
                "offline": False,
            },
        )

    async def test_miss(self) -> None:
        """
        What is not here is a fill, which needs room, for which others would go.
        """
        told = await self.explain()
        self.assertEqual((told["outcome"], told["entry"]), ("fill", None))
        self.assertEqual((told["room"]["fits"], told["room"]["would_go"]), (True, []))
        await self.put_in(OTHER)
        self.entries.account.max_bytes = told["room"]["needed_bytes"]
        told = await self.explain()
        self.assertEqual((told["room"]["fits"], told["room"]["would_go"]), (True, [OTHER]))
        self.assertEqual(await self.cached(), [OTHER])
        self.entries.account.max_bytes = 10
        told = await self.explain()
        self.assertEqual((told["room"]["fits"], told["room"]["would_go"]), (False, []))
        self.assertIn("do not fit", told["room"]["why_not"])

    async def test_no_data(self) -> None:
        """
        An image without data passes the cache by.
        """
        self.assertEqual((await self.explain(QUEUED))["outcome"], "bypass")

    async def test_waiting(self) -> None:
        """
        What a queued image waits for is told.
        """
        await self.enqueue(IMAGE)
        self.assertEqual((await self.explain())["waits_for"], "its turn in the queue")
        now = reactor.seconds()
        job = await self.index.claim_job(NODE, "w", now, now + 60, 1)
        assert job is not None
        waiting = evolve(job, state=JobState.QUEUED, not_before=now + 600, last_error="it broke")
        await self.index.update_job(NODE, waiting)
        self.assertIn("it broke", (await self.explain())["waits_for"])


class VerifyTests(ImageTestCase):
    """
    ``POST /v2/cache/{image_id}/verify``.
    """

    async def test_verify(self) -> None:
        """
        Data is read anew; what is not right leaves the cache, and what is not here is not found.
        """
        self.assertEqual(await self.status("POST", f"/v2/cache/{IMAGE}/verify"), 404)
        await self.put_in()
        path = f"/v2/cache/{IMAGE}/verify"
        self.assertEqual(await self.document(path, "POST"), {"image_id": IMAGE, "right": True, "kept": True})
        await self.flip()
        self.assertEqual(await self.document(path, "POST"), {"image_id": IMAGE, "right": False, "kept": False})
        await until(lambda: not self.entries.inventory())
        self.assertEqual(len(self.corrupt), 1)


class PinTests(ImageTestCase):
    """
    ``/v2/cache/{image_id}/pin``.
    """

    async def test_pin(self) -> None:
        """
        An image is pinned and unpinned, also one that is not here yet; one that is no image is not.
        """
        path = f"/v2/cache/{IMAGE}/pin"
        self.assertEqual(await self.status("DELETE", path), 404)
        self.assertEqual(await self.status("PUT", f"/v2/cache/{UNKNOWN}/pin"), 404)
        for _ in range(2):
            self.assertEqual(await self.status("PUT", path), 204)
        await self.put_in()
        self.assertTrue((await self.listing())[0][0]["pinned"])
        self.assertEqual(await self.status("DELETE", path), 204)
        self.assertFalse((await self.listing())[0][0]["pinned"])


class CleanTests(ImageTestCase):
    """
    Cleaning, pruning and the other nodes.
    """

    async def test_prune(self) -> None:
        """
        Pruning tells what went.
        """
        await self.put_in()
        none = {"total_files_pruned": 0, "total_bytes_pruned": 0}
        self.assertEqual(await self.document("/v2/cache/prune", "POST"), none)
        room = self.entries.account.used_bytes
        self.entries.account.max_bytes = 1
        gone = {"total_files_pruned": 1, "total_bytes_pruned": room}
        self.assertEqual(await self.document("/v2/cache/prune", "POST"), gone)
        self.assertEqual(await self.cached(), [])

    async def test_clean(self) -> None:
        """
        Cleaning answers with nothing, and leaves what is of use.
        """
        await self.put_in()
        answer = await self.ask_node("POST", "/v2/cache/clean")
        self.assertEqual((answer.status, answer.body), (200, b""))
        self.assertEqual(await self.cached(), [IMAGE])

    async def test_nodes(self) -> None:
        """
        Nodes do not know of each other's entries, as those of a stock Glance without a central database.
        """
        self.assertEqual(await self.status("GET", f"/v2/cache/nodes/{IMAGE}"), 409)


class LegacyTests(ImageTestCase):
    """
    The routes of ``glance-cache-manage`` of old.
    """

    async def test_cached_images(self) -> None:
        """
        Cached images are listed, and removed one by one and all together.
        """
        await self.put_in()
        await self.put_in(OTHER)
        listed = (await self.document("/v2/cached_images"))["cached_images"]
        self.assertEqual(listed, (await self.listing())[0])
        self.assertIsNone(await self.document(f"/v2/cached_images/{OTHER}", "DELETE"))
        self.assertEqual(await self.cached(), [IMAGE])
        self.assertEqual(await self.document("/v2/cached_images", "DELETE"), {"num_deleted": 1})

    async def test_queued_images(self) -> None:
        """
        Images are queued, if they are there, and taken out again one by one and all together.
        """
        for image_id in (IMAGE, OTHER, HIDDEN):
            self.assertIsNone(await self.document(f"/v2/queued_images/{image_id}", "PUT"))
        self.assertEqual(await self.status("PUT", f"/v2/queued_images/{UNKNOWN}"), 404)
        self.assertEqual(await self.status("PUT", f"/v2/queued_images/{QUEUED}"), 400)
        self.assertIsNone(await self.document(f"/v2/queued_images/{IMAGE}", "DELETE"))
        self.assertEqual(await self.document("/v2/queued_images"), {"queued_images": [OTHER, HIDDEN]})
        self.assertEqual(await self.document("/v2/queued_images", "DELETE"), {"num_deleted": 2})


class LeavingTests(ImageTestCase):
    """
    A client that does not wait.
    """

    async def test_verify(self) -> None:
        """
        One that leaves while an image is verified leaves nothing behind.
        """
        await self.put_in()
        client = await self.request("POST", f"/v2/cache/{IMAGE}/verify", "X-Auth-Token: admin")
        asked: Deferred[Any] = later(self.status("GET", "/v2/cache"))
        client.close()
        self.assertEqual(await asked, 200)
        await until(lambda: all(info.users == 0 for info in self.entries.inventory()))
