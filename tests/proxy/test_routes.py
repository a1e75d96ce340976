"""
Tests of image data as clients get it: a node on a real port, before an image service on a real port.
"""

from __future__ import annotations

import hashlib
import os

from twisted.internet.defer import Deferred, gatherResults
from zope.interface import implementer

from glance_cache.catalog import CHUNK_BYTES
from glance_cache.grant import LivingOn
from glance_cache.interfaces import UpstreamCredentials
from glance_cache.projects import Projects
from glance_cache.reach import PROBE_SECONDS, Reach
from glance_tx.identity.caller import Caller
from glance_tx.identity.errors import IdentityUnavailable, NotAuthenticated
from glance_tx.identity.interfaces import Credentials, IIdentity
from glance_tx.streaming.units import MiB
from tests.doubles.stock_glance import StockGlance, StockImage
from tests.doubles.upstreams import reactor, turns
from tests.proxy.folders import DATA, IMAGE
from tests.proxy.nodes import NodeTestCase, later
from tests.web.raw import RawAnswer, until

PATH = f"/v2/images/{IMAGE}/file"
OWNER = "X-Auth-Token: owner"


class RoutesTestCase(NodeTestCase):
    """
    A node before a double of an image service.
    """

    knows_head = True

    def upstream_urls(self) -> list[str]:
        self.glance = StockGlance({IMAGE: StockImage(IMAGE, DATA)}, knows_head=self.knows_head)
        return [self.serve(self.glance)]

    async def get(self, *lines: str, token: str | None = "owner", path: str = PATH, method: str = "GET") -> RawAnswer:
        credentials = () if token is None else (f"X-Auth-Token: {token}",)
        client = await self.request(method, path, *credentials, *lines)
        answer = await client.answer(to_head=method == "HEAD")
        await self.settled()
        return answer

    async def settled(self) -> None:
        """
        Let a fill come to its end: its last byte goes out before the image is durable.
        """
        await until(lambda: not self.fills._running)

    def assert_data(self, answer: RawAnswer, state: str, data: bytes = DATA) -> None:
        self.assertEqual((answer.status, answer.headers.get("x-cache")), (200, state))
        self.assertEqual(answer.body, data)
        self.assertEqual(answer.headers["content-length"], str(len(data)))
        self.assertNotIn("transfer-encoding", answer.headers)


@implementer(IIdentity)
class ScriptedIdentity:
    """
    Knows what a test says.

    :ivar outcome: A caller, what is raised, or ``None`` for no answer at all.
    """

    outcome: Caller | Exception | None = None

    async def identify(self, credentials: Credentials) -> Caller:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome or await Deferred()


class ProjectTests(RoutesTestCase):
    """
    Hits by project.
    """

    def make_projects(self) -> Projects:
        self.identity = ScriptedIdentity()
        return Projects(self.identity)

    async def test_hits_by_project(self) -> None:
        """
        A hit counts for the project that the node's own strategy knows the caller by, and for none where it knows no
        such caller, cannot say, or does not say in time: nobody waits for it.
        """
        await self.get()
        self.assertEqual(self.projects, [])
        for outcome in (
            Caller("u", "p", ("member",)),
            Caller("u", None, ()),
            NotAuthenticated("no such token"),
            IdentityUnavailable("away"),
            None,
        ):
            self.identity.outcome = outcome
            self.assert_data(await self.get(), "hit")
        self.assertEqual(self.projects, ["p", "-", "-", "-", "-"])
        self.assertEqual(len(self.hits), 5)


