"""
Tests of what clients are told of what goes wrong.
"""

from __future__ import annotations

from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from glance_cache import errors
from glance_cache.errors import CacheError, UpstreamBrokeOff, UpstreamMismatch, UpstreamRefused, UpstreamUnavailable
from glance_cache.faults import cache_faults
from glance_tx.errors import FactualError
from glance_tx.identity.errors import IdentityError
from glance_tx.streaming.errors import ReceiverLost, StreamingError
from glance_tx.web.errors import ListenFailed, WebError

# A client that has left is told nothing, and there is none before a port is listened at.
NEVER_TOLD = {CacheError, StreamingError, WebError, IdentityError, ListenFailed, ReceiverLost}


def family(kind: type[FactualError]) -> Iterator[type[FactualError]]:
    """
    A class and everything derived from it, in this project.
    """
    yield kind
    for derived in kind.__subclasses__():
        if derived.__module__.startswith(("glance_tx.", "glance_cache.")):
            yield from family(derived)


class CacheFaultsTests(SynchronousTestCase):
    """
    `cache_faults` knows every error that a client may be told of.
    """

    def setUp(self) -> None:
        self.table = cache_faults()

    def test_complete(self) -> None:
        """
        No error of ours is an unexpected condition.
        """
        self.assertGreater(len(list(family(CacheError))), 12)
        missing = [
            kind.__name__
            for base in (CacheError, StreamingError, WebError, IdentityError)
            for kind in family(base)
            if kind not in NEVER_TOLD and self.table.rule_of(kind) is None
        ]
        self.assertEqual(missing, [])

    def test_try_again(self) -> None:
        """
        What may be better in a moment is a 503 with word of when, and never a 502 or 504.
        """
        for exc in (
            UpstreamUnavailable("http://10.0.0.1: refused"),
            UpstreamBrokeOff("http://10.0.0.1: stalled"),
            UpstreamMismatch("1", "the data has another hash"),
            errors.FolderUnusable("/var/cache", "read-only"),
            errors.FillFailed("1", "the disk"),
            errors.EntryCorrupt("1", 7),
            errors.IndexUnavailable("no answer"),
        ):
            answer = self.table.answer(exc, None)
            assert answer is not None
            self.assertEqual((answer.status, dict(answer.headers)["Retry-After"]), (503, "5"), exc)

    def test_secrets(self) -> None:
        """
        Clients are not told where the upstream is, or where the disk.
        """
        for exc in (UpstreamUnavailable("http://10.0.0.1: x"), errors.FolderUnusable("/var/cache", "x")):
            answer = self.table.answer(exc, "*/*")
            assert answer is not None
            assert isinstance(answer.body, bytes)
            self.assertNotIn(b"10.0.0.1", answer.body)
            self.assertNotIn(b"/var/cache", answer.body)

    def test_statuses(self) -> None:
        """
        The others have the status that the service would give.
        """
        for exc, status in (
            (errors.EntryNotFound("1"), 404),
            (errors.ImageNotActive("1", "queued"), 400),
            (errors.ManagementForbidden("no"), 403),
            (errors.PrefetchImpossible("no token"), 409),
        ):
            answer = self.table.answer(exc, None)
            assert answer is not None
            self.assertEqual(answer.status, status)

    def test_refusals_pass_through(self) -> None:
        """
        A refusal of the upstream is its own answer.
        """
        refusal = UpstreamRefused(429, ((b"Retry-After", b"7"), (b"X-A", b"\xe9")), b"slow down")
        answer = self.table.answer(refusal, "application/json")
        assert answer is not None
        self.assertEqual((answer.status, answer.body), (429, b"slow down"))
        self.assertEqual(answer.headers, (("Retry-After", "7"), ("X-A", "é")))
