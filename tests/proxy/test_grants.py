"""
Tests of remembered authorizations.
"""

from __future__ import annotations

import gc

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from glance_cache.credential_keys import CredentialKeys
from glance_cache.errors import ImageUnsteady, UpstreamRefused, UpstreamUnavailable
from glance_cache.grant import Grant, LivingOn
from glance_cache.grants import Grants
from glance_cache.holders import Holders
from glance_cache.interfaces import ImageFacts, IUpstream, UpstreamCredentials
from glance_cache.reach import Reach
from glance_tx.identity.errors import IdentityUnavailable
from glance_tx.streaming.interfaces import IBodySource

IMAGE = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"
ALICE = UpstreamCredentials(auth_token="alice")
FACTS = ImageFacts(IMAGE, 5)


@implementer(IUpstream)
@define
class Oracle:
    """
    An upstream whose answers the test gives.
    """

    asked: list[tuple[str, UpstreamCredentials]] = field(factory=list)
    answers: list[Deferred[ImageFacts | None]] = field(factory=list)

    async def authorize(self, image_id: str, credentials: UpstreamCredentials) -> ImageFacts | None:
        self.asked.append((image_id, credentials))
        answer: Deferred[ImageFacts | None] = Deferred()
        self.answers.append(answer)
        return await answer

    async def open_data(self, image_id: str, credentials: UpstreamCredentials, offset: int = 0) -> IBodySource:
        raise NotImplementedError

    async def show(self, image_id: str, credentials: UpstreamCredentials) -> dict[str, object]:
        raise NotImplementedError


