"""
Bodies in memory keep the contracts of bodies.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from glance_tx.streaming.interfaces import IBodyProducer, IBodyReader
from glance_tx.streaming.memory import BytesReader, MemoryBody
from tests.contracts.body import BodyProducerContract, BodyReaderContract


class BytesReaderTests(BodyReaderContract, SynchronousTestCase):
    """
    `BytesReader` keeps the reader contract.
    """

    def make_reader(self, data: bytes) -> IBodyReader:
        return BytesReader(data)

    def test_unannounced(self) -> None:
        """
        It can stand for a body of unannounced length.
        """
        self.assertIsNone(BytesReader(b"x", announced=False).length)


class MemoryBodyTests(BodyProducerContract, SynchronousTestCase):
    """
    `MemoryBody` keeps the producer contract.
    """

    def make_body(self, data: bytes) -> IBodyProducer:
        return MemoryBody(data)
