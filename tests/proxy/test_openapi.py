"""
The OpenAPI document of the caching node: that it is one, and that it has the routes that there are.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.api.test_openapi import METHODS, references
from tests.proxy.folders import IMAGE
from tests.proxy.test_management import ManagementTestCase

DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi-cache.yaml"
_CONVERTER = re.compile(r"<(\w+)>")


class OpenApiTests(ManagementTestCase):
    """
    ``docs/openapi-cache.yaml`` is true.
    """

    async def setUp(self) -> None:
        await super().setUp()
        self.document: dict[str, Any] = yaml.load(DOCUMENT.read_text(), yaml.CSafeLoader)

    def test_valid(self) -> None:
        """
        It is an OpenAPI document of version 3.1, with nothing in it that is not used.
        """
        self.assertEqual([error.message for error in OpenAPIV31SpecValidator(self.document).iter_errors()], [])
        there = {
            f"#/components/{kind}/{name}"
            for kind, components in self.document["components"].items()
            if kind != "securitySchemes"
            for name in components
        }
        self.assertEqual(set(references(self.document)), there)

    async def test_routes(self) -> None:
        """
        It has all routes of management, each with the very methods that it has, and no others.
        """
        paths = {route.partition(" ")[2] for route in self.app.routes}
        managed = {
            _CONVERTER.sub(r"{\1}", path)
            for path in paths
            if path.startswith(("/v2/cache", "/v2/queued")) and "path:" not in path
        }
        self.assertEqual(managed, set(self.document["paths"]))
        for path, operations in self.document["paths"].items():
            answer = await self.ask_node("PATCH", path.replace("{image_id}", IMAGE))
            described = sorted(method.upper() for method in operations if method in METHODS)
            self.assertEqual((path, answer.status, answer.headers["allow"]), (path, 405, ", ".join(described)))
