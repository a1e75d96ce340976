"""
A body is stopped when it outgrows its limit.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from glance_tx.streaming.errors import BodyTooLong
from glance_tx.streaming.interfaces import IBodyReader
from glance_tx.streaming.limit import LimitedReader
from glance_tx.streaming.memory import BytesReader
from tests.contracts.body import BodyReaderContract, read_all


class LimitedReaderContractTests(BodyReaderContract, SynchronousTestCase):
    """
    `LimitedReader` keeps the reader contract, with a limit just wide enough.
    """

    def make_reader(self, data: bytes) -> IBodyReader:
        return LimitedReader(BytesReader(data), len(data))


class LimitTests(SynchronousTestCase):
    """
    Bodies around the limit.
    """

    def test_announced(self) -> None:
        """
        A body announced as too long is refused before a byte of it is read.
        """
        inner = BytesReader(b"x" * 11)
        reading = Deferred.fromCoroutine(LimitedReader(inner, 10).read(1))
        self.assertEqual(self.failureResultOf(reading, BodyTooLong).value.limit, 10)
        self.assertEqual(read_all(self, inner), b"x" * 11)

    def test_unannounced(self) -> None:
        """
        A body of unannounced length is stopped by the first byte too many, and stays stopped.
        """
        reader = LimitedReader(BytesReader(b"x" * 11, announced=False), 10)
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(reader.read(6))), b"x" * 6)
        for _ in range(2):
            self.failureResultOf(Deferred.fromCoroutine(reader.read(6)), BodyTooLong)

    def test_unannounced_within(self) -> None:
        """
        A body of unannounced length passes up to its limit.
        """
        reader = LimitedReader(BytesReader(b"x" * 10, announced=False), 10)
        self.assertEqual(read_all(self, reader), b"x" * 10)

    def test_nothing_allowed(self) -> None:
        """
        A limit of zero lets the empty body pass, and no other.
        """
        self.assertEqual(read_all(self, LimitedReader(BytesReader(b""), 0)), b"")
        over = LimitedReader(BytesReader(b"x", announced=False), 0)
        self.failureResultOf(Deferred.fromCoroutine(over.read(1)), BodyTooLong)
