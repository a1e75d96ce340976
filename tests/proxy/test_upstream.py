"""
Tests of how an upstream is asked.
"""

from __future__ import annotations

import hashlib

from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionRefusedError as RefusedError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IAgent, IResponse
from zope.interface import implementer
from zope.interface.verify import verifyObject

from glance_cache.client import UpstreamClient, UpstreamTimes
from glance_cache.errors import UpstreamRefused, UpstreamUnavailable
from glance_cache.interfaces import ImageFacts, IUpstream, UpstreamCredentials
from glance_cache.upstream import PROBE_AGAIN_SECONDS, GlanceUpstream, image_facts
from glance_tx.streaming.interfaces import IBodySource
from tests.doubles.stock_glance import StockGlance, StockImage

IMAGE = "11111111-1111-4111-8111-111111111111"
DATA = bytes(range(256)) * 8
FACTS = ImageFacts(IMAGE, len(DATA), hashlib.md5(DATA).hexdigest(), "sha512", hashlib.sha512(DATA).hexdigest())
OWNER = UpstreamCredentials(auth_token="owner")


@implementer(IAgent)
class Network:
    """
    Servers by host name; the others refuse connections.
    """

    def __init__(self, **servers: StockGlance) -> None:
        self.agents = {name.encode(): RequestTraversalAgent(server.app.resource()) for name, server in servers.items()}
        self.asked: list[bytes] = []

    def request(self, method: bytes, uri: bytes, *args: object, **named: object) -> Deferred[IResponse]:
        host = uri.split(b"/")[2]
        self.asked.append(host)
        if host not in self.agents:
            return fail(RefusedError())
        return self.agents[host].request(method, uri, *args, **named)  # type: ignore[no-any-return]

    def flush(self) -> None:
        for agent in self.agents.values():
            agent.flush()


