"""
List queries taken apart into shapes and values.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from glance_tx.db.shapes import lifted
from glance_tx.domain.filters import Between, Condition, OneOf, equal
from glance_tx.domain.images import Image, Visibility
from glance_tx.domain.interfaces import ImageQuery, Viewer
from glance_tx.domain.members import MemberStatus

MOMENT = datetime(2024, 5, 6, tzinfo=UTC)
QUERY = ImageQuery(
    Viewer("secret-project", is_admin=False),
    filters=[
        OneOf("name", frozenset({"secret-a", "secret-b", None})),
        Between("size", 987_654, None),
        Between("created_at", MOMENT, MOMENT, outside=True),
        equal("protected", value=True),
    ],
    properties={"secret-name": "secret-value"},
    tags=frozenset({"secret-tag"}),
    sort=(("size", "asc"),),
    limit=87_654,
)
MARKER = Image("secret-id", MOMENT, MOMENT, size=123_456)


class ShapeTests(SynchronousTestCase):
    """
    `lifted`.
    """

    def test_a_shape_holds_no_value(self) -> None:
        """
        All that clients choose freely is among the values, and nothing of it in the shape.
        """
        shape, values = lifted(QUERY, MARKER)
        for text in ("secret", "987", "876", "1234", "2024"):
            self.assertNotIn(text, repr(shape))
        given = {"secret-project", "secret-a", "secret-b", 987_654, MOMENT, True, "secret-name", "secret-value"}
        given |= {"secret-tag", 87_654, 123_456, "secret-id"}
        self.assertEqual({value for value in values.values() if value is not None}, given)

    def test_queries_that_differ_in_values_have_one_shape(self) -> None:
        """
        Queries of one form have equal shapes, and the same names for their values.
        """
        other = evolve(
            QUERY,
            viewer=Viewer("p2", is_admin=False),
            filters=[
                OneOf("name", frozenset({"x", "y", None})),
                Between("size", 1, None),
                Between("created_at", MOMENT.replace(year=2000), MOMENT, outside=True),
                equal("protected", value=False),
            ],
            properties={"n": "v"},
            tags=frozenset({"t"}),
            limit=1,
        )
        one, values = lifted(QUERY, MARKER)
        same, others = lifted(other, evolve(MARKER, id="other", size=0))
        self.assertEqual((one, hash(one), values.keys()), (same, hash(same), others.keys()))

    def test_queries_of_other_forms_have_other_shapes(self) -> None:
        """
        Whatever makes for another statement makes for another shape.
        """
        conditions: list[list[Condition]] = [
            [],
            [equal("name", "a")],
            [equal("name", None)],
            [equal("owner", "a")],
            [OneOf("name", frozenset({"a", None}))],
            [OneOf("name", frozenset({"a", "b"}))],
            [OneOf("name", frozenset())],
            [equal("size", 1)],
            [Between("size", 1)],
            [Between("size", None, 1)],
            [Between("size", 1, outside=True)],
            [Between("min_disk", 1)],
        ]
        base = ImageQuery(Viewer("p", is_admin=False))
        changes: list[dict[str, Any]] = [
            {"viewer": Viewer("p", is_admin=True)},
            {"viewer": Viewer(None, is_admin=False)},
            {"properties": {"a": "b"}},
            {"properties": {"a": "b", "c": "d"}},
            {"tags": frozenset({"a"})},
            {"visibility": "all"},
            {"visibility": Visibility.PUBLIC},
            {"member_status": MemberStatus.PENDING},
            {"os_hidden": True},
            {"sort": (("created_at", "asc"),)},
            {"sort": (("size", "desc"),)},
        ]
        changes += [{"filters": given} for given in conditions]
        shapes = [lifted(evolve(base, **change), None)[0] for change in changes]
        by_size = evolve(base, sort=(("size", "desc"),))
        shapes += [lifted(by_size, marker)[0] for marker in (MARKER, evolve(MARKER, size=None))]
        self.assertEqual(len(set(shapes)), len(shapes))
