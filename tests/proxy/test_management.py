"""
Managing what is cached: routes, who may use them, and fetching ahead.
"""

from __future__ import annotations

import json

from glance_cache.index_sqlite import SqliteIndex
from glance_cache.interfaces import HitTotals, UpstreamCredentials
from glance_cache.management import ManagementRoutes, ManagementTools, Managers
from glance_cache.prefetch import Prefetcher, PrefetchTools
from glance_tx.identity.interfaces import IIdentity
from glance_tx.identity.tokens import TokensIdentity, read_tokens
from glance_tx.policy.enforcer import PolicyEnforcer
from glance_tx.web.app import App
from tests.doubles.stock_glance import StockGlance, StockImage
from tests.doubles.upstreams import reactor
from tests.proxy.folders import absolute
from tests.proxy.nodes import NodeTestCase
from tests.web.raw import until
from tests.web.serving import Answer

FIRST = "aaaaaaaa-1111-4111-8111-111111111111"
SECOND = "bbbbbbbb-2222-4222-8222-222222222222"
QUEUED = "33333333-3333-4333-8333-333333333333"
UNKNOWN = "44444444-4444-4444-8444-444444444444"

TOKENS = """\
- {token: admin, user_id: a, project_id: ops, roles: [admin]}
- {token: owner, user_id: o, project_id: red, roles: [member, reader]}
"""


class ManagementTestCase(NodeTestCase):
    """
    A node before a stock image service, with an index of its own, and a prefetcher.
    """

    has_strategy = True
    has_credentials = True

    def upstream_urls(self) -> list[str]:
        everybody = {"owner", "admin", "node"}
        self.service = StockGlance(
            {
                FIRST: StockImage(FIRST, b"a" * 3_000_000, set(everybody), set(everybody)),
                SECOND: StockImage(SECOND, b"b" * 1_000, set(everybody), set(everybody)),
                QUEUED: StockImage(QUEUED, None, set(everybody), set(everybody)),
            },
            tokens={"owner", "admin", "node", "stranger"},
        )
        return [self.serve(self.service)]

    async def setUp(self) -> None:
        await super().setUp()
        self.index = SqliteIndex(self.path / "index.sqlite", self.lanes.lane("index"), reactor)
        tools = PrefetchTools(
            self.cache, self.upstream, self.index, "here", UpstreamCredentials(auth_token="node"), reactor
        )
        self.prefetcher = Prefetcher(tools)
        self.addCleanup(self.index.stop)
        self.addCleanup(self.prefetcher.stop)
        management = ManagementTools(
            self.entries,
            self.index,
            "here",
            self.upstream,
            self.prefetcher if self.has_credentials else None,
            self.totals,
            reactor.seconds,
        )
        ManagementRoutes(management, Managers(self.identity(), PolicyEnforcer())).mount(self.app)

    def mount(self, app: App) -> None:
        """
        The routes are added when there is something to manage.
        """

    def identity(self) -> IIdentity | None:
        if not self.has_strategy:
            return None
        path = absolute(self.mktemp())
        path.write_text(TOKENS)
        return TokensIdentity(read_tokens(path))

    def totals(self, image_id: str) -> HitTotals:
        return HitTotals(7, 70, 1234.5) if image_id == FIRST else HitTotals()

    async def manage(self, method: str, path: str = "", token: str | None = "admin", **headers: str) -> Answer:
        """
        Send one request, and return the answer.
        """
        lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
        if token is not None:
            lines.append(f"X-Auth-Token: {token}\r\n")
        return await self.ask(method, f"/v2/cache{path}", "".join(lines))

    async def listed(self) -> tuple[set[str], list[str]]:
        """
        Which images are cached, and which queued.
        """
        document = json.loads((await self.manage("GET")).body)
        return {each["image_id"] for each in document["cached_images"]}, document["queued_images"]

    async def fill(self, image_id: str) -> None:
        """
        Bring an image into the cache.
        """
        credentials = UpstreamCredentials(auth_token="node")
        facts = await self.upstream.authorize(image_id, credentials)
        assert facts is not None
        await self.cache.fill(facts, credentials)


class ListTests(ManagementTestCase):
    """
    ``GET /v2/cache``.
    """

    async def test_empty(self) -> None:
        """
        Nothing is cached or queued at first.
        """
        answer = await self.manage("GET")
        self.assertEqual(answer.status, 200)
        self.assertEqual(json.loads(answer.body), {"cached_images": [], "queued_images": []})

    async def test_entries(self) -> None:
        """
        Each cached image has the fields that stock's have; one that was never served was last used when it came.
        """
        await self.fill(FIRST)
        await self.fill(SECOND)
        cached = {each["image_id"]: each for each in json.loads((await self.manage("GET")).body)["cached_images"]}
        self.assertEqual(set(cached), {FIRST, SECOND})
        self.assertEqual(set(cached[FIRST]), {"image_id", "hits", "last_accessed", "last_modified", "size"})
        self.assertEqual((cached[FIRST]["hits"], cached[FIRST]["last_accessed"]), (7, 1234.5))
        self.assertEqual((cached[SECOND]["hits"], cached[SECOND]["size"]), (0, 1000))
        self.assertEqual(cached[SECOND]["last_accessed"], cached[SECOND]["last_modified"])