class GrantsTests(SynchronousTestCase):
    """
    `Grants` remembers what the upstream allowed, for a while, and forgets on demand.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.upstream = Oracle()
        self.grants = Grants(self.upstream, self.clock, 60.0, Holders(CredentialKeys(b"secret"), self.clock))

    def holders(self) -> Holders:
        return Holders(CredentialKeys(b"secret"), self.clock)

    def ask(self, image_id: str = IMAGE, credentials: UpstreamCredentials = ALICE) -> Deferred[ImageFacts | None]:
        return Deferred.fromCoroutine(self.grants.grant(image_id, credentials)).addCallback(lambda grant: grant.facts)

    def granted(self) -> None:
        asking = self.ask()
        self.upstream.answers[-1].callback(FACTS)
        self.assertEqual(self.successResultOf(asking), FACTS)

    def test_remembers(self) -> None:
        """
        Within its time a grant is given without asking the upstream.
        """
        self.granted()
        self.clock.advance(59)
        self.assertEqual(self.successResultOf(self.ask()), FACTS)
        self.assertEqual(len(self.upstream.asked), 1)

    def test_runs_out(self) -> None:
        """
        A grant ends when its time, counted from the question, is over.
        """
        asking = self.ask()
        self.clock.advance(30)
        self.upstream.answers[-1].callback(FACTS)
        self.successResultOf(asking)
        self.clock.advance(30)
        self.assertNoResult(self.ask())

    def test_no_ttl(self) -> None:
        """
        Without a time to live every question goes to the upstream.
        """
        self.grants = Grants(self.upstream, self.clock, 0.0, Holders(CredentialKeys(b"secret"), self.clock))
        self.granted()
        self.granted()
        self.assertEqual(len(self.upstream.asked), 2)

    def test_nothing_to_cache_is_remembered_too(self) -> None:
        """
        An allowed download without data is a grant as well.
        """
        asking = self.ask()
        self.upstream.answers[-1].callback(None)
        self.assertIsNone(self.successResultOf(asking))
        self.assertIsNone(self.successResultOf(self.ask()))

    def test_refusal_is_not_remembered(self) -> None:
        """
        After a refusal the next question goes to the upstream again.
        """
        asking = self.ask()
        self.upstream.answers[-1].errback(UpstreamRefused(403, (), b""))
        self.failureResultOf(asking, UpstreamRefused)
        self.granted()

    def test_single_flight(self) -> None:
        """
        Questions for the same at the same time are one question, and each gets the answer.
        """
        asking = [self.ask() for _ in range(5)]
        self.assertEqual(len(self.upstream.asked), 1)
        self.upstream.answers[0].callback(FACTS)
        self.assertEqual([self.successResultOf(each) for each in asking], [FACTS] * 5)

    def test_one_refusal_for_all(self) -> None:
        """
        A refusal reaches everybody who waited for it.
        """
        asking = [self.ask() for _ in range(3)]
        self.upstream.answers[0].errback(UpstreamRefused(404, (), b""))
        for each in asking:
            self.failureResultOf(each, UpstreamRefused)

    def test_first_one_leaves(self) -> None:
        """
        Whoever asked first may leave: the others still get their answer.
        """
        first, second = self.ask(), self.ask()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.upstream.answers[0].callback(FACTS)
        self.assertEqual(self.successResultOf(second), FACTS)

    def test_credentials_are_kept_apart(self) -> None:
        """
        A grant is for all credential headers together, each in its own place, and for one image.
        """
        self.granted()
        for number, (image_id, credentials) in enumerate(
            [
                (OTHER, ALICE),
                (IMAGE, UpstreamCredentials()),
                (IMAGE, UpstreamCredentials(auth_token="")),
                (IMAGE, UpstreamCredentials(auth_token="mallory")),
                (IMAGE, UpstreamCredentials(storage_token="alice")),
                (IMAGE, UpstreamCredentials(auth_token="alice", service_token="nova")),
                (IMAGE, UpstreamCredentials(auth_token="alic", storage_token="e")),
            ],
            start=2,
        ):
            self.assertNoResult(self.ask(image_id, credentials))
            self.assertEqual(len(self.upstream.asked), number)

    def test_revoke(self) -> None:
        """
        Revoking an image ends its grants and no other's.
        """
        self.granted()
        other = self.ask(OTHER)
        self.upstream.answers[-1].callback(ImageFacts(OTHER, 1))
        self.successResultOf(other)
        self.grants.revoke(IMAGE)
        self.assertNoResult(self.ask())
        self.successResultOf(self.ask(OTHER))

    def test_revoked_while_asking(self) -> None:
        """
        An answer that was under way when the image was revoked is not used: the upstream is asked anew.
        """
        asking = self.ask()
        self.grants.revoke(IMAGE)
        self.upstream.answers[0].callback(FACTS)
        self.assertNoResult(asking)
        self.upstream.answers[1].errback(UpstreamRefused(404, (), b""))
        self.failureResultOf(asking, UpstreamRefused)

    def test_answer_after_revoking(self) -> None:
        """
        Whoever asks after a revocation does not get what was asked before it, and neither does anybody later, in
        whatever order the answers come.
        """
        early = self.ask()
        self.grants.revoke(IMAGE)
        late = self.ask()
        self.assertEqual(len(self.upstream.asked), 2)
        self.upstream.answers[1].errback(UpstreamRefused(403, (), b""))
        self.failureResultOf(late, UpstreamRefused)
        self.upstream.answers[0].callback(FACTS)
        self.assertNoResult(early)
        self.assertEqual(len(self.upstream.asked), 3)
        self.upstream.answers[2].errback(UpstreamRefused(403, (), b""))
        self.failureResultOf(early, UpstreamRefused)
        self.assertNoResult(self.ask())

    def test_revoked_later(self) -> None:
        """
        A grant that somebody holds knows that it was revoked, remembered or not.
        """
        for ttl_seconds in (60.0, 0.0):
            self.grants = Grants(self.upstream, self.clock, ttl_seconds, Holders(CredentialKeys(b"secret"), self.clock))
            holding = Deferred.fromCoroutine(self.grants.grant(IMAGE, ALICE))
            self.upstream.answers[-1].callback(FACTS)
            held = self.successResultOf(holding)
            self.grants.revoke(OTHER)
            self.assertFalse(held.revoked)
            self.grants.revoke(IMAGE)
            self.assertTrue(held.revoked)

    def test_unsteady(self) -> None:
        """
        An image that changes during each question is given up after some.
        """
        asking = self.ask()
        for number in range(3):
            self.grants.revoke(IMAGE)
            self.upstream.answers[number].callback(FACTS)
        self.failureResultOf(asking, ImageUnsteady)
        self.assertEqual((len(self.upstream.asked), self.grants.count), (3, 0))

    def test_nothing_is_kept(self) -> None:
        """
        Of an image that nobody has a grant for, nothing is kept.
        """
        self.grants = Grants(self.upstream, self.clock, 60.0, self.holders(), most_grants=1)
        for image_id in (IMAGE, OTHER):
            asking = self.ask(image_id)
            self.upstream.answers[-1].callback(FACTS)
            self.successResultOf(asking)
            del asking
        self.upstream.answers.clear()
        gc.collect()
        self.assertEqual(list(self.grants._generations), [OTHER])

    def test_revoke_all(self) -> None:
        """
        Revoking everything ends every grant and voids every answer under way.
        """
        self.granted()
        other = self.ask(OTHER)
        self.grants.revoke_all()
        self.upstream.answers[-1].callback(ImageFacts(OTHER, 1))
        self.assertNoResult(other)
        self.assertNoResult(self.ask())

    def test_bounded(self) -> None:
        """
        The oldest grant goes when there are too many.
        """
        self.grants = Grants(self.upstream, self.clock, 60.0, self.holders(), most_grants=2)
        self.granted()
        for token in ("bob", "carol"):
            self.ask(IMAGE, UpstreamCredentials(auth_token=token))
            self.upstream.answers[-1].callback(FACTS)
        self.assertNoResult(self.ask())

    def test_no_token_in_a_key(self) -> None:
        """
        What is remembered does not contain a token.
        """
        self.granted()
        self.assertNotIn("alice", repr(vars(self.grants)))

    def test_a_secret_in_each_key(self) -> None:
        """
        Nobody who knows a token and an image finds them among the keys: no node makes the keys of another.
        """
        keys = set()
        for secret in (b"secret", b"another"):
            self.grants = Grants(self.upstream, self.clock, 60.0, Holders(CredentialKeys(secret), self.clock))
            self.granted()
            keys.update(self.grants._grants)
        self.assertEqual(len(keys), 2)

    def test_stop(self) -> None:
        """
        Stopping cancels the question under way, and with it whoever waits.
        """
        asking = self.ask()
        self.grants.stop()
        self.failureResultOf(asking, CancelledError)


class LivingOnTests(SynchronousTestCase):
    """
    While no upstream can be reached grants live on, for the grace and no longer.
    """

    ttl_seconds = 60.0

    def setUp(self) -> None:
        self.clock = Clock()
        self.upstream = Oracle()
        self.answers_probes = False
        self.left: float | Exception | None = None
        self.asked_expiry = 0
        self.reach = Reach(self.probe, self.clock)
        self.changed: list[str | None] = []
        living_on = LivingOn(self.reach, 600.0, self.changed.append)
        holders = Holders(CredentialKeys(b"secret"), self.clock, self.expiry)
        self.grants = Grants(self.upstream, self.clock, self.ttl_seconds, holders, living_on=living_on)

    async def probe(self) -> None:
        if self.answers_probes:
            self.reach.answered()

    async def expiry(self, credentials: UpstreamCredentials) -> float | None:
        self.asked_expiry += 1
        if isinstance(self.left, Exception):
            raise self.left
        return self.left

    def ask(self, image_id: str = IMAGE, credentials: UpstreamCredentials = ALICE) -> Deferred[Grant]:
        return Deferred.fromCoroutine(self.grants.grant(image_id, credentials))

    def granted(self, image_id: str = IMAGE, credentials: UpstreamCredentials = ALICE) -> None:
        asking = self.ask(image_id, credentials)
        self.upstream.answers[-1].callback(ImageFacts(image_id, 5))
        self.assertFalse(self.successResultOf(asking).offline)

    def away(self, error: Exception | None = None) -> None:
        """
        The upstream says nothing to the last question.
        """
        self.upstream.answers[-1].errback(error or UpstreamUnavailable("away"))

    def lives_on(self, image_id: str = IMAGE, credentials: UpstreamCredentials = ALICE) -> bool:
        """
        Ask while the upstream says nothing; tell whether there is a grant, which is marked then.
        """
        asked = len(self.upstream.answers)
        asking = self.ask(image_id, credentials)
        if len(self.upstream.answers) > asked:
            self.away()
        if isinstance(asking.result, Grant):
            grant = self.successResultOf(asking)
            self.assertEqual((grant.offline, grant.facts, grant.revoked), (True, ImageFacts(image_id, 5), False))
            return True
        self.failureResultOf(asking, UpstreamUnavailable)
        return False

    def test_for_the_grace(self) -> None:
        """
        A grant lives on from the end of its time to that of the grace, and not a moment longer.
        """
        self.granted()
        self.clock.advance(59)
        self.assertFalse(self.successResultOf(self.ask()).offline)
        self.clock.advance(1)
        self.assertTrue(self.lives_on())
        self.clock.advance(599)
        self.assertTrue(self.lives_on())
        self.clock.advance(1)
        self.assertFalse(self.lives_on())

    def test_asked_once(self) -> None:
        """
        Once the node knows that it is offline, what lives on is given without asking the upstream.
        """
        self.granted()
        self.clock.advance(60)
        self.assertTrue(self.lives_on())
        self.assertEqual(len(self.upstream.asked), 2)
        self.assertTrue(self.lives_on())
        self.assertEqual(len(self.upstream.asked), 2)

    def test_nobody_else(self) -> None:
        """
        Who had no grant gets none, for another image or with other credentials.
        """
        self.granted()
        self.clock.advance(60)
        self.assertFalse(self.lives_on(OTHER))
        self.assertFalse(self.lives_on(IMAGE, UpstreamCredentials(auth_token="bob")))
        self.assertFalse(self.lives_on(IMAGE, UpstreamCredentials()))
        self.assertTrue(self.lives_on())

    def test_gateway(self) -> None:
        """
        502, 503 and 504 leave it open what the service would have said; what else comes is passed on.
        """
        self.granted()
        self.clock.advance(60)
        for status in (502, 503, 504):
            asking = self.ask()
            self.away(UpstreamRefused(status, (), b""))
            self.assertTrue(self.successResultOf(asking).offline)
            self.reach.answered()
        asking = self.ask()
        self.away(UpstreamRefused(500, (), b""))
        self.failureResultOf(asking, UpstreamRefused)

    def test_only_this_question_fails(self) -> None:
        """
        Where the node's own question is answered nothing lives on: perhaps the caller made his fail.
        """
        self.answers_probes = True
        self.granted()
        self.clock.advance(60)
        for error in (UpstreamUnavailable("away"), UpstreamRefused(503, (), b"")):
            asking = self.ask()
            self.away(error)
            self.failureResultOf(asking, type(error))

    def test_refused(self) -> None:
        """
        What the upstream refused does not live on, whatever it was before.
        """
        for status in (401, 403, 404, 400, 410):
            self.granted()
            self.clock.advance(60)
            self.reach.answered()
            asking = self.ask()
            self.away(UpstreamRefused(status, (), b""))
            self.failureResultOf(asking, UpstreamRefused)
            self.assertFalse(self.lives_on())
            self.reach.answered()

    def test_token_refused(self) -> None:
        """
        401 for one image ends what the token had been granted for every other, and nothing of another's.
        """
        bob = UpstreamCredentials(auth_token="bob")
        self.granted()
        self.granted(OTHER)
        self.granted(OTHER, bob)
        self.clock.advance(60)
        asking = self.ask()
        self.away(UpstreamRefused(401, (), b""))
        self.failureResultOf(asking, UpstreamRefused)
        self.assertFalse(self.lives_on(OTHER))
        self.assertTrue(self.lives_on(OTHER, bob))

    def test_refused_elsewhere(self) -> None:
        """
        What the upstream refused when something else was asked counts, too.
        """
        for status, ended in ((401, {IMAGE, OTHER}), (404, {IMAGE}), (403, {IMAGE})):
            for image_id in (IMAGE, OTHER):
                self.granted(image_id)
            self.grants.refused(ALICE, status, IMAGE)
            self.clock.advance(60)
            self.assertEqual({each for each in (IMAGE, OTHER) if not self.lives_on(each)}, ended)
            self.reach.answered()

    def test_revoked(self) -> None:
        """
        What is known to have ended never lives on, be it heard of before the upstream was lost or after.
        """
        for offline in (False, True):
            self.granted()
            self.granted(OTHER)
            self.clock.advance(60)
            if offline:
                self.assertTrue(self.lives_on())
            self.grants.revoke(IMAGE)
            self.assertFalse(self.lives_on())
            self.assertTrue(self.lives_on(OTHER))
            self.grants.revoke_all()
            self.assertFalse(self.lives_on(OTHER))
            self.reach.answered()

    def test_a_held_one_is_revoked(self) -> None:
        """
        Whoever holds one that lives on sees when it ends.
        """
        self.granted()
        self.clock.advance(60)
        self.assertTrue(self.lives_on())
        held = self.successResultOf(self.ask())
        self.grants.revoke(IMAGE)
        self.assertTrue(held.revoked)

    def test_doubt(self) -> None:
        """
        Where changes may have been missed the upstream is asked first, also within the time of a grant and while
        the node is offline; where it says nothing, the grant lives on, to the same end.
        """
        for doubt in (self.grants.doubt_all, lambda: self.grants.doubt(IMAGE)):
            self.granted()
            held = self.successResultOf(self.ask())
            doubt()
            self.assertTrue(held.revoked)
            asked = len(self.upstream.asked)
            self.assertTrue(self.lives_on())
            self.assertEqual(len(self.upstream.asked), asked + 1)
            self.clock.advance(659)
            doubt()
            self.assertTrue(self.lives_on())
            self.clock.advance(1)
            self.assertFalse(self.lives_on())
            self.reach.answered()

    def test_doubt_and_then_a_change(self) -> None:
        """
        A change that is heard of after a doubt ends what lives on all the same.
        """
        self.granted()
        self.grants.doubt_all()
        self.grants.doubt(IMAGE)
        self.assertTrue(self.lives_on())
        self.grants.revoke(IMAGE)
        self.assertFalse(self.lives_on())

    def test_back(self) -> None:
        """
        When the upstream is back, it is asked about everything that lived on, and its word counts.
        """
        self.granted()
        self.clock.advance(60)
        self.assertTrue(self.lives_on())
        self.reach.answered()
        asking = self.ask()
        self.assertNoResult(asking)
        self.upstream.answers[-1].errback(UpstreamRefused(404, (), b""))
        self.failureResultOf(asking, UpstreamRefused)

    def test_silence(self) -> None:
        """
        Of an upstream that says nothing at all a caller with a grant waits for seconds, not for its whole time; when
        it is back, nobody waits for the old question.
        """
        self.granted()
        self.clock.advance(60)
        asking = self.ask()
        self.clock.advance(2.9)
        self.assertNoResult(asking)
        self.clock.advance(0.2)
        self.assertTrue(self.successResultOf(asking).offline)
        self.reach.answered()
        self.granted()

    def test_nothing_to_wait_for(self) -> None:
        """
        A caller without a grant waits for the upstream: it may be slow only.
        """
        asking = self.ask()
        self.clock.advance(59)
        self.assertNoResult(asking)
        self.upstream.answers[-1].callback(FACTS)
        self.assertFalse(self.successResultOf(asking).offline)

    def test_expiry(self) -> None:
        """
        No grant outlives its token, where the node knows its end: neither in its time nor after it.
        """
        self.left = 100.0
        self.granted()
        self.clock.advance(99)
        self.assertTrue(self.lives_on())
        self.clock.advance(1)
        self.assertFalse(self.lives_on())
        self.reach.answered()
        self.left = 10.0
        bob = UpstreamCredentials(auth_token="bob")
        self.granted(IMAGE, bob)
        self.clock.advance(10)
        self.assertFalse(self.lives_on(IMAGE, bob))
        self.assertEqual(self.asked_expiry, 2)

    def test_unknown_expiry(self) -> None:
        """
        An end that cannot be found out is asked for again with the next grant.
        """
        self.left = IdentityUnavailable("away")
        self.granted()
        self.left = 100.0
        self.granted(OTHER)
        self.granted("33333333-3333-4333-8333-333333333333")
        self.assertEqual(self.asked_expiry, 2)
        self.clock.advance(100)
        self.assertFalse(self.lives_on())


class LivingOnFromTheStartTests(LivingOnTests):
    """
    The same where the upstream is asked each time: the grace begins with the grant.
    """

    ttl_seconds = 0.0

    def test_for_the_grace(self) -> None:
        """
        A grant lives on for the grace, and not a moment longer.
        """
        self.granted()
        self.clock.advance(599)
        self.assertTrue(self.lives_on())
        self.clock.advance(1)
        self.assertFalse(self.lives_on())

    def test_doubt(self) -> None:
        """
        There is no time in which the upstream is not asked.
        """
        self.granted()
        self.grants.doubt_all()
        self.assertTrue(self.lives_on())