class DownloadTests(RoutesTestCase):
    """
    Downloads, before a service that knows HEAD of image data.
    """

    async def test_fill_then_hit(self) -> None:
        """
        The first download is a fill and the next a hit, which are told as such, and look as the service's own.
        """
        for state in ("fill", "hit", "hit"):
            answer = await self.get()
            self.assert_data(answer, state)
            self.assertEqual(answer.headers["content-type"], "application/octet-stream")
            self.assertEqual(answer.headers["content-md5"], hashlib.md5(DATA).hexdigest())
            self.assertEqual(self.records[-1].cache_state, state)
        self.assertEqual(self.glance.transfers, 1)
        self.assertEqual(self.counted, {"fill": 1, "hit": 2})

    async def test_hits_are_counted(self) -> None:
        """
        A hit is a whole image from the cache, sent to its end; nothing else is one.
        """
        await self.get()
        await self.get("Range: bytes=0-10")
        await self.get(method="HEAD")
        self.assertEqual(self.hits, [])
        await self.get()
        await self.get()
        self.assertEqual(self.hits, [(IMAGE, len(DATA))] * 2)

    async def test_sends_are_told(self) -> None:
        """
        Downloads that the service behind does not see are told: hits, whole or in part, and those that follow a
        fill; a fill it has told of itself.
        """
        await self.get()
        self.assertEqual(self.told.events, [])
        await self.get()
        await self.get("Range: bytes=0-10")
        whole, part = self.told.events
        self.assertEqual((whole.event_type, whole.priority), ("image.send", "INFO"))
        self.assertEqual(
            whole.payload,
            {
                "bytes_sent": len(DATA),
                "image_id": IMAGE,
                "owner_id": None,
                "receiver_tenant_id": None,
                "receiver_user_id": None,
                "destination_ip": "127.0.0.1",
            },
        )
        self.assertEqual((dict(part.payload)["bytes_sent"], part.priority), (11, "INFO"))

    async def test_aborted(self) -> None:
        """
        Neither is one that a client does not take to its end.
        """
        self.glance.images[IMAGE].data = os.urandom(32 * MiB)
        credentials = UpstreamCredentials(auth_token="owner")
        facts = (await self.grants.grant(IMAGE, credentials)).facts
        assert facts is not None
        await self.cache.fill(facts, credentials)
        client = await self.request("GET", PATH, OWNER)
        self.assertIn(b"X-Cache: hit", await client.bytes_until(b"\r\n\r\n"))
        client.close()
        await until(lambda: self.records)
        self.assertFalse(self.records[-1].complete)
        self.assertEqual(self.hits, [])
        self.assertEqual([event.priority for event in self.told.events], ["ERROR"])

    async def test_herd(self) -> None:
        """
        Clients that come at once cost one transfer.
        """
        answers = await gatherResults([later(self.get()) for _ in range(16)])
        for answer in answers:
            self.assertEqual(answer.body, DATA)
        self.assertEqual(self.glance.transfers, 1)
        self.assertEqual(self.counted, {"fill": 1, "follow": 15})

    async def test_unknown_length(self) -> None:
        """
        Whoever gets data is told its length, even where the service does not say it.
        """
        self.glance.chunked = True
        self.assert_data(await self.get(), "fill")
        self.assert_data(await self.get(), "hit")

    async def test_spellings(self) -> None:
        """
        An image is one and the same under every spelling of its path.
        """
        await self.get()
        for path in (
            PATH.replace("/v2/", "/v2.0/"),
            PATH.replace("/v2/", "/v2.15/"),
            PATH.replace("images", "%69mages"),
            f"/v2/images/{IMAGE.upper()}/file",
            f"{PATH}?prefer=fast",
        ):
            self.assert_data(await self.get(path=path), "hit")

    async def test_other_ids(self) -> None:
        """
        What has no image's id is for the service to say.
        """
        self.glance.images["cirros"] = StockImage("cirros", DATA)
        self.assert_data(await self.get(path="/v2/images/cirros/file"), "bypass")
        self.assertEqual((await self.get(path="/v2/images/x/file")).status, 404)

    async def test_empty(self) -> None:
        """
        Images of no bytes, and such without data, are the service's to send.
        """
        self.glance.images[IMAGE].data = b""
        self.assert_data(await self.get(), "bypass", b"")
        self.grants.revoke_all()
        self.glance.images[IMAGE].data = None
        answer = await self.get()
        self.assertEqual(answer.status, 204)
        self.assertNotIn("x-cache", answer.headers)
        self.assertEqual(self.fills.count, 0)

    async def test_damaged(self) -> None:
        """
        An image whose first chunk was changed on the disk is not sent: the client is asked to try again, and gets it.
        """
        await self.get()
        (path,) = self.path.glob("entries/*/*.data")
        with path.open("r+b") as file:
            file.write(b"\0" * 4096)
        answer = await self.get()
        self.assertEqual((answer.status, answer.headers["retry-after"]), (503, "5"))
        self.assertEqual(len(self.corrupt), 1)
        self.assert_data(await self.get(), "fill")


