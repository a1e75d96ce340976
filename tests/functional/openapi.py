"""
Daemons against what their OpenAPI documents say of them: requests that schemathesis makes from those.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.functional.daemons import ADMIN, DaemonProcess, DaemonTestCase

__all__ = ["METHODS", "ROOT", "OpenApiCase"]

ROOT = Path(__file__).parent.parent.parent
METHODS = ("get", "head", "post", "put", "patch", "delete", "options")
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "allow_header_conformance",
    "ignored_auth",
)
SEED = 20260101
PATIENCE_SECONDS = 600


class OpenApiCase(DaemonTestCase):
    """
    A daemon, and a document that is to be right about it.
    """

    daemon: DaemonProcess
    document: Path

    def send(self, images: Iterable[str], phases: str, *options: str) -> None:
        """
        Send what schemathesis makes of the document; fail where an answer is another than the document says.

        :param images: Ids for it to take where the document asks for one.
        :param phases: Of schemathesis. One that runs out of ``--max-time`` is no failure.
        """
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        command: Sequence[str | Path] = [
            Path(sys.executable).with_name("schemathesis"),
            *("run", self.document, "--url", self.daemon.url, "--checks", ",".join(CHECKS), "--phases", phases),
            *("--header", f"X-Auth-Token: {ADMIN}", "--header", "Accept: application/json"),
            *("--seed", str(SEED), "--max-redirects", "0", "--continue-on-failure", "--no-shrink"),
            *("--generation-database", "none", "--no-color", "--warnings", "off", *options),
        ]
        environment = {
            **os.environ,
            "SCHEMATHESIS_HOOKS": "tests.functional.openapi_hooks",
            "GLANCE_TX_TEST_IMAGES": ",".join(images),
            "PYTHONPATH": str(ROOT),
        }
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, env=environment, cwd=folder, check=False
        )
        self.assertEqual(done.returncode, 0, f"{done.stdout}\n{done.stderr}\n{self.daemon.log()[-2000:]}")

    def unseen(self, but: Iterable[str] = ()) -> list[str]:
        """
        List the operations that answer with a document of their own where they succeed, and never did: nothing was held
        against what is said of that.

        :param but: Operations to leave out, as ``GET /v2/images``.
        """
        document: dict[str, Any] = yaml.safe_load(self.document.read_text())
        log = self.daemon.log()
        operations = {
            f"{method.upper()} {path}": min(operation["responses"])
            for path, operations in document["paths"].items()
            for method, operation in operations.items()
            if method in METHODS and _has_document(operation)
        }
        return [
            operation
            for operation, status in operations.items()
            if operation not in but and not re.search(_answered(operation, status), log)
        ]


def _has_document(operation: Mapping[str, Any]) -> bool:
    status = min(operation["responses"])
    return status.startswith("2") and "application/json" in operation["responses"][status].get("content", {})


def _answered(operation: str, status: str) -> str:
    path = re.sub(r"\\{[a-z_]+\\}", "[^/ ?]+", re.escape(operation))
    return rf" {path}(?:\?\S*)? {status}\b"
