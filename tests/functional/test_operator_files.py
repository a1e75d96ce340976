"""
Tests of what an operator writes about custom properties, with a real daemon that reads it.
"""

from __future__ import annotations

import json

from tests.functional.daemons import ALICE
from tests.functional.test_api import ApiTestCase


class SchemaFileTests(ApiTestCase):
    """
    ``schema-image.json`` beside the configuration.
    """

    def test_in_force(self) -> None:
        """
        The file of a daemon that starts holds for what clients read, and for what they write.
        """
        self.api.stop()
        (self.folder / "schema-image.json").write_text('{"rack": {"enum": ["r1"]}}')
        self.api.start()
        properties = json.loads(self.api.ask("GET", "/v2/schemas/image", ALICE).body)["properties"]
        self.assertEqual(properties["rack"], {"enum": ["r1"], "is_base": False})
        for rack, status in [("r1", 201), ("r2", 400)]:
            body = json.dumps({"rack": rack}).encode()
            self.assertEqual(self.api.ask("POST", "/v2/images", ALICE, body).status, status)

    def test_malformed(self) -> None:
        """
        With a file that cannot be used the daemon does not start, and says which file that is.
        """
        self.api.stop()
        path = self.folder / "schema-image.json"
        path.write_text('{"rack": {"type": "integer"}}')
        error = self.assertRaises(AssertionError, self.api.start)
        self.assertIn(f"{path}: property 'rack'", str(error))
        self.assertNotIn("Traceback", str(error))