class StockDownloadTests(DownloadTests):
    """
    The same before a stock service.
    """

    knows_head = False


class RangeTests(RoutesTestCase):
    """
    Parts of an image.
    """

    def assert_part(self, answer: RawAnswer, state: str, start: int, end: int) -> None:
        self.assertEqual((answer.status, answer.headers.get("x-cache")), (206, state))
        self.assertEqual(answer.headers["content-range"], f"bytes {start}-{end - 1}/{len(DATA)}")
        self.assertEqual(answer.headers["content-md5"], hashlib.md5(DATA).hexdigest())
        self.assertEqual(answer.headers["content-length"], str(end - start))
        self.assertEqual(answer.body, DATA[start:end])

    async def test_hit(self) -> None:
        """
        Parts of a cached image come from the cache.
        """
        await self.get()
        size = len(DATA)
        for header, start, end in (
            ("Range: bytes=0-0", 0, 1),
            (f"Range: bytes={CHUNK_BYTES - 1}-{CHUNK_BYTES}", CHUNK_BYTES - 1, CHUNK_BYTES + 1),
            ("Range: bytes=-5", size - 5, size),
            ("Range: bytes=7-", 7, size),
            ("Range: bytes=7-99999999", 7, size),
            (f"Content-Range: bytes 3-9/{size}", 3, 10),
        ):
            self.assert_part(await self.get(header), "hit", start, end)
        self.assertEqual(self.glance.transfers, 1)

    async def test_bad(self) -> None:
        """
        What cannot be served is refused as the service does.
        """
        for header, status in (
            (f"Range: bytes={len(DATA)}-", 416),
            ("Range: bytes=5-4", 416),
            ("Range: lines=1-2", 416),
            ("Range: bytes=0-1,3-4", 400),
        ):
            answer = await self.get(header)
            self.assertEqual(answer.status, status)
            self.assertNotIn("x-cache", answer.headers)

    async def test_bypass(self) -> None:
        """
        Parts of an image that is not cached come from the service, and are no reason to fetch all of it.
        """
        for chunked in (False, True):
            self.glance.chunked = chunked
            self.assert_part(await self.get("Range: bytes=10-20"), "bypass", 10, 21)
        self.assertEqual(self.fills.count, 0)
        self.assertEqual(self.counted, {"bypass": 2})

    async def test_service_cannot_seek(self) -> None:
        """
        Where the service refuses parts, its word goes for those that are not cached.
        """
        self.glance.seekable = False
        answer = await self.get("Range: bytes=10-20")
        self.assertEqual((answer.status, answer.body), (400, b"cannot seek"))


