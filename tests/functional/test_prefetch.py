"""
Tests of the prefetch queue of a real node.
"""

from __future__ import annotations

import json
from typing import Any

from glance_tx.streaming.units import MiB
from tests.functional.daemons import ADMIN
from tests.functional.test_cache import SIZE, CacheTestCase


class KilledTests(CacheTestCase):
    """
    A queue survives its node.
    """

    def job(self) -> dict[str, Any] | None:
        """
        What has become of the one job.
        """
        jobs = json.loads(self.cache.ask("GET", "/v2/cache/jobs", ADMIN).body)["jobs"]
        return jobs[0] if jobs else None

    def test_killed_in_mid_job(self) -> None:
        """
        A node is killed while it prefetches. The next one shows the job, goes on with it when its lease is over, and
        fetches little of what was there again.
        """
        self.relay.hold(SIZE // 2)
        self.assertEqual(self.cache.ask("PUT", f"/v2/cache/{self.image_id}", ADMIN).status, 202)
        self.wait_until_held(SIZE // 2)
        self.wait_for(lambda: (self.job() or {"present_bytes": 0})["present_bytes"] > 0)
        self.cache.kill()
        self.relay.release()
        self.cache.start()
        job = self.job()
        assert job is not None
        self.assertEqual((job["image_id"], job["state"], job["attempts"]), (self.image_id, "running", 1))
        self.wait_for(lambda: self.job() is None, 90)
        self.assertIsNotNone(self.listed())
        self.assert_right(self.download(), "hit")
        self.assertLess(self.relay.passed_bytes, SIZE + 2 * MiB)
