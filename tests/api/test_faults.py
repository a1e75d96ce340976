"""
Everything that a handler can raise has an answer.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from glance_tx.api.faults import api_faults
from glance_tx.domain.errors import BadPropertySchema, CatalogUnavailable, DomainError, NoData
from glance_tx.errors import FactualError
from glance_tx.identity.errors import IdentityError
from glance_tx.stores import errors as stores
from glance_tx.streaming import errors as streaming
from glance_tx.web import errors as web

FAMILIES = (DomainError, IdentityError, stores.StoreError, streaming.StreamingError, web.WebError)

NEVER_ANSWERED: dict[type[FactualError], str] = {
    BadPropertySchema: "schemas are read before anything is served",
    stores.LocationNotFound: "for missing data a download says NoData, and removing them is never answered to a client",
    stores.LocationNotAllowed: "only after an operator moved a store: an error of the service, for its log",
    stores.LocationTaken: "only in a database older than its store: an error of the service, as in stock Glance",
    stores.UnknownStore: "names of stores come from the configuration, which is read before anything is served",
    streaming.BodyTooShort: "of an answer that was begun: its connection breaks",
    streaming.ShortFile: "of an answer that was begun: its connection breaks; before that a download says NoData",
    streaming.ReceiverLost: "there is nobody left to answer",
    web.ListenFailed: "nothing is served yet",
}
"""Exceptions without an answer of their own, and why."""


def kinds(base: type[FactualError]) -> Iterator[type[FactualError]]:
    """
    Every exception of this project below a base that is raised itself.
    """
    for kind in base.__subclasses__():
        # attrs makes a class with slots anew; the first form of it is about until it is collected.
        is_current = getattr(sys.modules[kind.__module__], kind.__name__, None) is kind
        if is_current and kind.__module__.startswith("glance_tx."):
            yield kind
            yield from kinds(kind)


class FaultTableTests(SynchronousTestCase):
    """
    `api_faults` knows what to answer.
    """

    def test_complete(self) -> None:
        """
        Each exception has an answer, or a reason why it needs none; none has both.
        """
        table = api_faults()
        unforeseen = {kind for family in FAMILIES for kind in kinds(family) if table.rule_of(kind) is None}
        self.assertEqual(unforeseen, set(NEVER_ANSWERED))

    def test_families(self) -> None:
        """
        A new exception is not covered by a rule for its family: whoever adds it has to decide.
        """
        table = api_faults()
        self.assertEqual([family for family in (*FAMILIES, FactualError) if table.rule_of(family) is not None], [])

    def test_no_data(self) -> None:
        """
        An image without data is answered by 204, which has neither body nor type.
        """
        answer = api_faults().answer(NoData("id"), "*/*")
        assert answer is not None
        self.assertEqual((answer.status, answer.headers, answer.body), (204, (), None))

    def test_try_later(self) -> None:
        """
        What passes by itself is answered by 503, and by when to try again.
        """
        for error in (
            CatalogUnavailable("gone"),
            stores.StoreUnavailable("main", "gone"),
            streaming.LaneStopped("digest"),
        ):
            answer = api_faults().answer(error, "*/*")
            assert answer is not None
            self.assertEqual((answer.status, dict(answer.headers)["Retry-After"]), (503, "5"))

    def test_media_types(self) -> None:
        """
        A 415 says what would do; only that of a patch has Accept-Patch.
        """
        answer = api_faults().answer(web.UnsupportedMediaType("text/plain", ("application/octet-stream",)), None)
        assert answer is not None
        assert isinstance(answer.body, bytes)
        self.assertIn(b"application/octet-stream", answer.body)
        self.assertNotIn("Accept-Patch", dict(answer.headers))
