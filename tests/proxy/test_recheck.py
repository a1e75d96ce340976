"""
Tests of asking whether cached images are still there.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from zope.interface import implementer

from glance_cache.changes import ImageChanges
from glance_cache.errors import UpstreamMismatch, UpstreamRefused, UpstreamUnavailable
from glance_cache.interfaces import IOwnCredentials, UpstreamCredentials
from glance_cache.recheck import Recheck, RecheckTools
from glance_tx.identity.errors import IdentityUnavailable
from tests.doubles.stock_glance import StockImage
from tests.doubles.upstreams import ScriptedUpstream
from tests.proxy.folders import DATA, IMAGE, OTHER
from tests.proxy.test_routes import RoutesTestCase
from tests.web.raw import until

THIRD = "22222222-d94f-49cd-a114-e12490b328d9"
IDS = sorted((IMAGE, OTHER, THIRD))
BY_GLANCE = ((b"X-Openstack-Request-Id", b"req-1"),)


@implementer(IOwnCredentials)
class Own:
    """
    Credentials of the node, and what was said of them.
    """

    def __init__(self) -> None:
        self.others = False
        self.rejected = 0
        self.trouble: Exception | None = None

    async def get(self) -> UpstreamCredentials:
        if self.trouble is not None:
            raise self.trouble
        return UpstreamCredentials(auth_token="node")

    def reject(self, credentials: UpstreamCredentials) -> bool:
        self.rejected += 1
        return self.others


class RecheckTests(RoutesTestCase):
    """
    `Recheck` removes what is deleted upstream.
    """

    async def setUp(self) -> None:
        await super().setUp()
        for image_id in IDS:
            self.glance.images[image_id] = StockImage(image_id, DATA)
            await self.get(path=f"/v2/images/{image_id}/file")
        self.asked: list[str] = []
        self.scripted = ScriptedUpstream(records={image_id: {"id": image_id} for image_id in IDS})
        self.own = Own()
        self.clock = Clock()
        self.gone = 0
        tools = RecheckTools(self.entries, self.scripted, self.own, self.clock, 10, self.count)
        self.recheck = Recheck(tools)
        self.addCleanup(self.recheck.stop)

    def count(self) -> None:
        self.gone += 1

    def refuse(self, image_id: str, status: int, headers: tuple[tuple[bytes, bytes], ...] = BY_GLANCE) -> None:
        self.scripted.records[image_id] = UpstreamRefused(status, headers, b"")

    async def pass_by(self, seconds: float = 0.3) -> None:
        """
        Let so much time go by, which is one look at each image.
        """
        for _ in range(round(seconds * 10)):
            # What is removed is removed in a lane.
            await until(lambda: self.clock.getDelayedCalls() or self.recheck._running is None)
            self.clock.advance(0.1)

    def cached(self) -> list[str]:
        return sorted(info.image_id for info in self.entries.inventory())

    async def check(self) -> list[str]:
        self.recheck.begin()
        await self.pass_by()
        self.assertIsNone(self.recheck._running)
        return self.cached()

    async def test_deleted(self) -> None:
        """
        What the service does not know any more leaves the cache; everything else stays.
        """
        self.assertEqual(await self.check(), IDS)
        self.refuse(OTHER, 404)
        with capturedLogs() as logs:
            self.assertEqual(await self.check(), sorted((IMAGE, THIRD)))
        self.assertEqual(self.gone, 1)
        self.assertIn(OTHER, str(logs))

    async def test_not_by_glance(self) -> None:
        """
        A 404 of something between, which knows no images, is none of the service's.
        """
        for image_id in IDS:
            self.refuse(image_id, 404, ((b"Server", b"balancer"),))
        self.assertEqual(await self.check(), IDS)

    async def test_refused(self) -> None:
        """
        Neither an image that may not be seen, nor one whose record is broken, is a deleted one.
        """
        self.refuse(IDS[0], 403)
        self.scripted.records[IDS[1]] = UpstreamMismatch(IDS[1], "no JSON")
        self.refuse(IDS[2], 404)
        self.assertEqual(await self.check(), IDS[:2])

    async def test_pace(self) -> None:
        """
        So many are asked about in a second, and no more.
        """
        for image_id in IDS:
            self.refuse(image_id, 404)
        self.recheck.begin()
        await until(self.clock.getDelayedCalls)
        self.clock.advance(0.09)
        self.assertEqual(self.cached(), IDS[1:])
        self.clock.advance(0.02)
        await until(lambda: self.cached() == IDS[2:])

    async def test_unavailable(self) -> None:
        """
        While nobody can be asked it waits, and then goes on where it was.
        """
        self.refuse(IDS[0], 404)
        with capturedLogs() as logs:
            self.recheck.begin()
            for trouble in (UpstreamUnavailable("away"), UpstreamRefused(503, (), b""), UpstreamUnavailable("away")):
                self.scripted.records[IDS[1]] = trouble
                await self.pass_by(0.2)
                self.clock.advance(30)
                self.assertEqual(self.cached(), IDS[1:])
        self.assertEqual(len([event for event in logs if "waits" in event["log_format"]]), 1)
        self.refuse(IDS[1], 404)
        self.clock.advance(30)
        await self.pass_by(1)
        self.assertEqual(self.cached(), IDS[2:])

    async def test_credentials(self) -> None:
        """
        A token that is not taken is replaced, once; while there is none it waits.
        """
        self.refuse(IDS[0], 401)
        self.own.others = True
        self.recheck.begin()
        await self.pass_by(0.1)
        self.assertEqual(self.own.rejected, 1)
        self.own.trouble = IdentityUnavailable("Keystone is away")
        self.clock.advance(30)
        self.own.trouble = None
        self.refuse(IDS[0], 404)
        self.clock.advance(30)
        await self.pass_by(0.3)
        self.assertEqual(self.cached(), IDS[1:])

    async def test_again(self) -> None:
        """
        A new reason to look, while it looks, lets it look at everything once more afterwards.
        """
        self.recheck.begin()
        await self.pass_by(0.1)
        self.refuse(IDS[0], 404)
        self.recheck.begin()
        await self.pass_by(0.2)
        self.assertEqual(self.cached(), IDS[1:])
        await self.pass_by(0.5)
        self.assertIsNone(self.recheck._running)

    async def test_subscribed(self) -> None:
        """
        The reason is that the node begins to hear of changes.
        """
        changes = ImageChanges(self.grants, self.entries, self.recheck, lambda: None)
        self.refuse(IDS[0], 404)
        changes.subscribed()
        await self.pass_by()
        self.assertEqual(self.cached(), IDS[1:])
        changes.unsubscribed()
        changes.subscribed()
        await changes.stop()
        self.assertIsNone(self.recheck._running)
