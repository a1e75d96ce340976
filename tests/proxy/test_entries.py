"""
The entries of a cache, on real files.
"""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from tests.proxy.folders import DATA, World, open_descriptors


class FillAndReadTests(TestCase):
    """
    From a fill to its readers.
    """

    async def test_what_was_filled_is_read(self) -> None:
        """A reader gets what a fill wrote."""
        world = World(self.mktemp())
        await world.start()
        before = open_descriptors()
        facts = await world.fill()
        self.assertEqual(await world.read(facts), DATA)
        self.assertEqual(open_descriptors(), before)
