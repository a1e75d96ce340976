"""
Tests of what a node repeats while its upstream cannot be reached, over real sockets.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from glance_cache.answers import Answers, Collecting, KeptAnswer
from glance_cache.grant import Holder, LivingOn
from glance_cache.passthrough import IRelay, PassThrough
from glance_cache.reach import PROBE_SECONDS, Reach
from glance_cache.repeating import Repeating
from glance_tx.streaming.units import KiB, MiB
from tests.doubles.upstreams import ScriptedSource, reactor
from tests.proxy.folders import IMAGE, OTHER
from tests.proxy.nodes import NodeTestCase, later
from tests.web.raw import RawAnswer, until

RECORD = f"/v2/images/{IMAGE}"
ALICE = "X-Auth-Token: alice"
BOB = "X-Auth-Token: bob"


class RepeatingTestCase(NodeTestCase):
    """
    A node whose upstream is played by the test, until it `leave`s.
    """

    most_bytes = MiB

    def make_living_on(self) -> LivingOn:
        self.repeated = 0
        self.uptime = Clock()
        self.uptime.advance(1000)
        self.reach = Reach(lambda: self.client.probe(PROBE_SECONDS), reactor)
        self.addCleanup(self.reach.stop)
        self.answers = Answers(self.uptime, self.most_bytes, 600)
        return LivingOn(self.reach, 600, self.answers.changed)

    def make_relay(self, passthrough: PassThrough) -> IRelay:
        return Repeating(passthrough, self.answers, self.holders, self.grants, self.reach, self.count_one)

    def count_one(self) -> None:
        self.repeated += 1

    def answered(self) -> None:
        self.reach.answered()

    async def ask(
        self, target: str, *lines: str, status: int = 200, head: Sequence[str] = (), body: bytes = b"{}"
    ) -> RawAnswer:
        """
        Ask by way of the node, and answer.
        """
        client = await self.request("GET", target, *lines)
        connection, _ = await self.raw.exchange()
        connection.head(f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *head)
        connection.send(body)
        answer = await client.answer()
        connection.close()
        return answer

    async def leave(self) -> None:
        """
        Have the upstream listen no more.
        """
        await self.raw.stop()

    async def again(self, target: str, *lines: str) -> RawAnswer:
        """
        Ask once more, with the upstream away.
        """
        client = await self.request("GET", target, *lines)
        return await client.answer()

    def assert_repeated(self, answer: RawAnswer, body: bytes, age: int = 0) -> None:
        self.assertEqual((answer.status, answer.body), (200, body))
        self.assertEqual(answer.headers["x-cache"], "offline")
        self.assertEqual(answer.headers["warning"], '110 - "Response is Stale"')
        self.assertEqual(answer.headers["age"], str(age))


class RepeatingTests(RepeatingTestCase):
    """
    `Repeating` repeats to those who had an answer, and says so.
    """

    async def test_what_is_repeated(self) -> None:
        """
        Lists with their query, records, schemas and versions are repeated as they were, with their age; nothing else
        is.
        """
        asked = {}
        for number, target in enumerate(
            ("/v2/images", "/v2/images?name=golden&limit=3", RECORD, "/v2/schemas/image", "/v2/schemas/metadefs/tag")
        ):
            asked[target] = b'{"number": %d}' % number
            await self.ask(target, ALICE, head=["Content-Type: application/json"], body=asked[target])
        others = (f"{RECORD}/members", "/v2/images?name=other", "/v2/info/import", "/v2/tasks", f"/v2/images/{OTHER}")
        for target in others[:1] + others[2:4]:
            await self.ask(target, ALICE)
        self.uptime.advance(42)
        await self.leave()
        for target, body in asked.items():
            answer = await self.again(target, ALICE)
            self.assert_repeated(answer, body, 42)
            self.assertEqual(answer.headers["content-type"], "application/json")
            self.assertEqual(self.records[-1].cache_state, "offline")
        for target in others:
            self.assertEqual((await self.again(target, ALICE)).status, 503)
        self.assertEqual(self.repeated, len(asked))

    async def test_versions(self) -> None:
        """
        Links of version documents lead to wherever the one who asks now reaches the node.
        """
        document = {"versions": [{"id": "v2.9", "links": [{"href": f"{self.raw.url}/v2/", "rel": "self"}]}]}
        for target, status in (("/", 300), ("/versions", 200)):
            await self.ask(target, status=status, body=json.dumps(document).encode())
        await self.leave()
        for target, status in (("/", 300), ("/versions", 200)):
            answer = await self.again(target)
            self.assertEqual((answer.status, answer.headers["x-cache"]), (status, "offline"))
            self.assertEqual(json.loads(answer.body)["versions"][0]["links"][0]["href"], "http://node.example.com/v2/")

    async def test_to_the_same(self) -> None:
        """
        Nobody gets what another one was answered, nor what he was answered for something else.
        """
        await self.ask(RECORD, ALICE, "Accept: application/json")
        await self.leave()
        for lines in (
            (BOB, "Accept: application/json"),
            ("Accept: application/json",),
            (ALICE, "Accept: text/html"),
            (ALICE,),
            (ALICE, "X-Service-Token: nova", "Accept: application/json"),
            ("X-Storage-Token: alice", "Accept: application/json"),
            (ALICE, "Accept: application/json", "Accept-Encoding: gzip"),
        ):
            self.assertEqual((await self.again(RECORD, *lines)).status, 503)
        self.assertEqual((await self.again(f"{RECORD}?x", ALICE, "Accept: application/json")).status, 503)
        self.assertEqual((await self.again(RECORD, ALICE, "Accept: application/json")).status, 200)

    async def test_headers(self) -> None:
        """
        Of the headers those are repeated that are about the document.
        """
        head = ["Content-Type: a/b", "Set-Cookie: c=1", "X-Openstack-Request-Id: req-1", "X-Other: 1", "ETag: x"]
        await self.ask(RECORD, ALICE, head=[*head, "Access-Control-Allow-Origin: http://a.example.com"])
        await self.leave()
        answer = await self.again(RECORD, ALICE)
        self.assertEqual((answer.headers["content-type"], answer.headers["etag"]), ("a/b", "x"))
        for name in ("set-cookie", "x-other", "access-control-allow-origin"):
            self.assertNotIn(name, answer.headers)
        self.assertNotEqual(answer.headers["x-openstack-request-id"], "req-1")

    async def test_not_kept(self) -> None:
        """
        What was asked with cookies, conditions, or another kind of credentials, and what is not to be stored, comes
        from another cache that could not ask, or is no answer to the question, is not kept.
        """
        for lines in (
            *("Cookie: a=b", "Authorization: Basic eA==", "If-None-Match: x", "Range: bytes=0-1"),
            *("Cache-Control: no-cache", "Cache-Control: no-store", "Pragma: no-cache"),
        ):
            await self.ask(RECORD, ALICE, lines)
            self.assertEqual(self.answers.count, 0, lines)
        for head in (
            *("Cache-Control: no-store", "Cache-Control: max-age=0, must-revalidate", "Vary: *", "Vary: Cookie"),
            "X-Cache: offline",
        ):
            await self.ask(RECORD, ALICE, head=[head])
            self.assertEqual(self.answers.count, 0, head)
        for status in (203, 204, 206, 301, 400, 401, 404, 500):
            await self.ask(RECORD, ALICE, status=status, body=b"")
            self.assertEqual((self.answers.count, self.answers.used_bytes), (0, 0), status)
        await self.ask(RECORD, ALICE, head=["Vary: Accept, X-Auth-Token, accept-encoding"])
        self.assertEqual(self.answers.count, 1)

    async def test_broken_off(self) -> None:
        """
        An answer that did not come whole is not kept, and takes no room.
        """
        client = await self.request("GET", RECORD, ALICE)
        connection, _ = await self.raw.exchange()
        connection.head("HTTP/1.1 200 OK", "Content-Length: 100")
        connection.send(b"x" * 50)
        await until(lambda: b"x" * 50 in client.received)
        connection.close()
        await client.gone()
        self.assertEqual((self.answers.count, self.answers.used_bytes), (0, 0))

    async def test_refused(self) -> None:
        """
        After a refusal nothing is repeated of what was answered before it: 404 for that question, 401 for everything
        that the token had been answered, also where it was shown for something that is not kept.
        """
        for target in (RECORD, "/v2/images", "/v2/schemas/image"):
            await self.ask(target, ALICE)
        await self.ask(RECORD, BOB)
        await self.ask(RECORD, ALICE, status=404)
        self.assertEqual(self.answers.count, 3)
        await self.ask(f"{RECORD}/members", ALICE, status=401)
        await self.leave()
        for target in (RECORD, "/v2/images", "/v2/schemas/image"):
            self.assertEqual((await self.again(target, ALICE)).status, 503)
        self.assert_repeated(await self.again(RECORD, BOB), b"{}")

    async def test_grace(self) -> None:
        """
        It ends with the grace.
        """
        await self.ask(RECORD, ALICE)
        await self.leave()
        self.uptime.advance(599)
        self.assert_repeated(await self.again(RECORD, ALICE), b"{}", 599)
        self.uptime.advance(1)
        self.assertEqual((await self.again(RECORD, ALICE)).status, 503)
        self.assertEqual(self.answers.count, 0)

    async def test_changed(self) -> None:
        """
        The record of an image that is known to have changed since is not repeated, and lists are without it, packed
        or not.
        """
        images = [{"id": IMAGE, "name": "a"}, {"id": OTHER.upper(), "name": "b"}]
        packed = gzip.compress(json.dumps({"images": images, "first": "/v2/images"}).encode())
        gzipped = "Accept-Encoding: gzip"
        await self.ask("/v2/images", ALICE, gzipped, head=["Content-Encoding: gzip"], body=packed)
        await self.ask("/v2/images?limit=2", ALICE, body=json.dumps({"images": images}).encode())
        await self.ask("/v2/images?limit=3", ALICE, body=b"what?")
        for image_id in (IMAGE, OTHER):
            await self.ask(f"/v2/images/{image_id}", ALICE)
        await self.leave()
        self.assertEqual((await self.again("/v2/images", ALICE, gzipped)).body, packed)
        self.grants.revoke(OTHER)
        answer = await self.again("/v2/images", ALICE, gzipped)
        left = json.dumps({"images": images[:1], "first": "/v2/images"}, separators=(",", ":"))
        self.assert_repeated(answer, left.encode())

        self.assertNotIn("content-encoding", answer.headers)
        answer = await self.again("/v2/images?limit=2", ALICE)
        self.assertEqual([image["name"] for image in json.loads(answer.body)["images"]], ["a"])
        self.assertEqual((await self.again("/v2/images?limit=3", ALICE)).status, 503)
        self.assertEqual((await self.again(f"/v2/images/{OTHER}", ALICE)).status, 503)
        self.assert_repeated(await self.again(RECORD, ALICE), b"{}")
        self.grants.revoke_all()
        self.assertEqual((await self.again(RECORD, ALICE)).status, 503)
        self.assertEqual(json.loads((await self.again("/v2/images", ALICE, gzipped)).body)["images"], [])

    async def test_gateway(self) -> None:
        """
        Where a gateway says that it cannot reach the service, the answer is repeated.
        """
        await self.ask(RECORD, ALICE, body=b"kept")
        client = await self.request("GET", RECORD, ALICE)
        for _ in range(2):  # the request, and then the node's own question
            connection, request = await self.raw.exchange()
            connection.reply(502, b"", "Connection: close")
        self.assertEqual(request.target, "/healthcheck")
        self.assert_repeated(await client.answer(), b"kept")
        self.assertTrue(self.reach.offline)

    async def test_only_this_one(self) -> None:
        """
        Where the node's own question is answered, so is the client's, as it is.
        """
        await self.ask(RECORD, ALICE)
        client = await self.request("GET", RECORD, ALICE)
        connection, _ = await self.raw.exchange()
        connection.reply(503, b"", "Connection: close")
        connection, request = await self.raw.exchange()
        self.assertEqual(request.target, "/healthcheck")
        connection.reply(404, b"", "Connection: close")
        answer = await client.answer()
        self.assertEqual((answer.status, answer.headers.get("x-cache")), (503, None))
        self.assertFalse(self.reach.offline)

    async def test_back(self) -> None:
        """
        Once the upstream answers again it is asked again.
        """
        await self.ask(RECORD, ALICE, body=b"old")
        await self.leave()
        self.assert_repeated(await self.again(RECORD, ALICE), b"old")
        self.reach.answered()
        self.assert_repeated(await self.again(RECORD, ALICE), b"old")
        self.assertEqual(self.reach.times, 2)


class BoundsTests(SynchronousTestCase):
    """
    `Answers` keeps to its room.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.answers = Answers(self.clock, 64 * KiB, 600)
        self.holder = Holder()

    def answer(self, size: int) -> KeptAnswer:
        return KeptAnswer(200, (), bytes(size), self.clock.seconds(), self.holder)

    def test_what_was_used_longest_ago_goes(self) -> None:
        """
        There is never more than the room, and what is asked for stays.
        """
        for number in range(100):
            self.answers.keep(b"%d" % number, self.answer(8 * KiB))
            self.assertLessEqual(self.answers.used_bytes, 64 * KiB)
            self.assertIsNotNone(self.answers.find(b"0"))
        self.assertEqual(self.answers.count, 7)
        self.assertIsNone(self.answers.find(b"1"))

    def test_too_large(self) -> None:
        """
        One of more than a quarter is not kept, and takes the one before away.
        """
        self.answers.keep(b"a", self.answer(1))
        self.answers.keep(b"a", self.answer(16 * KiB))
        self.assertEqual((self.answers.count, self.answers.used_bytes), (0, 0))

    def test_on_the_way(self) -> None:
        """
        What is still on its way counts; where there is no room it passes, and is not kept.
        """
        kept: list[bytes] = []
        sources = [ScriptedSource(None) for _ in range(10)]
        bodies = [Collecting(source, self.answers, kept.append) for source in sources]
        for body, source in zip(bodies, sources, strict=True):
            source.send(bytes(8 * KiB))
            self.assertEqual(len(self.read(body)), 8 * KiB)
            self.assertLessEqual(self.answers.used_bytes, 64 * KiB)
        for body, source in zip(bodies, sources, strict=True):
            source.end()
            self.assertEqual(self.read(body), b"")
        self.assertEqual(self.answers.used_bytes, 0)
        self.assertEqual(len(kept), 8)

    def read(self, body: Collecting) -> bytes:
        return self.successResultOf(later(body.read(1)))

    def test_ended(self) -> None:
        """
        Nothing outlives its token.
        """
        self.holder.expires_at = 100
        self.answers.keep(b"a", self.answer(1))
        self.clock.advance(99)
        self.assertIsNotNone(self.answers.find(b"a"))
        self.clock.advance(1)
        self.assertIsNone(self.answers.find(b"a"))
        self.answers.keep(b"a", evolve(self.answer(1), holder=Holder()))
        self.assertIsNotNone(self.answers.find(b"a"))

    def test_too_many_changes(self) -> None:
        """
        Where more images changed than can be known, nothing from before counts.
        """
        answer = self.answer(1)
        self.clock.advance(1)
        for number in range(10_001):
            self.assertTrue(self.answers.holds(answer, "other"))
            self.answers.changed(str(number))
        self.assertFalse(self.answers.holds(answer, "other"))
        self.clock.advance(1)
        self.assertTrue(self.answers.holds(self.answer(1), "other"))