class AuthorizationTests(RoutesTestCase):
    """
    The service decides who gets what.
    """

    EXPECTED = {"stranger": 404, "reader": 403, "garbage": 401, None: 401, "": 401}

    async def assert_refused(self) -> None:
        for token, status in self.EXPECTED.items():
            answer = await self.get(token=token)
            self.assertEqual((token, answer.status, answer.body), (token, status, b"refused"))
            self.assertNotIn("x-cache", answer.headers)

    async def test_refused(self) -> None:
        """
        Whom it refuses gets its own words, before the image is cached and after.
        """
        await self.assert_refused()
        self.assertEqual(self.fills.count, 0)
        await self.get()
        await self.assert_refused()
        self.assert_data(await self.get(), "hit")

    async def test_remembered(self) -> None:
        """
        A permission is remembered for its credentials, and for no others.
        """
        await self.get()
        asked = len(self.glance.requests)
        await self.get()
        self.assertEqual(len(self.glance.requests), asked)
        self.glance.images[IMAGE].downloaders = {"friend"}
        self.glance.tokens.add("friend")
        self.assert_data(await self.get(token="friend"), "hit")
        self.assertGreater(len(self.glance.requests), asked)

    async def test_ambiguous_credentials(self) -> None:
        """
        Credentials that two servers could read in two ways are refused, with nobody asked.
        """
        for lines in (
            (OWNER, "X-Auth-Token: stranger"),
            (OWNER, OWNER),
            (OWNER, "X-Service-Token: a", "X-Service-Token: b"),
            ("X-Auth-Token: own\xe9r",),
        ):
            answer = await self.get(*lines, token=None)
            self.assertEqual(answer.status, 400)
        self.assertEqual(self.glance.requests, [])

    async def test_nothing_of_others(self) -> None:
        """
        An answer from the cache, be it a fill, one that follows or a hit, has nothing of what the service said to
        whoever it was asked for.
        """
        marks = ("Set-Cookie", "X-Subject-Token", "Vary", "X-Custom", "Via")
        self.glance.marks = dict.fromkeys(marks, "of={}")
        self.glance.images[IMAGE].downloaders |= {"friend"}
        self.glance.tokens.add("friend")
        answers = await gatherResults([later(self.get(token=token)) for token in ("owner", "friend")])
        self.assertEqual(sorted(answer.headers["x-cache"] for answer in answers), ["fill", "follow"])
        answers += [await self.get(token="friend"), await self.get("Range: bytes=0-9", token="friend")]
        self.assertEqual([answer.headers["x-cache"] for answer in answers[2:]], ["hit", "hit"])
        for answer in answers:
            self.assertEqual(answer.headers.keys() & {name.lower() for name in marks}, set())
            self.assertNotIn("of=", str(answer.headers))

    async def test_lies(self) -> None:
        """
        Who says of himself that he is an admin is asked for a token all the same.
        """
        await self.get()
        answer = await self.get("X-Roles: admin", "X-Identity-Status: Confirmed", token=None)
        self.assertEqual(answer.status, 401)


class StockAuthorizationTests(AuthorizationTests):
    """
    The same before a stock service.
    """

    knows_head = False


class ChangeTests(RoutesTestCase):
    """
    What goes through the node, and changes an image, ends what it knows of it.
    """

    async def cached(self) -> bool:
        await turns(5)
        return bool(self.entries.inventory())

    async def test_deleted(self) -> None:
        """
        A deleted image leaves the cache.
        """
        await self.get()
        answer = await self.get(method="DELETE", path=f"/v2/images/{IMAGE}")
        self.assertEqual(answer.status, 204)
        self.assertFalse(await self.cached())
        self.assertEqual((await self.get()).status, 404)

    async def test_gone(self) -> None:
        """
        So does one that turns out to be gone.
        """
        await self.get()
        del self.glance.images[IMAGE]
        self.assertEqual((await self.get(method="DELETE", path=f"/v2/images/{IMAGE}")).status, 404)
        self.assertFalse(await self.cached())

    async def test_not_deleted(self) -> None:
        """
        Who may not delete an image does not remove it from the cache either.
        """
        await self.get()
        answer = await self.get(method="DELETE", path=f"/v2/images/{IMAGE}", token="garbage")
        self.assertEqual((answer.status, answer.body), (401, b"refused"))
        self.assertTrue(await self.cached())

    async def test_grants_end(self) -> None:
        """
        Whatever may change who may read an image has the service asked anew.
        """
        await self.get()
        for method, path in (
            ("PATCH", f"/v2/images/{IMAGE}"),
            ("POST", f"/v2/images/{IMAGE}/actions/deactivate"),
            ("PUT", f"/v2/images/{IMAGE}/members/somebody"),
            ("PUT", f"/v2.5/images/{IMAGE.upper()}/file"),
            ("DELETE", f"/v2/images/%{ord(IMAGE[0]):x}{IMAGE[1:]}/tags/x"),
        ):
            await self.get(method=method, path=path)
            asked = len(self.glance.requests)
            self.assert_data(await self.get(), "hit")
            self.assertEqual(len(self.glance.requests), asked + 1, path)

    async def test_grants_go_on(self) -> None:
        """
        Looking at an image, or changing another one, does not.
        """
        await self.get()
        for method, path in (
            ("GET", f"/v2/images/{IMAGE}"),
            ("HEAD", f"/v2/images/{IMAGE}"),
            ("PATCH", "/v2/images/11111111-d94f-49cd-a114-e12490b328d9"),
            ("POST", "/v2/images"),
            ("PUT", "/v2/images/%zz/file"),
        ):
            await self.get(method=method, path=path)
            asked = len(self.glance.requests)
            self.assert_data(await self.get(), "hit")
            self.assertEqual(len(self.glance.requests), asked, path)


