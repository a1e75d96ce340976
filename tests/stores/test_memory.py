"""
`MemoryStore` keeps the store contract, and its limit.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from glance_tx.stores.errors import StoreFull
from glance_tx.stores.interfaces import IStore
from glance_tx.stores.memory import MemorySettings, MemoryStore
from tests.contracts.store import KEY, StoreContract, fetch, store


class MemoryStoreContractTests(StoreContract, TestCase):
    """
    The contract.
    """

    def make_store(self) -> IStore:
        return MemoryStore(MemorySettings("mem"))

    def foreign_locations(self, store: IStore) -> list[str]:
        return ["memory://mem", "memory://me/x", "file://mem/x"]


class CapacityTests(TestCase):
    """
    A memory store with a limit.
    """

    async def test_announced_too_much(self) -> None:
        """
        An object announced as larger than the room left is refused at once.
        """
        small = MemoryStore(MemorySettings("mem", 100))
        await store(small, b"x" * 60)
        with self.assertRaises(StoreFull):
            await small.open_writer(small.plan_location(KEY, 2), 41)

    async def test_fills_up(self) -> None:
        """
        An object that outgrows the room fails with what was written, and frees it when aborted.
        """
        small = MemoryStore(MemorySettings("mem", 100))
        writer = await small.open_writer(small.plan_location(KEY, 1), None)
        await writer.write(b"x" * 99)
        error = await self.assertFailure(Deferred.fromCoroutine(writer.write(b"xy")), StoreFull)
        self.assertEqual(error.written, 99)
        await writer.abort()
        self.assertEqual(await fetch(small, await store(small, b"x" * 100, fence=2)), b"x" * 100)
