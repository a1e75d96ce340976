"""
What tests of uploads and downloads have in common.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from glance_tx.domain.images import Image, ImageStatus
from glance_tx.streaming.memory import BytesReader
from tests.domain.world import OWNER, World

DATA = bytes(range(256)) * 5000  # more than one piece


class TransfersCase(TestCase):
    """
    A world of its own for every test, with its data in memory.
    """

    def setUp(self) -> None:
        self.world = World()

    async def assert_queued(self, image: Image) -> None:
        """The image is as it was before the upload, nothing is in the store, and no lease is left."""
        self.assertTrue(await self.world.as_before(image))
        self.assertEqual((self.world.store.objects, self.world.store.parts), ({}, {}))
        self.assertEqual(list(await self.world.repository.leases()), [])

    async def assert_active(self, image_id: str, data: bytes) -> None:
        """The image has these data and nothing else is in the store."""
        image = await self.world.repository.get(image_id)
        self.assertEqual((image.status, image.size), (ImageStatus.ACTIVE, len(data)))
        self.assertEqual(list(self.world.store.objects), [image.locations[0].url])
        self.assertEqual(self.world.store.parts, {})
        self.assertEqual(await self.world.data(image_id), data)
        self.assertEqual(list(await self.world.repository.leases()), [])

    def start(self, transfers: Any, reader: Any, image: Image, declared: int | None = None) -> Deferred[Image]:
        return Deferred.fromCoroutine(transfers.upload(OWNER, image.id, reader, declared))


class RecoveryCase(TestCase):
    """
    Uploads that break off, and what is left of them.
    """

    def setUp(self) -> None:
        self.world = self.make_world()

    def make_world(self) -> World:
        return World()

    def stored(self) -> list[str]:
        """Everything in the store, whole or in part."""
        return [*self.world.store.objects, *self.world.store.parts]

    def start(self, transfers: Any, image: Image, reader: Any = None) -> Deferred[Image]:
        return Deferred.fromCoroutine(transfers.upload(OWNER, image.id, reader or BytesReader(DATA)))

    async def assert_sound(self, created: Image) -> bool:
        """
        The image is active with good data, or queued with nothing left, and a retry works.

        :return: Whether it was active.
        """
        image = await self.world.repository.get(created.id)
        self.assertEqual(list(await self.world.repository.leases()), [])
        if image.status is ImageStatus.ACTIVE:
            self.assertEqual(len(self.stored()), 1)
            self.assertEqual(await self.world.data(created.id), DATA)
            return True
        self.assertTrue(await self.world.as_before(created), image)
        self.assertEqual(self.stored(), [])
        await self.world.upload(DATA, created.id)
        self.assertEqual(await self.world.data(created.id), DATA)
        self.assertEqual(len(self.stored()), 1)
        return False