class GlanceUpstreamTests(SynchronousTestCase):
    """
    `GlanceUpstream` asks what both kinds of image service answer.
    """

    def setUp(self) -> None:
        self.server = StockGlance({IMAGE: StockImage(IMAGE, DATA)})
        self.clock = Clock()
        self.network = Network(one=self.server)
        self.use("http://one")

    def use(self, *bases: str) -> None:
        clock: IReactorTime = self.clock
        client = UpstreamClient(self.network, clock, bases, UpstreamTimes())
        self.upstream = GlanceUpstream(client, clock)

    def authorize(self, token: str | None = "owner") -> Deferred[ImageFacts | None]:
        asking = Deferred.fromCoroutine(self.upstream.authorize(IMAGE, UpstreamCredentials(auth_token=token)))
        self.network.flush()
        return asking

    def read(self, offset: int = 0) -> tuple[int | None, bytes]:
        async def run() -> tuple[int | None, bytes]:
            body: IBodySource = await self.upstream.open_data(IMAGE, OWNER, offset)
            data = b""
            while piece := await body.read(1):
                data += piece
            return body.length, data

        reading = Deferred.fromCoroutine(run())
        self.network.flush()
        return self.successResultOf(reading)

    def test_interface(self) -> None:
        """
        It is an `IUpstream`.
        """
        self.assertTrue(verifyObject(IUpstream, self.upstream))

    def test_by_head(self) -> None:
        """
        A service that knows HEAD of image data is asked that one question, and its answer has all the facts.
        """
        self.server.knows_head = True
        self.assertEqual(self.successResultOf(self.authorize()), FACTS)
        self.assertEqual(self.server.requests, [("HEAD", f"/v2/images/{IMAGE}/file", None)])

    def test_stock(self) -> None:
        """
        A stock service is asked for the record and for one byte of the data.
        """
        self.assertEqual(self.successResultOf(self.authorize()), FACTS)
        self.assertEqual(
            self.server.requests[1:],
            [("GET", f"/v2/images/{IMAGE}", None), ("GET", f"/v2/images/{IMAGE}/file", "bytes=0-0")],
        )

    def test_head_is_tried_again_later(self) -> None:
        """
        A service without HEAD is not asked for it again until it may have been replaced.
        """
        for _ in range(2):
            self.successResultOf(self.authorize())
        self.assertEqual([method for method, _, _ in self.server.requests].count("HEAD"), 1)
        self.clock.advance(PROBE_AGAIN_SECONDS)
        self.server.knows_head = True
        self.successResultOf(self.authorize())
        self.assertEqual(self.server.requests[-1][0], "HEAD")

    def test_stock_that_cannot_seek(self) -> None:
        """
        Where the store refuses a Range, only a whole download that begins is a grant.
        """
        self.server.seekable = False
        self.assertEqual(self.successResultOf(self.authorize()), FACTS)

    def test_led_elsewhere(self) -> None:
        """
        Where data lies elsewhere the probe goes there, without the token; what is not as long as the image is no
        grant, such as a page where one has to log in.
        """
        for knows_head in (False, True):
            self.server.knows_head = knows_head
            for page, granted in ((DATA, True), (b"Log in!", False)):
                store = StockGlance(documents={"x": (200, page)})
                self.network = Network(one=self.server, two=store)
                self.use("http://one")
                self.server.leads_to = "http://two/x"
                asking = self.authorize()
                self.network.flush()
                if granted:
                    self.assertEqual(self.successResultOf(asking), FACTS)
                else:
                    self.failureResultOf(asking, UpstreamRefused)

    def test_empty_image(self) -> None:
        """
        An image of no bytes, where no Range can be served, is granted by a whole download.
        """
        self.server.images[IMAGE].data = b""
        facts = self.successResultOf(self.authorize())
        self.assertEqual(facts and facts.size, 0)

    def test_no_data(self) -> None:
        """
        An image without data is allowed and has no facts, whichever way it is asked.
        """
        self.server.images[IMAGE].data = None
        self.assertIsNone(self.successResultOf(self.authorize()))
        self.server.knows_head = True
        self.clock.advance(PROBE_AGAIN_SECONDS)
        self.assertIsNone(self.successResultOf(self.authorize()))

    def test_refusals(self) -> None:
        """
        Whoever may not download is refused with the upstream's own status; seeing the image is not enough.
        """
        for knows_head in (False, True):
            self.server.knows_head = knows_head
            self.clock.advance(PROBE_AGAIN_SECONDS)
            for token, status in (("garbage", 401), (None, 401), ("stranger", 404), ("reader", 403)):
                refusal = self.failureResultOf(self.authorize(token), UpstreamRefused).value
                self.assertEqual((token, refusal.status), (token, status))

    def test_open(self) -> None:
        """
        The data comes whole, with its length.
        """
        self.assertEqual(self.read(), (len(DATA), DATA))

    def test_open_further_on(self) -> None:
        """
        A read from an offset asks for that range.
        """
        self.assertEqual(self.read(1000), (len(DATA) - 1000, DATA[1000:]))
        self.assertEqual(self.server.requests[-1][2], "bytes=1000-")

    def test_open_further_on_without_seeking(self) -> None:
        """
        Where the store cannot seek the bytes before are thrown away.
        """
        self.server.seekable = False
        self.assertEqual(self.read(1000), (len(DATA) - 1000, DATA[1000:]))

    def test_open_refused(self) -> None:
        """
        Anything but the data is a refusal that carries the upstream's answer.
        """
        self.server.images.clear()
        opening = Deferred.fromCoroutine(self.upstream.open_data(IMAGE, OWNER))
        self.network.flush()
        refusal = self.failureResultOf(opening, UpstreamRefused).value
        self.assertEqual((refusal.status, refusal.body), (404, b"refused"))

    def test_next_upstream(self) -> None:
        """
        The next upstream is asked where one does not answer, and asked first from then on.
        """
        self.use("http://gone", "http://one")
        self.server.knows_head = True
        for _ in range(2):
            self.assertEqual(self.successResultOf(self.authorize()), FACTS)
        self.assertEqual(self.network.asked, [b"gone", b"one", b"one"])

    def test_nobody_answers(self) -> None:
        """
        Where none answers it is said of each why.
        """
        self.use("http://gone", "http://lost")
        failure = self.failureResultOf(self.authorize(), UpstreamUnavailable)
        self.assertIn("http://gone: ", str(failure.value))
        self.assertIn("http://lost: ", str(failure.value))


class ImageFactsTests(SynchronousTestCase):
    """
    `image_facts` keeps only digests that data can be checked against.
    """

    def test_unusable_digests(self) -> None:
        """
        Unknown algorithms, digests of variable length, and values that are no hex of the right length are left out.
        """
        for algorithm, value in (
            ("sha999", "0" * 128),
            ("shake_128", "0" * 64),
            ("sha256", "0" * 63),
            ("sha256", "G" * 64),
            ("sha256", None),
            (None, "0" * 64),
        ):
            facts = image_facts(IMAGE.upper(), 1, "nonsense", algorithm, value)
            self.assertEqual(facts, ImageFacts(IMAGE, 1), (algorithm, value))
