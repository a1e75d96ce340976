"""
The operator's file of schemas.
"""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from glance_tx.custom.schema_file import CustomProperties, load_properties
from glance_tx.domain.operator_properties import SHIPPED_PROPERTIES
from glance_tx.settings import SettingsError

NAME = "schema-image.json"
RACK = {"type": ["null", "string"], "pattern": "^r[0-9]+$", "maxLength": 4, "description": "Where."}

UNUSABLE: list[tuple[str, str]] = [
    ("{", "is not JSON"),
    ("", "is not JSON"),
    ("[" * 100_000, "is not JSON"),
    ("[]", "must be an object"),
    ('"rack"', "must be an object"),
    ('{"rack": "string"}', "property 'rack' must be an object"),
    ('{"rack": {"type": "text"}}', "property 'rack'"),
    ('{"rack": {"type": "integer"}}', "'type' must be"),
    ('{"rack": {"type": "null"}}', "'type' must be"),
    ('{"rack": {"type": ["string", "boolean"]}}', "'type' must be"),
    ('{"rack": {"enum": "r1"}}', "enum"),
    ('{"rack": {"maxLength": "4"}}', "maxLength"),
    ('{"rack": {"pattern": "("}}', "$.pattern: '(' is not a 'regex'"),
    ('{"rack": {"$ref": "http://127.0.0.1:1/"}}', "$ref"),
    ('{"rack": {"anyOf": [{"$ref": "file:///etc/passwd"}]}}', "$ref"),
    ('{"name": {"type": "string"}}', "property 'name' is one that images have anyway"),
    ('{"status": {"type": "string"}}', "property 'status' is one that images have anyway"),
    ('{"locations": {"type": "string"}}', "reserved"),
    ('{"os_glance_x": {"type": "string"}}', "reserved"),
    ('{"properties": {}, "required": "rack"}', "'required' must be a list of names"),
    ('{"properties": {}, "required": [1]}', "'required' must be a list of names"),
    ('{"properties": {}, "required": ["status"]}', "no client can set"),
]
"""Files that cannot be used, and what is said of them."""


class SchemaFileTests(SynchronousTestCase):
    """
    `load_properties`.
    """

    def setUp(self) -> None:
        self.folders = [Path(self.mktemp()) for _ in range(2)]
        self.system = Path(self.mktemp())
        for folder in (*self.folders, self.system):
            folder.mkdir()

    def load(self) -> CustomProperties:
        return load_properties(self.folders, self.system)

    def test_no_file(self) -> None:
        """
        Without a file the properties are those that stock ships.
        """
        loaded = self.load()
        self.assertEqual((loaded.properties, loaded.required), (SHIPPED_PROPERTIES, frozenset()))

    def test_flat(self) -> None:
        """
        A file may be a mapping from names to schemas; it takes the place of what is shipped.
        """
        (self.folders[0] / NAME).write_text(json.dumps({"rack": RACK, "properties": {"type": "string"}}))
        loaded = self.load()
        self.assertEqual({name: rule.schema for name, rule in loaded.properties.items()}["rack"], RACK)
        self.assertEqual((set(loaded.properties), loaded.required), ({"rack", "properties"}, frozenset()))

    def test_with_requirements(self) -> None:
        """
        A file may say what every image must have, attributes included.
        """
        document = {"properties": {"rack": RACK}, "required": ["rack", "name"]}
        (self.folders[1] / NAME).write_text(json.dumps(document))
        loaded = self.load()
        self.assertEqual((set(loaded.properties), loaded.required), ({"rack"}, {"rack", "name"}))

    def test_nothing(self) -> None:
        """
        A file may do away with all that is shipped.
        """
        for text in ("{}", '{"properties": {}}'):
            (self.folders[0] / NAME).write_text(text)
            self.assertEqual(self.load(), CustomProperties({}))

    def test_places(self) -> None:
        """
        The first folder that has the file decides, the system's comes last.
        """
        for name, folder in [("c", self.system), ("b", self.folders[1]), ("a", self.folders[0])]:
            (folder / NAME).write_text(json.dumps({name: {}}))
            self.assertEqual(set(self.load().properties), {name})

    def test_unusable(self) -> None:
        """
        A file that cannot be used is refused by its name, and each thing that is wrong with it is said.
        """
        path = self.folders[0] / NAME
        for text, reason in UNUSABLE:
            path.write_text(text)
            error = self.assertRaises(SettingsError, self.load)
            self.assertIn(f"{path}: ", str(error))
            self.assertIn(reason, str(error))
        path.write_text('{"a": {"type": "x"}, "b": 1, "c": {}}')
        self.assertEqual(len(self.assertRaises(SettingsError, self.load).problems), 2)

    def test_unreadable(self) -> None:
        """
        A file that cannot be read is no reason to go on without it.
        """
        path = self.folders[0] / NAME
        path.write_bytes(b'{"a\xff": {}}')
        self.assertIn("is not text in UTF-8", str(self.assertRaises(SettingsError, self.load)))
        path.unlink()
        path.mkdir()
        self.assertIn(f"{path}: cannot be read", str(self.assertRaises(SettingsError, self.load)))