class SmallCacheTests(RoutesTestCase):
    """
    A cache that is too small for an image.
    """

    max_bytes = MiB

    async def test_bypass(self) -> None:
        """
        The image goes past it, whole and with its length, each time.
        """
        for chunked in (False, True):
            self.glance.chunked = chunked
            self.assert_data(await self.get(), "bypass")
        self.assertEqual(self.glance.transfers, 2)
        self.assertEqual(self.counted, {"bypass": 2})
        self.assertEqual(self.records[-1].cache_state, "bypass")


class ForgetfulTests(RoutesTestCase):
    """
    A node that remembers no grants.
    """

    grant_seconds = 0.0

    async def test_asks_each_time(self) -> None:
        """
        It asks each time.
        """
        await self.get()
        self.glance.images[IMAGE].downloaders.clear()
        self.assertEqual((await self.get()).status, 403)


class OfflineTests(RoutesTestCase):
    """
    Downloads while the service cannot be reached.
    """

    grant_seconds = 0.0

    def make_living_on(self) -> LivingOn:
        self.reach = Reach(lambda: self.client.probe(PROBE_SECONDS), reactor)
        self.addCleanup(self.reach.stop)
        return LivingOn(self.reach, 600)

    def answered(self) -> None:
        self.reach.answered()

    async def test_served_on(self) -> None:
        """
        A cached image is served on, whole and in part, and says how; the whole one counts as a hit.
        """
        await self.get()
        await self.stop_upstreams()
        for _ in range(2):
            answer = await self.get()
            self.assert_data(answer, "offline")
            self.assertEqual(answer.headers["warning"], '110 - "Response is Stale"')
            self.assertEqual(answer.headers["content-md5"], hashlib.md5(DATA).hexdigest())
        part = await self.get("Range: bytes=3-9")
        self.assertEqual((part.status, part.headers["x-cache"], part.body), (206, "offline", DATA[3:10]))
        self.assertEqual(self.hits, [(IMAGE, len(DATA))] * 2)
        self.assertEqual(self.counted, {"fill": 1, "offline": 3})
        self.assertEqual(self.records[-1].cache_state, "offline")

    async def test_no_longer_here(self) -> None:
        """
        An image that has left the cache is not to be had, and no fill is begun.
        """
        await self.get()
        await self.entries.remove(IMAGE)
        await self.stop_upstreams()
        begun = self.fills.count
        for _ in range(2):
            answer = await self.get()
            self.assertEqual((answer.status, answer.headers["retry-after"]), (503, "5"))
        self.assertEqual(self.fills.count, begun)

    async def test_changed_in_vain(self) -> None:
        """
        A change that could not be passed on ends nothing: or anybody could end what lives on for others.
        """
        await self.get()
        await self.stop_upstreams()
        for method, path in (("DELETE", f"/v2/images/{IMAGE}"), ("POST", f"/v2/images/{IMAGE}/actions/deactivate")):
            self.assertEqual((await self.get(method=method, path=path, token="stranger")).status, 503)
            self.assert_data(await self.get(), "offline")

    async def test_deleted(self) -> None:
        """
        A change that went by way of the node ends what could have lived on.
        """
        await self.get()
        path = f"/v2/images/{IMAGE}/actions/deactivate"
        self.assertLess((await self.get(method="POST", path=path)).status, 300)
        await self.stop_upstreams()
        self.assertEqual((await self.get()).status, 503)
