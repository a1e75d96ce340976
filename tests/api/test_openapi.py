"""
The OpenAPI document: that it is one, and that it has the routes that there are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from openapi_spec_validator import OpenAPIV31SpecValidator
from twisted.internet.task import Clock

from glance_tx.api.v2.schemas import image_schema
from glance_tx.domain.values import ImageRules
from glance_tx.telemetry.health import HealthChecks
from glance_tx.web.app import App
from glance_tx.web.management import add_healthcheck
from tests.api.service import ServiceTestCase

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "openapi.yaml"
METHODS = ("get", "head", "post", "put", "patch", "delete", "options")
# Where versions that are not known lead to; nobody asks for it by this name.
INTERNAL = "/unknown-version"
_CONVERTER = re.compile(r"<(?:\w+:)?(\w+)>")


def references(document: Any) -> Iterator[str]:
    """
    Find all references within a document.
    """
    if isinstance(document, dict):
        for key, value in document.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(document, list):
        for value in document:
            yield from references(value)


class OpenApiTests(ServiceTestCase):
    """
    ``docs/openapi.yaml`` is true.
    """

    def make_app(self, **options: Any) -> App:
        app = super().make_app(**options)
        add_healthcheck(app, HealthChecks(Clock()))
        return app

    def setUp(self) -> None:
        super().setUp()
        self.document: dict[str, Any] = yaml.load(DOCUMENT.read_text(), yaml.CSafeLoader)

    def operations(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """
        All operations, by method and path.
        """
        for path, item in self.document["paths"].items():
            for method in METHODS:
                if method in item:
                    yield f"{method.upper()} {path}", item[method]

    def test_valid(self) -> None:
        """
        It is an OpenAPI document of version 3.1.
        """
        self.assertEqual(self.document["openapi"], "3.1.0")
        self.assertEqual([error.message for error in OpenAPIV31SpecValidator(self.document).iter_errors()], [])

    def test_routes(self) -> None:
        """
        It has all routes, and no others.
        """
        mounted = {_CONVERTER.sub(r"{\1}", route) for route in self.app.routes if not route.endswith(INTERNAL)}
        described = {name for name, _ in self.operations()}
        self.assertEqual((mounted - described, described - mounted), (set(), set()), "missing there, missing here")

    def test_components(self) -> None:
        """
        Every component is there, and used.
        """
        there = {
            f"#/components/{kind}/{name}"
            for kind, components in self.document["components"].items()
            if kind != "securitySchemes"
            for name in components
        }
        self.assertEqual(set(references(self.document)), there)

    def test_tokens(self) -> None:
        """
        What wants a token says that it may be missing, and what wants none does not.
        """
        for name, operation in self.operations():
            self.assertEqual((name, "401" in operation["responses"]), (name, "security" not in operation))

    def test_image(self) -> None:
        """
        An image has the attributes of its JSON schema.
        """
        rules = ImageRules(operator_properties={})
        described = self.document["components"]["schemas"]["Image"]["properties"]
        self.assertEqual(list(described), list(image_schema(rules)["properties"]))
