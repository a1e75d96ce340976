"""
Tests of locations with a real daemon, database and store.
"""

from __future__ import annotations

import json

from tests.functional.daemons import ADMIN, ALICE, UPSTREAM_CONFIG
from tests.functional.service import OCTETS, ApiTestCase

PATCH = {"Content-Type": "application/openstack-images-v2.1-json-patch"}


class LocationTests(ApiTestCase):
    """
    ``show_image_direct_url`` and ``show_multiple_locations``.
    """

    def test_shown(self) -> None:
        """
        What the options say is shown, nobody names a file of the store, and the log repeats no location.
        """
        image_id = self.create()
        self.api.ask("PUT", f"/v2/images/{image_id}/file", ALICE, b"data", OCTETS)
        self.assertNotIn(b"locations", self.api.ask("GET", f"/v2/images/{image_id}", ADMIN).body)
        self.api.stop()
        options = "show_image_direct_url = true\nshow_multiple_locations = true\n"
        self.api.config = UPSTREAM_CONFIG.replace("[DEFAULT]\n", f"[DEFAULT]\n{options}")
        self.api.start()
        image = json.loads(self.api.ask("GET", f"/v2/images/{image_id}", ALICE).body)
        self.assertEqual(image["locations"], [{"url": image["direct_url"], "metadata": {}}])
        self.assertTrue(image["direct_url"].startswith(f"file://{self.folder}/images/"))
        other = self.create()
        patch = [{"op": "add", "path": "/locations/-", "value": image["locations"][0]}]
        answer = self.api.ask("PATCH", f"/v2/images/{other}", ADMIN, json.dumps(patch).encode(), PATCH)
        self.assertEqual((answer.status, self.status(other)), (400, "queued"))
        self.assertNotIn(image["direct_url"], self.api.log())
