"""
Tests of a running caching node against what its OpenAPI document says of it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.functional.daemons import ADMIN
from tests.functional.test_cache import CacheTestCase
from tests.functional.test_openapi import CHECKS, ROOT, SEED

DOCUMENT = ROOT / "docs" / "openapi-cache.yaml"
SECONDS = 15


class OpenApiTests(CacheTestCase):
    """
    A caching node does what its document says.
    """

    def test_answers(self) -> None:
        """
        Whatever is sent, the answer is one that the document knows, and never an error of the node.
        """
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        command: list[str | Path] = [
            Path(sys.executable).with_name("schemathesis"),
            *("run", DOCUMENT, "--url", self.cache.url, "--checks", ",".join(CHECKS), "--phases", "coverage,fuzzing"),
            # That one would never end.
            *("--exclude-path", "/v2/cache/events"),
            *("--header", f"X-Auth-Token: {ADMIN}", "--header", "Accept: application/json"),
            *("--seed", str(SEED), "--max-time", str(SECONDS), "--max-examples", "20", "--max-redirects", "0"),
            *("--continue-on-failure", "--no-shrink", "--generation-database", "none"),
            *("--no-color", "--warnings", "off"),
        ]
        environment = {
            **os.environ,
            "SCHEMATHESIS_HOOKS": "tests.functional.openapi_hooks",
            "GLANCE_TX_TEST_IMAGES": self.image_id,
            "PYTHONPATH": str(ROOT),
        }
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=300, env=environment, cwd=folder, check=False
        )
        self.assertEqual(done.returncode, 0, f"{done.stdout}\n{done.stderr}\n{self.cache.log()[-2000:]}")
        log = self.cache.log()
        for seen in (f"PUT /v2/cache/{self.image_id} 202", f"GET /v2/cache/{self.image_id}/explain 200", "jobs 202"):
            self.assertIn(seen, log)
