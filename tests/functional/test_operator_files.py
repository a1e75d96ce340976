"""
Tests of what an operator writes about custom properties, with a real daemon that reads it.
"""

from __future__ import annotations

import json

from tests.functional.daemons import ADMIN, ALICE, UPSTREAM_CONFIG
from tests.functional.service import ApiTestCase


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


class ProtectionFileTests(ApiTestCase):
    """
    ``property_protection_file``.
    """

    def configure(self, text: str) -> None:
        """
        Stop the daemon and give it a file.
        """
        self.api.stop()
        (self.folder / "protections.conf").write_text(text)
        self.api.config = UPSTREAM_CONFIG.replace(
            "[DEFAULT]\n",
            "[DEFAULT]\nproperty_protection_file = protections.conf\nproperty_protection_rule_format = policies\n",
        )

    def test_in_force(self) -> None:
        """
        What the file allows is allowed, by the daemon's own policy, and no more.
        """
        self.configure("[^x_ops]\ncreate = context_is_admin\nread = context_is_admin\n[.*]\nread = @\n")
        self.api.start()
        for token, name, status in [(ADMIN, "x_ops", 201), (ALICE, "x_ops", 403), (ADMIN, "other", 403)]:
            body = json.dumps({name: "v", "visibility": "community"}).encode()
            created = self.api.ask("POST", "/v2/images", token, body)
            self.assertEqual((token, name, created.status), (token, name, status))
            if status == 201:
                path = json.loads(created.body)["self"]
                self.assertNotIn("x_ops", json.loads(self.api.ask("GET", path, ALICE).body))

    def test_malformed(self) -> None:
        """
        With a file that cannot be used the daemon does not start, and says which section is to blame.
        """
        self.configure("[^x_ops]\nread = no_such_rule\n")
        error = self.assertRaises(AssertionError, self.api.start)
        self.assertIn(f"{self.folder}/protections.conf: section [^x_ops]: 'read'", str(error))
        self.assertNotIn("Traceback", str(error))