class WhoTests(ManagementTestCase):
    """
    Who may manage a node that has a strategy.
    """

    async def test_personas(self) -> None:
        """
        An administrator may; a member is told 403, a garbage token and none 401, whatever the upstream thinks of them.
        """
        for method, path in (("GET", ""), ("DELETE", ""), ("PUT", f"/{FIRST}"), ("DELETE", f"/{FIRST}")):
            for token, status in (("owner", 403), ("garbage", 401), (None, 401)):
                answer = await self.manage(method, path, token)
                self.assertEqual((method, path, token, answer.status), (method, path, token, status))


class NoStrategyTests(ManagementTestCase):
    """
    A node without a strategy cannot be managed.
    """

    has_strategy = False

    async def test_nobody(self) -> None:
        """
        Everybody is told 403, and why.
        """
        for token in ("admin", None):
            answer = await self.manage("GET", token=token)
            self.assertEqual(answer.status, 403)
            self.assertIn(b"strategy", answer.body)


class QueueTests(ManagementTestCase):
    """
    ``PUT /v2/cache/{image_id}``, and what becomes of the queue.
    """

    async def test_prefetch(self) -> None:
        """
        A queued image is fetched with the node's own credentials, leaves the queue, and is there.
        """
        self.prefetcher.start()
        for image_id in (FIRST, SECOND.upper()):
            self.assertEqual((await self.manage("PUT", f"/{image_id}")).status, 202)
        await until(lambda: len(self.entries.inventory()) == 2 and not self.app.in_progress)
        while (await self.listed()) != ({FIRST, SECOND}, []):
            pass

    async def test_survives(self) -> None:
        """
        What was queued while nobody worked on the queue is fetched later, in order.
        """
        for image_id in (SECOND, FIRST):
            await self.manage("PUT", f"/{image_id}")
        self.assertEqual(await self.listed(), (set(), [SECOND, FIRST]))
        self.prefetcher.start()
        while (await self.listed()) != ({FIRST, SECOND}, []):
            pass

    async def test_refused_to_the_node(self) -> None:
        """
        An image that the upstream refuses to the node leaves the queue; one for which the node's token is not taken
        stays, as that may be mended.
        """
        self.service.images[FIRST].downloaders.discard("node")
        for image_id in (FIRST, SECOND):
            await self.manage("PUT", f"/{image_id}")
        self.prefetcher.start()
        while (await self.listed()) != ({SECOND}, []):
            pass
        self.service.images[FIRST].downloaders.add("node")
        self.service.tokens.discard("node")
        asked = len(self.service.requests)
        await self.manage("PUT", f"/{FIRST}")
        # The caller's own look at the image, and the node's two ways to ask whether it may have the data.
        await until(lambda: len(self.service.requests) >= asked + 2)
        self.assertEqual((await self.listed())[1], [FIRST])

    async def test_refusals(self) -> None:
        """
        What the caller may not see, what has no data yet, and what is no id is not queued.
        """
        for image_id, status in ((UNKNOWN, 404), (QUEUED, 400), ("nonsense", 404)):
            self.assertEqual((image_id, (await self.manage("PUT", f"/{image_id}")).status), (image_id, status))
        self.assertEqual((await self.listed())[1], [])


class NoCredentialsTests(ManagementTestCase):
    """
    A node without credentials of its own cannot fetch ahead.
    """

    has_credentials = False

    async def test_conflict(self) -> None:
        """
        That is said, with what to do.
        """
        answer = await self.manage("PUT", f"/{FIRST}")
        self.assertEqual(answer.status, 409)
        self.assertIn(b"prefetch_token", answer.body)


class DeleteTests(ManagementTestCase):
    """
    Removing single images, and everything.
    """

    async def test_one(self) -> None:
        """
        A cached or queued image is removed; of one that is neither it matters whether the upstream knows it.
        """
        await self.fill(FIRST)
        await self.index.enqueue("here", SECOND, 1.0)
        for image_id, status in ((FIRST.upper(), 204), (SECOND, 204), (FIRST, 204), (UNKNOWN, 404), ("nonsense", 404)):
            self.assertEqual((image_id, (await self.manage("DELETE", f"/{image_id}")).status), (image_id, status))
        self.assertEqual(await self.listed(), (set(), []))

    async def test_all(self) -> None:
        """
        The header says which of both to clear; without it both are.
        """
        for target, left in (
            ("cache", (set(), [SECOND])),
            ("queue", ({FIRST}, [])),
            ("", (set(), [])),
            (None, (set(), [])),
        ):
            await self.fill(FIRST)
            await self.index.enqueue("here", SECOND, 1.0)
            headers = {} if target is None else {"x_image_cache_clear_target": target}
            self.assertEqual((await self.manage("DELETE", **headers)).status, 204)
            self.assertEqual((target, await self.listed()), (target, left))
            await self.manage("DELETE")

    async def test_unknown_target(self) -> None:
        """
        Any other target is refused, and nothing is cleared.
        """
        await self.fill(FIRST)
        self.assertEqual((await self.manage("DELETE", x_image_cache_clear_target="everything")).status, 400)
        self.assertEqual((await self.listed())[0], {FIRST})
