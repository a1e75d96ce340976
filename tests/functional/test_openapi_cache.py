"""
Tests of a running caching node against what its OpenAPI document says of it.
"""

from __future__ import annotations

from tests.functional.openapi import ROOT, OpenApiCase
from tests.functional.test_cache import CacheTestCase

ENDLESS = "/v2/cache/events"


class OpenApiTests(CacheTestCase, OpenApiCase):
    """
    A caching node does what its document says.
    """

    document = ROOT / "docs" / "openapi-cache.yaml"

    def test_answers(self) -> None:
        """
        Whatever is sent, the answer is one that the document knows, and never an error of the node.
        """
        self.daemon = self.cache
        self.send([self.image_id], "coverage,fuzzing", "--exclude-path", ENDLESS, "--max-examples", "10")
        self.assertEqual(self.unseen(but=[f"GET {ENDLESS}"]), [])
