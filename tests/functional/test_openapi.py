"""
Tests of a running image service against what its OpenAPI document says of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.functional.daemons import ADMIN, ALICE, API_CONFIG, Answer, DaemonTestCase

ROOT = Path(__file__).parent.parent.parent
DOCUMENT = ROOT / "docs" / "openapi.yaml"
METHODS = ("get", "head", "post", "put", "patch", "delete", "options")
OCTETS = {"Content-Type": "application/octet-stream"}

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "allow_header_conformance",
    "ignored_auth",
)
PHASES = ("coverage", "fuzzing", "stateful")
SEED = 20260101
SECONDS = os.environ.get("GLANCE_TX_TEST_OPENAPI_SECONDS", "20")
"""A longer run finds more: the requests that are systematic come first, then those that are made up."""
IMAGES = 24


class OpenApiTests(DaemonTestCase):
    """
    An image service does what its document says.
    """

    def setUp(self) -> None:
        folder = Path(self.mktemp()).absolute()
        shown = "[DEFAULT]\nshow_image_direct_url = true\nshow_multiple_locations = true"
        self.api = self.make_daemon("glance-api", folder, API_CONFIG.replace("[DEFAULT]", shown))
        self.api.start()

    def test_routes(self) -> None:
        """
        Every path of the document is there, with the very methods that it has there.
        """
        document: dict[str, Any] = yaml.safe_load(DOCUMENT.read_text())
        for path, operations in document["paths"].items():
            answer = self.api.ask("LIST", path.replace("{", "").replace("}", ""))
            methods = sorted(method.upper() for method in operations if method in METHODS)
            self.assertEqual((path, answer.status), (path, 405))
            self.assertEqual((path, answer.headers["allow"].split(", ")), (path, methods))

    def test_answers(self) -> None:
        """
        Whatever is sent, the answer is one that the document knows, and never an error of the server.
        """
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        command: list[str | Path] = [
            Path(sys.executable).with_name("schemathesis"),
            *("run", DOCUMENT, "--url", self.api.url, "--checks", ",".join(CHECKS), "--phases", ",".join(PHASES)),
            *("--header", f"X-Auth-Token: {ADMIN}", "--header", "Accept: application/json"),
            *("--seed", str(SEED), "--max-time", SECONDS, "--max-examples", "50", "--max-redirects", "0"),
            *("--continue-on-failure", "--no-shrink", "--generation-database", "none"),
            *("--no-color", "--warnings", "off"),
        ]
        environment = {
            **os.environ,
            "SCHEMATHESIS_HOOKS": "tests.functional.openapi_hooks",
            "GLANCE_TX_TEST_IMAGES": ",".join(self.images()),
            "PYTHONPATH": str(ROOT),
        }
        patience = 600 + int(SECONDS)
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=patience, env=environment, cwd=folder, check=False
        )
        self.assertEqual(done.returncode, 0, f"{done.stdout}\n{done.stderr}\n{self.api.log()[-2000:]}")
        for seen in ("PUT /v2/images/{}/file 204", "GET /v2/images/{}/file 200", "PATCH /v2/images/{} 200"):
            start, end = seen.split("{}")
            self.assertTrue(any(start in line and end in line for line in self.api.log().splitlines()), seen)

    def images(self) -> list[str]:
        """
        Make images in all states that a client can bring them into.
        """
        found = []
        for number in range(IMAGES):
            document = {"name": f"i{number}", "disk_format": "raw", "container_format": "bare", "kept": "x"}
            image_id = json.loads(self.tell("POST", "/v2/images", document).body)["id"]
            found.append(image_id)
            path = f"/v2/images/{image_id}"
            if number % 4:
                self.assertEqual(self.api.ask("PUT", f"{path}/file", ALICE, b"data" * 100, OCTETS).status, 204)
            if number % 4 == 2:
                self.tell("POST", f"{path}/members", {"member": "blue"})
            if number % 4 == 3:
                self.tell("POST", f"{path}/actions/deactivate")
        return found

    def tell(self, method: str, path: str, document: object = None) -> Answer:
        """
        Send one request that works.
        """
        answer = self.api.ask(method, path, ALICE, None if document is None else json.dumps(document).encode())
        self.assertLess(answer.status, 300, answer)
        return answer
