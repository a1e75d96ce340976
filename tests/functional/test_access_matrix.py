"""
Every route, asked by every kind of caller about images of every visibility, against the table in the documentation.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from tests.functional.access import METHODS, PERSONAS, VISIBILITIES, Gallery, Row, Service, body_of, read_table
from tests.functional.test_keystone import KeystoneTestCase

OPENAPI = Path(__file__).parent.parent.parent / "docs" / "openapi.yaml"
LISTS = ("listed", "absent")
# As DELETE has to find its tag, and PUT none.
TAGS = {"PUT": "new", "DELETE": "old"}


class TableTests(SynchronousTestCase):
    """
    The table is whole.
    """

    def test_routes(self) -> None:
        """
        Every route of the OpenAPI document is in it, and no other.
        """
        document: dict[str, Any] = yaml.safe_load(OPENAPI.read_text(encoding="utf-8"))
        routes = {
            (method.upper(), path)
            for path, operations in document["paths"].items()
            for method in operations
            if method in METHODS
        }
        self.assertEqual({(row.method, row.path.partition("?")[0]) for row in read_table()}, routes)

    def test_cells(self) -> None:
        """
        A request about images has one expectation for every visibility and persona; any other, one for every person.
        """
        kinds: dict[tuple[str, ...], list[Row]] = {}
        for row in read_table():
            kinds.setdefault((row.method, row.path, row.sends, row.status), []).append(row)
        people = {name for name, persona in PERSONAS.items() if persona.member_status is None}
        for kind, rows in kinds.items():
            seen = Counter(visibility for row in rows for visibility in row.visibilities)
            whole = bool(rows[0].status)
            self.assertEqual((kind, seen), (kind, Counter(VISIBILITIES if whole else ())))
            self.assertTrue(whole or len(rows) == 1, kind)
            for row in rows:
                self.assertEqual((kind, set(row.expected)), (kind, set(PERSONAS) if whole else people))


class AccessTests(KeystoneTestCase):
    """
    The table is true.
    """

    def setUp(self) -> None:
        super().setUp()
        # One page for all images there come to be.
        api = self.start_api(more="[DEFAULT]\nlimit_param_default = 1000\n")
        self.service = Service(self.keystone, api.port)
        self.addCleanup(self.service.close)
        self.gallery = Gallery(self.service)

    def test_matrix(self) -> None:
        """
        Everybody gets what the table says, and what is refused changes nothing.
        """
        wrong = [line for row in read_table() for line in self.differing(row)]
        if wrong:
            self.fail(f"{len(wrong)} cells of docs/access-matrix.csv differ:\n" + "\n".join(wrong))

    def differing(self, row: Row) -> Iterator[str]:
        """
        Ask for one row, and say where the service differs.
        """
        for visibility in row.visibilities or ("",):
            for name, expected in row.expected.items():
                answered = self.answer(row, visibility, name)
                if answered != expected:
                    asked = f"{row.method} {row.path} {row.sends}".strip()
                    about = f"{visibility} {row.status}".strip() or "no image"
                    yield f"{asked}, {about}, {name}: {answered} and not {expected}"

    def answer(self, row: Row, visibility: str, name: str) -> str:
        """
        Ask for one cell, and say what there should be in it.
        """
        persona = PERSONAS[name]
        image_id = self.gallery.find(row.status, visibility, persona) if row.status else ""
        member_id = self.gallery.member_id(persona)
        path = row.path.format(image_id=image_id, member_id=member_id, tag=TAGS.get(row.method))
        status, body = self.service.ask(persona.user, row.method, path, *body_of(row))
        if row.expected[name] in LISTS and status == 200:
            return LISTS[image_id not in [image["id"] for image in json.loads(body)["images"]]]
        if not row.status or row.method in ("GET", "HEAD"):
            return str(status)
        if status >= 400 and not self.gallery.altered(image_id, visibility):
            return str(status)
        self.gallery.use_up(row.status, visibility, persona)
        return str(status) if status < 400 else f"{status}, with a change,"
