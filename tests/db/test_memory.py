"""
`MemoryImages`.
"""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from glance_tx.db.memory import MemoryImages
from glance_tx.db.memory_members import MemoryMembers
from tests.contracts.images import ImageRepositoryContract


class MemoryImagesTests(ImageRepositoryContract, TestCase):
    """
    `MemoryImages` keeps the contract of image repositories.
    """

    async def make_images(self) -> MemoryImages:
        return MemoryImages(self.now)

    def make_members(self) -> MemoryMembers:
        return MemoryMembers(self.images, self.now)
