"""
Tests of the routes that manage a node's cache.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from glance_cache.chunks import UpstreamChunks
from glance_cache.errors import IndexUnavailable
from glance_cache.events import Events
from glance_cache.index_sqlite import SqliteIndex
from glance_cache.interfaces import HitTotals, UpstreamCredentials
from glance_cache.management import mount_management
from glance_cache.management_tools import ManagementTools
from glance_cache.managers import Managers
from glance_cache.neighbors import Neighbors
from glance_cache.own import FixedCredentials
from glance_cache.prefetch import Prefetcher
from glance_cache.prefetch_run import PrefetchTools
from glance_cache.tally import Tally
from glance_cache.whole import NodeEntries
from glance_tx.identity.caller import Caller
from glance_tx.identity.interfaces import IIdentity
from glance_tx.identity.tokens import TokenEntry, TokensIdentity
from glance_tx.policy.enforcer import PolicyEnforcer
from glance_tx.web.app import App
from tests.doubles.stock_glance import StockGlance, StockImage
from tests.doubles.upstreams import reactor
from tests.proxy.folders import DATA, IMAGE, OTHER
from tests.proxy.nodes import NodeTestCase
from tests.web.raw import RawAnswer, until

NODE = "node-1"
HIDDEN = "22222222-d94f-49cd-a114-e12490b328d9"
QUEUED = "33333333-d94f-49cd-a114-e12490b328d9"
UNKNOWN = "44444444-d94f-49cd-a114-e12490b328d9"
LAST_AT = 1_700_000_000.5


def entry(token: str, *roles: str) -> TokenEntry:
    return TokenEntry(hashlib.sha256(token.encode()).digest(), Caller("user", "project", roles))


class UnavailableIndex:
    """
    An index that cannot be reached.
    """

    async def unavailable(self, *_: object, **__: object) -> None:
        raise IndexUnavailable("it is away")

    def __getattr__(self, name: str) -> Any:
        return self.unavailable


class ManagementTestCase(NodeTestCase):
    """
    A node with management, before a service that knows the same tokens.
    """

    has_strategy = True
    has_credentials = True

    def upstream_urls(self) -> list[str]:
        self.glance = StockGlance(
            {
                IMAGE: StockImage(IMAGE, DATA, {"admin", "member"}, {"admin", "member"}),
                OTHER: StockImage(OTHER, DATA[:1000], {"admin", "member"}, {"admin", "member"}),
                HIDDEN: StockImage(HIDDEN, DATA[:10], {"admin"}, {"admin"}),
                QUEUED: StockImage(QUEUED, None, {"admin"}, {"admin"}),
            },
            tokens={"admin", "member"},
            knows_head=True,
        )
        return [self.serve(self.glance)]

    async def setUp(self) -> None:
        await super().setUp()
        await self.index.start()
        self.addCleanup(self.index.stop)
        if self.prefetcher is not None:
            self.addCleanup(self.prefetcher.stop)

    def mount(self, app: App) -> None:
        identity: IIdentity | None = None
        if self.has_strategy:
            identity = TokensIdentity([entry("admin", "admin"), entry("member", "member"), entry("elsewhere", "admin")])
        self.index = SqliteIndex(Path(self.mktemp()).absolute(), self.lanes.lane("index"), reactor)
        self.totals = {IMAGE: HitTotals(7, 7 * len(DATA), LAST_AT)}
        self.prefetcher = None
        self.credentials = FixedCredentials(UpstreamCredentials(auth_token="admin"))
        if self.has_credentials:
            self.prefetcher = Prefetcher(
                PrefetchTools(
                    cache=self.cache,
                    upstream=self.upstream,
                    index=self.index,
                    node=NODE,
                    worker="worker",
                    credentials=self.credentials,
                    clock=reactor,
                    told=lambda job, state: None,
                ),
                concurrency=1,
            )
        self.mount_with(app, self.index, identity)

    def mount_with(self, app: App, index: Any, identity: IIdentity | None) -> None:
        self.tally = Tally(self, self._count)
        self.events = Events(2)
        tools = ManagementTools(
            entries=self.entries,
            whole=NodeEntries(self.entries, lambda: ()),
            fills=self.fills,
            grants=self.grants,
            index=index,
            node=NODE,
            upstream=self.upstream,
            chunks=UpstreamChunks(self.upstream, reactor),
            prefetcher=self.prefetcher,
            own=self.credentials if self.has_credentials else None,
            totals=lambda image_id: self.totals.get(image_id, HitTotals()),
            top=lambda most: dict(list(self.totals.items())[:most]),
            neighbors=Neighbors(index, NODE, lambda: {"version": "1.0", "entries": 3}, reactor),
            health=lambda: {
                "upstreams": [],
                "index": {"kind": "sqlite", "reachable": True, "unsent": 0},
                "offline_since": None,
            },
            offline=lambda: {"grace_seconds": 0.0, "since": None, "times": 0, "repeated": 0},
            now=reactor.seconds,
            queue_limit=3,
        )
        mount_management(app, tools, Managers(identity, PolicyEnforcer({})), 3600.0, self.tally, self.events)

    async def ask_node(
        self, method: str, path: str, *lines: str, token: str | None = "admin", body: bytes = b""
    ) -> RawAnswer:
        credentials = () if token is None else (f"X-Auth-Token: {token}",)
        length = (f"Content-Length: {len(body)}",) if body else ()
        client = await self.request(method, path, *credentials, *length, *lines, body=body)
        return await client.answer(to_head=method == "HEAD")

    async def status(self, method: str, path: str, *lines: str, token: str | None = "admin") -> int:
        return (await self.ask_node(method, path, *lines, token=token)).status

    async def listing(self) -> tuple[list[dict[str, Any]], list[str]]:
        answer = await self.ask_node("GET", "/v2/cache")
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "application/json"))
        document = json.loads(answer.body)
        self.assertEqual(set(document), {"cached_images", "queued_images"})
        return document["cached_images"], document["queued_images"]

    async def cached(self) -> list[str]:
        return sorted(each["image_id"] for each in (await self.listing())[0])

    async def queued(self) -> list[str]:
        return (await self.listing())[1]

    async def put_in(self, image_id: str = IMAGE) -> None:
        credentials = UpstreamCredentials(auth_token="admin")
        facts = await self.upstream.authorize(image_id, credentials)
        assert facts is not None
        await self.cache.fill(facts, credentials)

    async def enqueue(self, image_id: str) -> None:
        await self.index.add_jobs(NODE, [image_id], 0, reactor.seconds())


class WhoTests(ManagementTestCase):
    """
    Who may manage a node.
    """

    async def test_personas(self) -> None:
        """
        An admin may, by this node's own strategy; others are told what they lack, and nothing happens.
        """
        await self.put_in()
        for token, status in (("member", 403), ("garbage", 401), (None, 401)):
            for method, path in (
                ("GET", "/v2/cache"),
                ("DELETE", "/v2/cache"),
                ("PUT", f"/v2/cache/{IMAGE}"),
                ("DELETE", f"/v2/cache/{IMAGE}"),
            ):
                self.assertEqual(await self.status(method, path, token=token), status, (token, method, path))
        self.assertEqual((await self.cached(), await self.queued()), ([IMAGE], []))

    async def test_upstream_has_no_say(self) -> None:
        """
        Who is an admin here may list and clear, whatever the upstream thinks of the token.
        """
        await self.put_in()
        self.assertEqual(await self.status("GET", "/v2/cache", token="elsewhere"), 200)
        self.assertEqual(await self.status("DELETE", f"/v2/cache/{IMAGE}", token="elsewhere"), 204)
        self.assertEqual(await self.status("PUT", f"/v2/cache/{IMAGE}", token="elsewhere"), 401)

    async def test_lies(self) -> None:
        """
        Nobody is an admin by his own word.
        """
        self.assertEqual(await self.status("GET", "/v2/cache", "X-Roles: admin", token="member"), 403)


class NobodyTests(ManagementTestCase):
    """
    A node without a strategy.
    """

    has_strategy = False

    async def test_refused(self) -> None:
        """
        Nobody may manage it, whoever asks.
        """
        await self.put_in()
        for method, path in (
            ("GET", "/v2/cache"),
            ("DELETE", "/v2/cache"),
            ("PUT", f"/v2/cache/{IMAGE}"),
            ("DELETE", f"/v2/cache/{IMAGE}"),
            ("PUT", f"/v2/cache/{UNKNOWN}"),
        ):
            for token in ("admin", "garbage", None):
                answer = await self.ask_node(method, path, token=token)
                self.assertEqual(answer.status, 403)
                self.assertIn(b"strategy", answer.body)
        self.assertEqual(len(self.entries.inventory()), 1)


class ListTests(ManagementTestCase):
    """
    ``GET /v2/cache``.
    """

    async def test_empty(self) -> None:
        """
        There may be nothing.
        """
        self.assertEqual(await self.listing(), ([], []))

    async def test_fields(self) -> None:
        """
        Each cached image has the fields that clients know; one that was never served was last used when it came.
        """
        before = reactor.seconds()
        await self.put_in()
        await self.put_in(OTHER)
        await self.enqueue(HIDDEN)
        cached, queued = await self.listing()
        self.assertEqual(queued, [HIDDEN])
        by_id = {each["image_id"]: each for each in cached}
        ours = {"state", "present_bytes", "progress", "followers", "pinned", "verified", "last_verified"}
        self.assertEqual(set(by_id[IMAGE]), {"image_id", "hits", "last_accessed", "last_modified", "size"} | ours)
        self.assertEqual(
            {key: by_id[IMAGE][key] for key in ours},
            {
                "state": "complete",
                "present_bytes": len(DATA),
                "progress": 1.0,
                "followers": 0,
                "pinned": False,
                "verified": True,
                "last_verified": by_id[IMAGE]["last_modified"],
            },
        )
        self.assertEqual((by_id[IMAGE]["hits"], by_id[IMAGE]["last_accessed"]), (7, LAST_AT))
        self.assertEqual((by_id[OTHER]["hits"], by_id[OTHER]["size"]), (0, 1000))
        self.assertGreaterEqual(by_id[OTHER]["last_modified"], before)
        self.assertEqual(by_id[OTHER]["last_accessed"], by_id[OTHER]["last_modified"])

    async def test_queue_order(self) -> None:
        """
        The queue is listed oldest first.
        """
        for image_id in (OTHER, HIDDEN, IMAGE):
            await self.enqueue(image_id)
        self.assertEqual(await self.queued(), [OTHER, HIDDEN, IMAGE])

    async def test_unfinished(self) -> None:
        """
        An image that is not all there is not listed.
        """
        facts = await self.upstream.authorize(IMAGE, UpstreamCredentials(auth_token="admin"))
        assert facts is not None
        writer = await self.entries.begin(facts)
        self.assertEqual(await self.cached(), [])
        await writer.abort()

    async def test_body(self) -> None:
        """
        A request with a body is refused.
        """
        self.assertEqual((await self.ask_node("GET", "/v2/cache", body=b"{}")).status, 400)


class QueueTests(ManagementTestCase):
    """
    ``PUT /v2/cache/{image_id}``.
    """

    async def test_queued(self) -> None:
        """
        The image is fetched in the background.
        """
        assert self.prefetcher is not None
        self.prefetcher.start()
        answer = await self.ask_node("PUT", f"/v2/cache/{IMAGE.upper()}")
        self.assertEqual((answer.status, answer.body), (202, b""))
        await until(lambda: self.entries.inventory() and not self.fills._running)
        self.assertEqual(await self.cached(), [IMAGE])
        self.assertEqual(await self.status("PUT", f"/v2/cache/{IMAGE}"), 202)

    async def test_stays_queued(self) -> None:
        """
        Until then it is queued, once.
        """
        for _ in range(2):
            self.assertEqual(await self.status("PUT", f"/v2/cache/{IMAGE}"), 202)
        self.assertEqual(await self.queued(), [IMAGE])

    async def test_order_of_checks(self) -> None:
        """
        An image that one cannot see does not exist, before it is asked whether one may; only then its status counts.
        """
        for token, image_id, status in (
            ("member", HIDDEN, 404),
            ("member", UNKNOWN, 404),
            ("member", IMAGE, 403),
            ("admin", UNKNOWN, 404),
            ("admin", QUEUED, 400),
            ("admin", "no-id", 404),
            ("admin", f"{IMAGE}x", 404),
            ("garbage", UNKNOWN, 401),
        ):
            self.assertEqual(await self.status("PUT", f"/v2/cache/{image_id}", token=token), status, (token, image_id))
        self.assertEqual(await self.queued(), [])

    async def test_upstreams_words(self) -> None:
        """
        What the upstream refuses, it refuses in its own words.
        """
        answer = await self.ask_node("PUT", f"/v2/cache/{UNKNOWN}")
        self.assertEqual((answer.status, answer.body), (404, b"refused"))

    async def test_error_form(self) -> None:
        """
        What this node refuses comes in the forms of the service.
        """
        answer = await self.ask_node("PUT", f"/v2/cache/{QUEUED}", "Accept: application/json")
        self.assertEqual(json.loads(answer.body)["code"], "400 Bad Request")


class PoorNodeTests(ManagementTestCase):
    """
    A node without credentials of its own.
    """

    has_credentials = False

    async def test_refused(self) -> None:
        """
        It says that it cannot fetch anything by itself.
        """
        answer = await self.ask_node("PUT", f"/v2/cache/{IMAGE}")
        self.assertEqual(answer.status, 409)
        self.assertIn(b"prefetch_token", answer.body)
        self.assertEqual(await self.queued(), [])
        self.assertEqual(await self.status("PUT", f"/v2/cache/{UNKNOWN}"), 404)


class DeleteTests(ManagementTestCase):
    """
    ``DELETE /v2/cache/{image_id}``.
    """

    async def test_everywhere(self) -> None:
        """
        An image leaves the cache and the queue.
        """
        await self.put_in()
        await self.enqueue(IMAGE)
        await self.enqueue(OTHER)
        answer = await self.ask_node("DELETE", f"/v2/cache/{IMAGE}")
        self.assertEqual((answer.status, answer.body), (204, b""))
        self.assertEqual((await self.cached(), await self.queued()), ([], [OTHER]))
        self.assertEqual(await self.status("DELETE", f"/v2/cache/{OTHER.upper()}"), 204)
        self.assertEqual(await self.queued(), [])

    async def test_neither_nor(self) -> None:
        """
        An image that is neither is fine, too; what is no image at all is not found.
        """
        self.assertEqual(await self.status("DELETE", f"/v2/cache/{IMAGE}"), 204)
        for image_id in (UNKNOWN, "no-id"):
            self.assertEqual(await self.status("DELETE", f"/v2/cache/{image_id}"), 404)

    async def test_order_of_checks(self) -> None:
        """
        Of what is not here, and not visible, nobody learns more than that.
        """
        for image_id, status in ((HIDDEN, 404), (UNKNOWN, 404), (IMAGE, 403)):
            self.assertEqual(await self.status("DELETE", f"/v2/cache/{image_id}", token="member"), status)
        await self.put_in(HIDDEN)
        self.assertEqual(await self.status("DELETE", f"/v2/cache/{HIDDEN}", token="member"), 403)

    async def test_upstream_in_trouble(self) -> None:
        """
        Where the upstream cannot say whether there is such an image, neither is it said that there is none.
        """
        self.glance.trouble = 500
        self.assertEqual(await self.status("DELETE", f"/v2/cache/{UNKNOWN}"), 500)

    async def test_upstream_away(self) -> None:
        """
        What is here can be deleted without the upstream.
        """
        await self.put_in()
        await self.enqueue(OTHER)
        await self.stop_upstreams()
        for image_id in (IMAGE, OTHER):
            self.assertEqual(await self.status("DELETE", f"/v2/cache/{image_id}"), 204)
        answer = await self.ask_node("DELETE", f"/v2/cache/{UNKNOWN}")
        self.assertEqual((answer.status, answer.headers["retry-after"]), (503, "5"))


class ClearTests(ManagementTestCase):
    """
    ``DELETE /v2/cache``.
    """

    async def test_targets(self) -> None:
        """
        The header says what is cleared; without it, or empty, it is both.
        """
        for lines, cached, queued in (
            ((), [], []),
            (("X-Image-Cache-Clear-Target:",), [], []),
            (("x-image-cache-clear-target: cache",), [], [OTHER]),
            (("X-Image-Cache-Clear-Target: QUEUE",), [IMAGE], []),
        ):
            await self.put_in()
            await self.enqueue(OTHER)
            self.assertEqual(await self.status("DELETE", "/v2/cache", *lines), 204)
            self.assertEqual((await self.cached(), await self.queued()), (cached, queued), lines)

    async def test_bad_targets(self) -> None:
        """
        Anything else is refused, and clears nothing: a word too many could mean either.
        """
        await self.put_in()
        for lines in (
            ("X-Image-Cache-Clear-Target: both",),
            ("X-Image-Cache-Clear-Target: all",),
            ("X-Image-Cache-Clear-Target: cache, queue",),
            ("X-Image-Cache-Clear-Target: cache", "X-Image-Cache-Clear-Target: queue"),
        ):
            self.assertEqual(await self.status("DELETE", "/v2/cache", *lines), 400, lines)
        self.assertEqual(await self.cached(), [IMAGE])


class OtherRequestTests(ManagementTestCase):
    """
    Whatever else is asked below ``/v2/cache`` is not for the upstream, which may have a cache of its own.
    """

    async def test_methods(self) -> None:
        """
        Other methods are not allowed, and told which are.
        """
        for path, allowed in (
            ("/v2/cache", "DELETE, GET"),
            (f"/v2/cache/{IMAGE}", "DELETE, GET, PUT"),
            ("/v2/cache/clean", "POST"),
            ("/v2/cache/prune", "POST"),
            ("/v2/cache/jobs", "GET, POST"),
            ("/v2/cache/stats", "GET"),
            ("/v2/cache/events", "GET"),
            (f"/v2/cache/{IMAGE}/explain", "GET"),
            (f"/v2/cache/{IMAGE}/verify", "POST"),
            (f"/v2/cache/{IMAGE}/pin", "DELETE, PUT"),
            ("/v2/cache/nodes", "GET"),
            (f"/v2/cache/nodes/{IMAGE}", "GET"),
            ("/v2/cached_images", "DELETE, GET"),
            (f"/v2/cached_images/{IMAGE}", "DELETE"),
            ("/v2/queued_images", "DELETE, GET"),
            (f"/v2/queued_images/{IMAGE}", "DELETE, PUT"),
        ):
            for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} - set(allowed.split(", ")):
                answer = await self.ask_node(method, path)
                self.assertEqual((answer.status, answer.headers["allow"]), (405, allowed), (method, path))
        self.assertEqual(self.glance.requests, [])

    async def test_paths(self) -> None:
        """
        Other paths are not found.
        """
        for path in ("/v2/cache/clean/x", f"/v2/cache/{IMAGE}/x", f"/v2/cache/{IMAGE}/x/y", f"/v2/cache/{IMAGE}/"):
            for method in ("GET", "POST", "DELETE"):
                self.assertEqual(await self.status(method, path), 404, (method, path))
        self.assertEqual(self.glance.requests, [])

    async def test_spellings(self) -> None:
        """
        The versions that stand for cache management are accepted in the path.
        """
        for version in ("v2", "v2.14", "v2.16", "v2.18"):
            self.assertEqual(await self.status("GET", f"/{version}/cache"), 200)


class NoIndexTests(ManagementTestCase):
    """
    A node whose index is away.
    """

    def mount_with(self, app: App, index: Any, identity: IIdentity | None) -> None:
        super().mount_with(app, UnavailableIndex(), identity)

    async def test_try_later(self) -> None:
        """
        What needs it is to be tried again.
        """
        await self.put_in()
        for method, path in (
            ("GET", "/v2/cache"),
            ("DELETE", "/v2/cache"),
            ("PUT", f"/v2/cache/{IMAGE}"),
            ("DELETE", f"/v2/cache/{IMAGE}"),
        ):
            answer = await self.ask_node(method, path)
            self.assertEqual((answer.status, answer.headers["retry-after"]), (503, "5"))
        self.assertEqual(await self.status("DELETE", "/v2/cache", "X-Image-Cache-Clear-Target: cache"), 204)
