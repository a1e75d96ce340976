"""
Questions to Keystone, and whatever comes of them.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory, Protocol

from glance_tx.identity.keystone.errors import KeystoneGarbage, KeystoneSilent
from glance_tx.identity.keystone.exchange import ANSWER_BYTES
from tests.identity.keystones import KeystoneTestCase, reactor
from tests.web.raw import until


class Stub(Protocol):
    """
    A connection to a server that says what the test wants, and closes nothing.
    """

    said = b""
    lost = False

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(self.said)

    def connectionLost(self, reason: object = None) -> None:
        self.lost = True


class QuestionTests(KeystoneTestCase):
    """
    `KeystoneHttp` asks.
    """

    async def ask(self) -> int:
        return (await self.http.ask("GET", "/auth/tokens", {"X-Auth-Token": "a", "X-Subject-Token": "b"})).status

    def serve(self, said: bytes) -> list[Stub]:
        """
        Use a server that answers everything with these bytes.
        """
        made: list[Stub] = []

        class Stubs(Factory):
            def buildProtocol(self, addr: object) -> Protocol:
                made.append(Stub())
                made[-1].said = said
                return made[-1]

        port = reactor.listenTCP(0, Stubs(), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.addCleanup(until, lambda: all(stub.lost for stub in made))
        self.use(auth_url=f"http://127.0.0.1:{port.getHost().port}")
        return made

    async def test_addresses(self) -> None:
        """
        The address may end in /v3, or not.
        """
        url = self.settings.auth_url or ""
        for written in (url, f"{url}/v3"):
            self.use(auth_url=written)
            self.assertEqual(await self.ask(), 401)
        self.assertEqual([target for _, target, _ in self.keystone.requests], ["/v3/auth/tokens"] * 2)

    async def test_redirects_and_cookies(self) -> None:
        """
        A redirect is an answer like any other: nothing is asked elsewhere. Cookies are not sent back.
        """
        self.keystone.trouble = [301, 307, 200]
        for status in (301, 307, 200, 401):
            self.assertEqual(await self.ask(), status)
        self.assertEqual([target for _, target, _ in self.keystone.requests], ["/v3/auth/tokens"] * 4)
        self.assertFalse(any("cookie" in headers for _, _, headers in self.keystone.requests))

    async def test_no_compression(self) -> None:
        """
        Nothing is said of compression.
        """
        await self.ask()
        self.assertNotIn("accept-encoding", self.keystone.requests[0][2])

    async def test_compressed(self) -> None:
        """
        An answer that is compressed all the same is not decompressed.
        """
        self.serve(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        self.assertEqual((await self.http.ask("GET", "/auth/tokens", {})).body, b"hello")
        await self.pool.closeCachedConnections()

    async def test_kept_connection(self) -> None:
        """
        One question after the other goes by the same connection.
        """
        made = self.serve(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        for _ in range(3):
            self.assertEqual(await self.ask(), 200)
        self.assertEqual(len(made), 1)
        await self.pool.closeCachedConnections()

    async def test_too_long(self) -> None:
        """
        An answer longer than a mebibyte is given up, and its connection closed.
        """
        made = self.serve(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n" + bytes(ANSWER_BYTES + 1))
        with self.assertRaises(KeystoneGarbage):
            await self.ask()
        await until(lambda: made[0].lost)

    async def test_longest(self) -> None:
        """
        One of exactly a mebibyte is taken.
        """
        head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % ANSWER_BYTES
        self.serve(head + bytes(ANSWER_BYTES))
        self.assertEqual(len((await self.http.ask("GET", "/auth/tokens", {})).body), ANSWER_BYTES)

    async def test_hangs(self) -> None:
        """
        A server that accepts and says nothing, or stops in the middle of its answer, is left when its time is over.
        """
        for said in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"):
            made = self.serve(said)
            asking = self.later(self.ask())
            await until(lambda made=made: made)
            await self.turns()
            self.clock.advance(9.9)
            self.assertNoResult(asking)
            self.clock.advance(0.1)
            self.failureResultOf(asking, KeystoneSilent)
            await until(lambda made=made: made[0].lost)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def turns(self) -> None:
        """
        Let what was sent arrive.
        """
        for _ in range(10):
            turn: Deferred[None] = Deferred()
            reactor.callLater(0.002, turn.callback, None)
            await turn

    async def test_cancelled(self) -> None:
        """
        Whoever gives up leaves no connection behind, wherever the question is, and gets nothing but his way.
        """
        for said in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"):
            made = self.serve(said)
            self.use(retries=3)
            asking = self.later(self.ask())
            await until(lambda made=made: made)
            await self.turns()
            asking.cancel()
            self.failureResultOf(asking, CancelledError)
            await until(lambda made=made: made[0].lost)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_tries_again(self) -> None:
        """
        A server in trouble is asked again, after pauses that become longer, as often as the operator says.
        """
        self.use(retries=3)
        self.keystone.trouble = [503, 500, 429]
        asking = self.later(self.ask())
        for times, pause in ((1, 0.5), (2, 1.0), (3, 2.0)):
            await self.asked(times)
            await until(lambda pause=pause: self.next_call() == pause)
            self.clock.advance(pause)
        self.assertEqual(await asking, 401)
        self.assertEqual(len(self.keystone.requests), 4)

    def next_call(self) -> float | None:
        """
        How far away the next thing is that waits for the clock.
        """
        calls = [call.getTime() - self.clock.seconds() for call in self.clock.getDelayedCalls()]
        return min(calls, default=None)

    async def test_gives_up(self) -> None:
        """
        A server that stays in trouble, or cannot be reached, or does not speak HTTP, is silent.
        """
        self.keystone.trouble = [503]
        with self.assertRaises(KeystoneSilent) as caught:
            await self.ask()
        self.assertIn("answered 503", str(caught.exception))
        self.serve(b"SSH-2.0-whatever\r\n\r\n")
        with self.assertRaises(KeystoneSilent):
            await self.ask()
        self.use(auth_url="http://127.0.0.1:1")
        with self.assertRaises(KeystoneSilent) as caught:
            await self.ask()
        self.assertIn("http://127.0.0.1:1/v3 cannot be reached (ConnectionRefusedError)", str(caught.exception))

    async def test_patience(self) -> None:
        """
        However often it may try again, it does so for half a minute and no longer.
        """
        self.serve(b"")
        self.use(retries=10)
        asking = self.later(self.ask())
        for _ in range(305):
            await self.turn_once()
            self.clock.advance(0.1)
        self.failureResultOf(asking, KeystoneSilent)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def turn_once(self) -> None:
        turn: Deferred[None] = Deferred()
        reactor.callLater(0, turn.callback, None)
        await turn

    async def test_many(self) -> None:
        """
        No more than 32 questions are under way at once; the others have their turn.
        """
        hold: Deferred[None] = Deferred()
        self.keystone.trouble = [hold, *[Deferred() for _ in range(31)]]
        held = list(self.keystone.trouble)
        asking = [self.later(self.ask()) for _ in range(40)]
        await self.asked(32)
        await self.turns()
        self.assertEqual(len(self.keystone.requests), 32)
        for deferred in held:
            assert isinstance(deferred, Deferred)
            deferred.callback(None)
        self.assertEqual([await one for one in asking], [401] * 40)
