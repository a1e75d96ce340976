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

from glance_cache.errors import ImageUnsteady, UpstreamRefused
from glance_cache.grants import Grants
from glance_cache.interfaces import ImageFacts, IUpstream, UpstreamCredentials
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
        self.grants = Grants(self.upstream, self.clock, 60.0, b"secret")

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
        self.grants = Grants(self.upstream, self.clock, 0.0, b"secret")
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
            self.grants = Grants(self.upstream, self.clock, ttl_seconds, b"secret")
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
        self.grants = Grants(self.upstream, self.clock, 60.0, b"secret", most_grants=1)
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
        self.grants = Grants(self.upstream, self.clock, 60.0, b"secret", most_grants=2)
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
            self.grants = Grants(self.upstream, self.clock, 60.0, secret)
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
