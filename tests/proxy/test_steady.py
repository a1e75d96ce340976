"""
Tests of image data that comes whole, however many connections that takes.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from glance_cache.errors import UpstreamBrokeOff, UpstreamMismatch, UpstreamRefused, UpstreamUnavailable
from glance_cache.interfaces import ImageFacts, IOwnCredentials, IUpstream, IUpstreamData, UpstreamCredentials
from glance_cache.sponsors import Sponsors
from glance_cache.steady import SteadySource
from glance_tx.identity.errors import IdentityUnavailable
from glance_tx.streaming.errors import BodyLost
from tests.doubles.upstreams import ScriptedSource, ScriptedUpstream

IMAGE = "71c675ab-d94f-49cd-a114-e12490b328d9"
DATA = bytes(range(100))
OWNER, FRIEND, STRANGER = (UpstreamCredentials(auth_token=name) for name in ("owner", "friend", "stranger"))


def refused(status: int, *headers: tuple[bytes, bytes]) -> UpstreamRefused:
    return UpstreamRefused(status, headers, b"")


@implementer(IOwnCredentials)
class OwnAccount:
    """
    An account whose tokens are numbered, or whose one token stays as it is.
    """

    def __init__(self, *, renewable: bool = True) -> None:
        self.number = 1
        self.away = False
        self._renewable = renewable

    async def get(self) -> UpstreamCredentials:
        if self.away:
            raise IdentityUnavailable("nobody there")
        return UpstreamCredentials(auth_token=f"own-{self.number}")

    def reject(self, credentials: UpstreamCredentials) -> bool:
        if self._renewable and credentials.auth_token == f"own-{self.number}":
            self.number += 1
        return self._renewable


class SteadyTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.upstream = ScriptedUpstream({IMAGE: ImageFacts(IMAGE, len(DATA))})
        self.own: OwnAccount | None = None
        self.make()

    def make(self) -> None:
        self.sponsors = Sponsors(OWNER, self.own)
        self.steady = SteadySource(
            self.upstream, ImageFacts(IMAGE, len(DATA)), self.sponsors, self.clock, patience_seconds=60
        )

    def open(self, offset: int = 0) -> ScriptedSource:
        self.successResultOf(Deferred.fromCoroutine(self.steady.open(offset)))
        return self.source

    @property
    def source(self) -> ScriptedSource:
        return self.upstream.sources[-1]

    def read(self) -> Deferred[bytes]:
        return Deferred.fromCoroutine(self.steady.read(1))

    def read_all(self) -> bytes:
        data = b""
        while piece := self.successResultOf(self.read()):
            data += piece
        return data


class SteadyTests(SteadyTestCase):
    """
    `SteadySource` goes on where a connection left it.
    """

    def test_interface(self) -> None:
        """
        It is an `IUpstreamData`, and what it asks in these tests is an `IUpstream`.
        """
        self.assertTrue(verifyObject(IUpstreamData, self.steady))
        self.assertTrue(verifyObject(IUpstream, self.upstream))
        self.assertTrue(verifyObject(IUpstreamData, self.open()))

    def test_one_connection(self) -> None:
        """
        Data that comes by one connection comes as it is.
        """
        source = self.open()
        source.send(DATA[:60])
        source.send(DATA[60:])
        source.end()
        self.assertEqual(self.read_all(), DATA)
        self.assertEqual(self.upstream.asked, [("owner", 0)])

    def test_from_an_offset(self) -> None:
        """
        The beginning need not be asked for, and its length is not counted.
        """
        source = self.open(70)
        self.assertEqual(self.steady.length, 30)
        source.send(DATA[70:])
        source.end()
        self.assertEqual(self.read_all(), DATA[70:])
        self.assertEqual(self.upstream.asked, [("owner", 70)])

    def test_nothing_wanted(self) -> None:
        """
        Nobody is asked for nothing.
        """
        self.successResultOf(Deferred.fromCoroutine(self.steady.open(100)))
        self.assertEqual(self.read_all(), b"")
        self.assertEqual(self.upstream.asked, [])

    def test_goes_on(self) -> None:
        """
        A connection that breaks off, ends early, or stands still is followed by one from there on, a moment later.
        """
        self.upstream.says_length = False
        source = self.open()
        for offset, reason in ((10, BodyLost(10, "cut")), (25, UpstreamBrokeOff("stalled")), (40, None)):
            source.send(DATA[offset - 10 : offset])
            self.successResultOf(self.read())
            reading = self.read()
            source.end() if reason is None else source.fail(reason)
            self.assertTrue(source.cancelled)
            self.assertNoResult(reading)
            self.clock.advance(0.1)
            source = self.source
            source.send(b"next")
            self.assertEqual(self.successResultOf(reading), b"next")
        self.assertEqual([offset for _, offset in self.upstream.asked], [0, 10, 24, 38])

    def test_ends_with_some_progress(self) -> None:
        """
        A server that is stopped again and again, and sends something each time, is borne.
        """
        self.upstream.says_length = False
        source = self.open()
        for _ in range(5):
            source.send(b"x")
            self.successResultOf(self.read())
            reading = self.read()
            source.end()
            self.clock.advance(0.1)
            source = self.source
            source.send(b"y")
            self.successResultOf(reading)

    def test_last_bytes(self) -> None:
        """
        When all bytes are there it does not matter how the connection ends.
        """
        source = self.open()
        source.send(DATA)
        self.successResultOf(self.read())
        reading = self.read()
        source.fail(BodyLost(100, "cut"))
        self.clock.advance(0.1)
        self.assertEqual(self.successResultOf(reading), b"")
        self.assertEqual(len(self.upstream.asked), 1)

    def test_slower_and_slower(self) -> None:
        """
        An upstream that is away is asked in pauses that grow, up to five seconds, and not for ever.
        """
        source = self.open()
        reading = self.read()
        self.upstream.outcomes = [UpstreamUnavailable("away")] * 100
        source.fail(BodyLost(0, "cut"))
        pauses = []
        while calls := self.clock.getDelayedCalls():
            pauses.append(calls[0].getTime() - self.clock.seconds())
            self.clock.advance(pauses[-1])
        self.assertEqual([round(pause, 3) for pause in pauses[:8]], [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])
        self.assertIn("no byte for", str(self.failureResultOf(reading, UpstreamUnavailable).value))
        self.assertLess(abs(self.clock.seconds() - 60), 5)
        self.assertEqual(len(self.upstream.asked), 1 + len(pauses))

    def test_patience_begins_anew(self) -> None:
        """
        Each byte renews the patience.
        """
        source = self.open()
        for offset in range(0, 50, 10):
            source.send(DATA[offset : offset + 10])
            self.successResultOf(self.read())
            reading = self.read()
            self.clock.advance(55)
            source.fail(BodyLost(0, "cut"))
            self.clock.advance(0.1)
            source = self.source
            source.send(b"")
            reading.cancel()
            self.failureResultOf(reading, CancelledError)

    def test_cancelled_in_a_pause(self) -> None:
        """
        Who gives up in a pause leaves no timer behind.
        """
        source = self.open()
        reading = self.read()
        source.fail(BodyLost(0, "cut"))
        reading.cancel()
        self.failureResultOf(reading, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancel(self) -> None:
        """
        Giving up closes the connection; again, or after the end, it does nothing.
        """
        source = self.open()
        self.steady.cancel()
        self.steady.cancel()
        self.assertTrue(source.cancelled)


class RefusalTests(SteadyTestCase):
    """
    What becomes of refusals, which an upstream may also think of in the middle.
    """

    def test_at_the_start(self) -> None:
        """
        A refusal at the start is told, whatever it is, and whoever else could be asked for.
        """
        self.sponsors.add(FRIEND)
        for outcome in (refused(403), refused(503), UpstreamUnavailable("away")):
            self.upstream.outcomes = [outcome]
            opening = Deferred.fromCoroutine(self.steady.open(0))
            self.failureResultOf(opening, type(outcome))
        self.assertEqual(self.upstream.asked, [("owner", 0)] * 3)

    def interrupted(self) -> Deferred[bytes]:
        source = self.open()
        reading = self.read()
        source.fail(BodyLost(0, "cut"))
        return reading

    def test_in_the_middle(self) -> None:
        """
        A refusal in the middle ends it.
        """
        for status in (401, 403, 404):
            reading = self.interrupted()
            self.upstream.outcomes = [refused(status)]
            self.clock.advance(0.1)
            self.assertEqual(self.failureResultOf(reading, UpstreamRefused).value.status, status)

    def test_others_go_on(self) -> None:
        """
        Unless there are others in whose name it can go on; those who were refused are not asked for again.
        """
        self.sponsors.add(STRANGER)
        self.sponsors.add(FRIEND)
        reading = self.interrupted()
        self.upstream.outcomes = [refused(401), refused(404)]
        self.clock.advance(0.1)
        self.source.send(DATA)
        self.assertEqual(self.successResultOf(reading), DATA)
        self.assertEqual([token for token, _ in self.upstream.asked], ["owner", "owner", "stranger", "friend"])
        self.assertEqual(self.sponsors.current, FRIEND)

    def test_all_refused(self) -> None:
        """
        When the last is refused, that is the end.
        """
        self.sponsors.add(FRIEND)
        reading = self.interrupted()
        self.upstream.outcomes = [refused(401), refused(404)]
        self.clock.advance(0.1)
        self.assertEqual(self.failureResultOf(reading, UpstreamRefused).value.status, 404)

    def test_passing(self) -> None:
        """
        An upstream in trouble is asked again.
        """
        reading = self.interrupted()
        self.upstream.outcomes = [refused(status) for status in (503, 502, 429, 500)]
        self.clock.pump([0.1] * 40)
        self.source.send(DATA)
        self.assertEqual(self.successResultOf(reading), DATA)

    def test_asks_for_time(self) -> None:
        """
        One that says for how long it wants to be left alone is left alone so long, up to a minute.
        """
        self.clock.rightNow = 589.9
        for text, seconds in ((b"Thu, 01 Jan 1970 00:10:00 GMT", 10), (b"7", 7), (b"999", 60), (b"soon", 0.1)):
            self.upstream.sources.clear()
            reading = self.interrupted()
            self.upstream.outcomes = [refused(503, (b"Retry-After", text))]
            self.clock.advance(0.1)
            asked = len(self.upstream.asked)
            self.clock.advance(seconds - 0.2 if seconds > 1 else 0.05)
            self.assertEqual(len(self.upstream.asked), asked, text)
            self.clock.advance(0.3)
            self.assertEqual(len(self.upstream.asked), asked + 1, text)
            self.source.send(b"x")
            self.successResultOf(reading)
            self.make()


class OwnTests(SteadyTestCase):
    """
    A token that ends in the middle is followed by the node's own.
    """

    def use(self, *, renewable: bool = True) -> OwnAccount:
        self.own = OwnAccount(renewable=renewable)
        self.assertTrue(verifyObject(IOwnCredentials, self.own))
        self.make()
        return self.own

    def interrupted(self, *outcomes: UpstreamRefused | None) -> Deferred[bytes]:
        if not self.upstream.sources:
            self.open()
        reading = self.read()
        self.source.fail(BodyLost(0, "cut"))
        self.upstream.outcomes = list(outcomes)
        self.clock.advance(0.1)
        return reading

    def tokens(self) -> list[str | None]:
        return [token for token, _ in self.upstream.asked]

    def test_ended(self) -> None:
        """
        The node's own comes first, and clients' after it.
        """
        self.use()
        self.sponsors.add(FRIEND)
        reading = self.interrupted(refused(401))
        self.source.send(DATA)
        self.assertEqual(self.successResultOf(reading), DATA)
        self.assertEqual(self.tokens(), ["owner", "owner", "own-1"])

    def test_own_ended(self) -> None:
        """
        Its own is renewed where it has ended as well, once; then it is up to the clients.
        """
        self.use()
        self.sponsors.add(FRIEND)
        reading = self.interrupted(refused(401), refused(401), refused(401))
        self.source.send(DATA)
        self.successResultOf(reading)
        self.assertEqual(self.tokens(), ["owner", "owner", "own-1", "own-2", "friend"])

    def test_own_ends_again(self) -> None:
        """
        In a transfer that takes days its own ends more than once.
        """
        self.use()
        for number in range(1, 5):
            reading = self.interrupted(refused(401))
            self.source.send(b"x")
            self.successResultOf(reading)
            self.assertEqual(self.tokens()[-1], f"own-{number}")

    def test_own_token_of_a_prefetch(self) -> None:
        """
        Where its own began the transfer a new one goes on.
        """
        self.use()
        self.sponsors = Sponsors(UpstreamCredentials(auth_token="own-1"), self.own)
        self.steady = SteadySource(self.upstream, ImageFacts(IMAGE, 100), self.sponsors, self.clock, 60)
        reading = self.interrupted(refused(401))
        self.source.send(DATA)
        self.successResultOf(reading)
        self.assertEqual(self.tokens(), ["own-1", "own-1", "own-2"])

    def test_own_stays_refused(self) -> None:
        """
        A token that cannot be renewed is shown once.
        """
        self.use(renewable=False)
        failure = self.failureResultOf(self.interrupted(refused(401), refused(401)), UpstreamRefused)
        self.assertEqual(failure.value.status, 401)
        self.assertEqual(self.tokens(), ["owner", "owner", "own-1"])

    def test_no_own_to_be_had(self) -> None:
        """
        Without a Keystone it is up to the clients at once.
        """
        self.use().away = True
        self.sponsors.add(FRIEND)
        reading = self.interrupted(refused(401))
        self.source.send(DATA)
        self.successResultOf(reading)
        self.assertEqual(self.tokens()[-1], "friend")

    def test_not_for_those_who_may_not(self) -> None:
        """
        Who may not read the image any more gets no help from an account that may read all of them.
        """
        for status in (403, 404):
            self.use()
            self.upstream.sources.clear()
            self.failureResultOf(self.interrupted(refused(status)), UpstreamRefused)
        self.assertEqual(set(self.tokens()), {"owner"})


class MismatchTests(SteadyTestCase):
    """
    An upstream that contradicts itself is not believed.
    """

    def test_other_length(self) -> None:
        """
        Data that is announced with another length is not begun with.
        """
        for length in (99, 101):
            self.upstream.outcomes = [length]
            self.failureResultOf(Deferred.fromCoroutine(self.steady.open(0)), UpstreamMismatch)
            self.assertTrue(self.source.cancelled)

    def test_more(self) -> None:
        """
        More bytes than there should be are not taken.
        """
        self.upstream.says_length = False
        source = self.open()
        source.send(DATA + b"x")
        self.assertIn("more than the 100", str(self.failureResultOf(self.read(), UpstreamMismatch).value))

    def test_fewer(self) -> None:
        """
        Data that ends in good order again and again where there should be more is a contradiction, and not fetched
        for ever.
        """
        self.upstream.says_length = False
        source = self.open()
        source.send(DATA[:90])
        self.successResultOf(self.read())
        reading = self.read()
        for _ in range(3):
            self.source.end()
            self.clock.advance(1)
        self.assertIn("after 90 of the 100", str(self.failureResultOf(reading, UpstreamMismatch).value))
        self.assertEqual(len(self.upstream.asked), 3)

    def test_distrusted(self) -> None:
        """
        Whoever sent a part of what turns out to be wrong is told, and so is one who offers another length.
        """
        self.open().send(DATA[:50])
        self.successResultOf(self.read())
        reading = self.read()
        self.source.fail(BodyLost(50, "cut"))
        self.upstream.outcomes = [51]
        self.clock.advance(0.1)
        self.failureResultOf(reading, UpstreamMismatch)
        self.steady.distrust()
        self.assertEqual([source.distrusted for source in self.upstream.sources], [True, True])
