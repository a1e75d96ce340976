"""
Everything that a handler of the caching tier can raise has an answer.
"""

from __future__ import annotations

from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from glance_cache import errors as cache
from glance_cache.faults import cache_faults
from glance_tx.errors import FactualError
from glance_tx.identity.errors import IdentityError
from glance_tx.streaming import errors as streaming
from glance_tx.web import errors as web

FAMILIES = (cache.CacheError, IdentityError, streaming.StreamingError, web.WebError)

NEVER_ANSWERED: dict[type[FactualError], str] = {
    streaming.ReceiverLost: "there is nobody left to answer",
    web.ListenFailed: "nothing is served yet",
}
"""Exceptions without an answer of their own, and why."""


def kinds(base: type[FactualError]) -> Iterator[type[FactualError]]:
    """
    Every exception of this project below a base that is raised itself.
    """
    for kind in base.__subclasses__():
        if kind.__module__.startswith(("glance_tx.", "glance_cache.")):
            yield kind
            yield from kinds(kind)


class FaultTableTests(SynchronousTestCase):
    """
    `cache_faults` knows what to answer.
    """

    def test_complete(self) -> None:
        """
        Each exception has an answer, or a reason why it needs none; none has both.
        """
        table = cache_faults()
        unforeseen = {kind for family in FAMILIES for kind in kinds(family) if table.rule_of(kind) is None}
        self.assertEqual(unforeseen, set(NEVER_ANSWERED))

    def test_upstream_away(self) -> None:
        """
        An upstream that cannot be asked is answered by 503 with a time to try again, and nothing of which it is.
        """
        for error in (
            cache.UpstreamUnavailable("http://inner.example.com: refused"),
            cache.UpstreamBrokeOff("http://inner.example.com: lost"),
            cache.UpstreamMismatch("id", "another size"),
        ):
            answer = cache_faults().answer(error, None)
            assert answer is not None
            self.assertEqual(answer.status, 503)
            self.assertIn(("Retry-After", "5"), answer.headers)
            self.assertNotIn(b"inner", answer.body)  # type: ignore[arg-type]

    def test_refusal_passes(self) -> None:
        """
        The upstream's own refusal goes to the client as it is.
        """
        answer = cache_faults().answer(cache.UpstreamRefused(451, ((b"X-Why", b"law"),), b"no"), None)
        assert answer is not None
        self.assertEqual((answer.status, answer.headers, answer.body), (451, (("X-Why", "law"),), b"no"))
