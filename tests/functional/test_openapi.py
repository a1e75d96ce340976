"""
Tests of a running image service against what its OpenAPI document says of it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import yaml

from tests.functional.daemons import ALICE, API_CONFIG, Answer
from tests.functional.openapi import METHODS, ROOT, OpenApiCase

OCTETS = {"Content-Type": "application/octet-stream"}
SECONDS = os.environ.get("GLANCE_TX_TEST_OPENAPI_SECONDS", "20")
"""For requests that are made up: a longer run finds more."""
IMAGES = 24


class OpenApiTests(OpenApiCase):
    """
    An image service does what its document says.
    """

    document = ROOT / "docs" / "openapi.yaml"

    def setUp(self) -> None:
        folder = Path(self.mktemp()).absolute()
        shown = "[DEFAULT]\nshow_image_direct_url = true\nshow_multiple_locations = true"
        self.daemon = self.make_daemon("glance-api", folder, API_CONFIG.replace("[DEFAULT]", shown))
        self.daemon.start()

    def test_routes(self) -> None:
        """
        Every path of the document is there, with the very methods that it has there.
        """
        document: dict[str, Any] = yaml.safe_load(self.document.read_text())
        for path, operations in document["paths"].items():
            answer = self.daemon.ask("LIST", path.replace("{", "").replace("}", ""))
            methods = sorted(method.upper() for method in operations if method in METHODS)
            self.assertEqual((path, answer.status), (path, 405))
            self.assertEqual((path, answer.headers["allow"].split(", ")), (path, methods))

    def test_answers(self) -> None:
        """
        Whatever is sent, the answer is one that the document knows, and never an error of the server.
        """
        images = self.images()
        self.send(images, "coverage")
        self.send(images, "fuzzing,stateful", "--max-time", SECONDS, "--max-examples", "50")
        self.assertEqual(self.unseen(), [])

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
                self.assertEqual(self.daemon.ask("PUT", f"{path}/file", ALICE, b"data" * 100, OCTETS).status, 204)
            if number % 4 == 2:
                self.tell("POST", f"{path}/members", {"member": "blue"})
            if number % 4 == 3:
                self.tell("POST", f"{path}/actions/deactivate")
        return found

    def tell(self, method: str, path: str, document: object = None) -> Answer:
        """
        Send one request that works.
        """
        answer = self.daemon.ask(method, path, ALICE, None if document is None else json.dumps(document).encode())
        self.assertLess(answer.status, 300, answer)
        return answer
