"""
What an image's attributes and properties may be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from twisted.trial.unittest import SynchronousTestCase

from glance_tx.domain.changes import Add, Changes, Operation, Remove, Replace
from glance_tx.domain.errors import Forbidden, InvalidImage, PropertyConflict, QuotaExceeded
from glance_tx.domain.images import Image, ImageStatus, Visibility, may_become
from glance_tx.domain.operator_properties import OperatorProperty
from glance_tx.domain.protections import Protections
from glance_tx.domain.values import READ_ONLY, ImageRules, Values, is_image_id
from glance_tx.identity.caller import Caller

NOW = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
ID = "3f6a1c9e-5f0b-4f8e-9d51-0c2f6f6f7a10"
BLANK = Image(id=ID, created_at=NOW, updated_at=NOW, owner="p1")
OPEN = Protections().guard(Caller("u1", "p1", {"member"}))

BAD_VALUES: list[tuple[str, object]] = [
    ("id", "not-a-uuid"),
    ("id", ID.replace("-", "")),
    ("id", None),
    ("id", f"{ID}\n"),
    ("name", 5),
    ("name", "n" * 256),
    ("name", "smile \U0001f600"),
    ("name", "nul \0"),
    ("name", "half \ud83d"),
    ("visibility", "secret"),
    ("visibility", None),
    ("visibility", ["public"]),
    ("protected", "true"),
    ("protected", 1),
    ("protected", None),
    ("os_hidden", 0),
    ("owner", 7),
    ("owner", "o" * 256),
    ("disk_format", "floppy"),
    ("disk_format", ["raw"]),
    ("disk_format", {}),
    ("container_format", "shoebox"),
    ("container_format", 3),
    ("min_ram", -1),
    ("min_ram", 2**31),
    ("min_ram", "1"),
    ("min_ram", True),
    ("min_ram", 1.0),
    ("min_disk", None),
    ("min_disk", -1),
    ("tags", "tag"),
    ("tags", None),
    ("tags", [1]),
    ("tags", ["t" * 256]),
    ("tags", ["\U0001f600"]),
    ("tags", {"a": "b"}),
    ("colour", None),
    ("colour", 5),
    ("colour", ["red"]),
    ("colour", "\U0001f600"),
    ("colour", "\0"),
    ("colour", "x" * 65_536),
    ("colour", "\u00e9" * 32_768),
    ("k" * 256, "v"),
    ("\U0001f600", "v"),
    ("", "v"),
    ("kernel_id", "vmlinuz"),
    ("cinder_encryption_key_deletion_policy", "shred"),
]

GOOD_VALUES: list[tuple[str, object, object]] = [
    ("name", None, None),
    ("name", "n" * 255, "n" * 255),
    ("name", "b\u00fccher \u4e66", "b\u00fccher \u4e66"),
    ("visibility", "community", Visibility.COMMUNITY),
    ("protected", True, True),
    ("os_hidden", False, False),
    ("owner", None, None),
    ("disk_format", "qcow2", "qcow2"),
    ("disk_format", None, None),
    ("container_format", "bare", "bare"),
    ("min_ram", 2**31 - 1, 2**31 - 1),
    ("min_disk", 0, 0),
    ("tags", ["a", "b", "a"], frozenset({"a", "b"})),
]

RESERVED = ["location", "locations", "deleted", "deleted_at", "os_glance", "os_glance_import_task"]


def allow(name: str, value: object) -> None:
    """Permit everything."""


def image_with(values: Mapping[str, object]) -> Image:
    return Changes(Values(ImageRules())).new_image(values, BLANK, OPEN)


class ValueTests(SynchronousTestCase):
    """
    `Values` and `Changes.new_image`.
    """

    def test_nothing_given(self) -> None:
        """
        An image made of nothing has the defaults.
        """
        self.assertEqual(image_with({}), BLANK)
        self.assertEqual(BLANK.visibility, Visibility.SHARED)
        self.assertEqual(BLANK.status, ImageStatus.QUEUED)

    def test_bad_values(self) -> None:
        """
        A value of the wrong type, length, range or form is refused.
        """
        for name, value in BAD_VALUES:
            with self.subTest(name=name, value=str(value)[:20].encode("ascii", "replace")):
                self.assertRaises(InvalidImage, image_with, {name: value})

    def test_good_values(self) -> None:
        """
        A proper value becomes what an image holds.
        """
        for name, value, held in GOOD_VALUES:
            with self.subTest(name=name):
                self.assertEqual(getattr(image_with({name: value}), name), held)

    def test_reasons_can_be_sent(self) -> None:
        """
        The text of every refusal can be encoded, whatever the client sent.
        """
        for name, value in [*BAD_VALUES, ("\ud83d", "v")]:
            error = self.assertRaises(InvalidImage, image_with, {name: value})
            str(error).encode()

    def test_own_id(self) -> None:
        """
        A client may choose the id; capitals in it mean nothing.
        """
        self.assertEqual(image_with({"id": ID.upper()}).id, ID)

    def test_custom_properties(self) -> None:
        """
        Any other name with a text value becomes a custom property.
        """
        image = image_with({"colour": "red", "is_public": "yes", "note": "x" * 65_535})
        self.assertEqual(image.properties, {"colour": "red", "is_public": "yes", "note": "x" * 65_535})

    def test_nullable_property(self) -> None:
        """
        A property that the operator declares nullable may be null.
        """
        given = {"kernel_id": None, "ramdisk_id": ID}
        self.assertEqual(image_with(given).properties, given)

    def test_operator_property(self) -> None:
        """
        A property that the operator narrowed is held to it, over its whole length.
        """
        rules = ImageRules(operator_properties={"os_version": OperatorProperty({"pattern": "^[0-9]+$"})})
        changes = Changes(Values(rules))
        self.assertEqual(changes.new_image({"os_version": "12"}, BLANK, OPEN).properties, {"os_version": "12"})
        self.assertRaises(InvalidImage, changes.new_image, {"os_version": "12\n"}, BLANK, OPEN)

    def test_operator_property_schemas(self) -> None:
        """
        A property keeps to its schema: type, choice, length and pattern; what is said of none of these may be any text.
        """
        for schema, good, bad in [
            ({}, ["", "x"], [None, 1]),
            ({"type": ["string", "null"]}, [None, "x"], [1]),
            ({"type": "string"}, ["x"], [None]),
            ({"enum": ["a", "b"]}, ["a", "b"], ["c", "", None]),
            ({"type": ["null", "string"], "enum": [None, "a"]}, [None, "a"], ["b"]),
            ({"minLength": 2, "maxLength": 3}, ["ab", "abc", "\u4e66\u4e66"], ["a", "abcd"]),
            ({"pattern": "b"}, ["abc"], ["ac"]),
            ({"pattern": "a\\$"}, ["a$"], ["a"]),
            ({"anyOf": [{"pattern": "^a"}, {"pattern": "z$"}]}, ["ab", "yz"], ["bc", "yz\n"]),
        ]:
            changes = Changes(Values(ImageRules(operator_properties={"p": OperatorProperty(schema)})))
            image = image_with({"p": "old"})
            for value in good:
                self.assertEqual(changes.new_image({"p": value}, BLANK, OPEN).properties, {"p": value})
                changed = changes.apply(image, [Replace(("p",), value)], allow, OPEN, strict_add=False)
                self.assertEqual(changed.properties, {"p": value})
            for value in bad:
                with self.subTest(schema=schema, value=value):
                    self.assertRaises(InvalidImage, changes.new_image, {"p": value}, BLANK, OPEN)
                    operation = Replace(("p",), value)
                    self.assertRaises(InvalidImage, changes.apply, image, [operation], allow, OPEN, strict_add=False)

    def test_an_operator_property_says_what_it_wants(self) -> None:
        """
        The refusal of a value names the property and the rule, and does not repeat the value.
        """
        changes = Changes(Values(ImageRules(operator_properties={"p": OperatorProperty({"enum": ["a", "b"]})})))
        error = self.assertRaises(InvalidImage, changes.new_image, {"p": "secret"}, BLANK, OPEN)
        self.assertEqual(str(error), "property 'p' must keep to enum ['a', 'b']")

    def test_required(self) -> None:
        """
        What the operator requires must be there from the beginning, and stays there; an image from before that may
        still be changed.
        """
        changes = Changes(Values(ImageRules(required=frozenset({"name", "rack"}))))
        for given in ({}, {"name": "n"}, {"rack": "r1"}):
            self.assertRaises(InvalidImage, changes.new_image, given, BLANK, OPEN)
        image = changes.new_image({"name": "n", "rack": "r1"}, BLANK, OPEN)
        self.assertRaises(InvalidImage, changes.apply, image, [Remove(("rack",))], allow, OPEN, strict_add=False)
        operations = [Remove(("rack",)), Add(("rack",), "r2")]
        self.assertEqual(
            changes.apply(image, operations, allow, OPEN, strict_add=False).properties,
            {"rack": "r2"},
        )
        older = image_with({"colour": "red"})
        self.assertEqual(changes.apply(older, [Remove(("colour",))], allow, OPEN, strict_add=False), BLANK)

    def test_hashes_are_dropped(self) -> None:
        """
        The hash attributes are accepted at creation, and ignored.
        """
        self.assertEqual(image_with({"os_hash_algo": "md5", "os_hash_value": 4}), BLANK)

    def test_read_only_names(self) -> None:
        """
        A read-only attribute is refused at creation, whatever its value.
        """
        for name in READ_ONLY - {"id", "os_hash_algo", "os_hash_value"}:
            with self.subTest(name=name):
                self.assertRaises(Forbidden, image_with, {name: "x"})

    def test_reserved_names(self) -> None:
        """
        A reserved name is refused at creation.
        """
        for name in RESERVED:
            with self.subTest(name=name):
                self.assertRaises(Forbidden, image_with, {name: "x"})

    def test_quotas(self) -> None:
        """
        As many properties and tags as the quota pass, and one more does not.
        """
        changes = Changes(Values(ImageRules(property_quota=2, tag_quota=1)))
        changes.new_image({"a": "1", "b": "2", "tags": ["x", "x"]}, BLANK, OPEN)
        error = self.assertRaises(QuotaExceeded, changes.new_image, {"a": "1", "b": "2", "c": "3"}, BLANK, OPEN)
        self.assertEqual((error.subject, error.count, error.limit), ("properties", 3, 2))
        self.assertRaises(QuotaExceeded, changes.new_image, {"tags": ["x", "y"]}, BLANK, OPEN)

    def test_no_quota(self) -> None:
        """
        A negative quota is none.
        """
        changes = Changes(Values(ImageRules(property_quota=-1, tag_quota=-1)))
        image = changes.new_image(
            {**{f"p{n}": "" for n in range(200)}, "tags": [str(n) for n in range(200)]}, BLANK, OPEN
        )
        self.assertEqual((len(image.properties), len(image.tags)), (200, 200))

    def test_configured_formats(self) -> None:
        """
        The formats are those that are configured.
        """
        changes = Changes(Values(ImageRules(disk_formats=("floppy",))))
        self.assertEqual(changes.new_image({"disk_format": "floppy"}, BLANK, OPEN).disk_format, "floppy")
        self.assertRaises(InvalidImage, changes.new_image, {"disk_format": "raw"}, BLANK, OPEN)

    def test_image_ids(self) -> None:
        """
        Only the canonical layout of a UUID is an image id.
        """
        self.assertTrue(is_image_id(ID))
        for text in ("", "x", ID[:-1], ID + "0", ID + "\n", ID.replace("-", ""), "\u0663" + ID[1:]):
            self.assertFalse(is_image_id(text), text)


QUEUED = Image(
    id=ID,
    created_at=NOW,
    updated_at=NOW,
    owner="p1",
    name="n",
    disk_format="raw",
    container_format="bare",
    tags=frozenset({"t"}),
    properties={"k": "v", "l": "w"},
)

# operation, strict add (as in the older media type), outcome: an error type, or the changed attributes
OPERATIONS: list[tuple[Operation, bool, type[Exception] | dict[str, object]]] = [
    (Replace(("name",), "m"), False, {"name": "m"}),
    (Replace(("name",), "n"), False, {}),
    (Add(("name",), "m"), False, {"name": "m"}),
    (Add(("name",), "m"), True, PropertyConflict),
    (Replace(("name",), "m"), True, {"name": "m"}),
    (Remove(("name",)), False, Forbidden),
    (Remove(("tags",)), False, Forbidden),
    (Replace(("name",), 5), False, InvalidImage),
    (Replace(("tags",), ["a", "a"]), False, {"tags": frozenset({"a"})}),
    (Replace(("tags",), "a"), False, InvalidImage),
    (Replace(("visibility",), "private"), False, {"visibility": Visibility.PRIVATE}),
    (Replace(("min_ram",), -1), False, InvalidImage),
    (Add(("new",), "x"), False, {"properties": {"k": "v", "l": "w", "new": "x"}}),
    (Add(("new",), "x"), True, {"properties": {"k": "v", "l": "w", "new": "x"}}),
    (Add(("k",), "x"), False, {"properties": {"k": "x", "l": "w"}}),
    (Add(("k",), "x"), True, PropertyConflict),
    (Add(("k",), None), False, InvalidImage),
    (Replace(("k",), "x"), True, {"properties": {"k": "x", "l": "w"}}),
    (Replace(("absent",), "x"), False, PropertyConflict),
    (Remove(("k",)), False, {"properties": {"l": "w"}}),
    (Remove(("absent",)), False, PropertyConflict),
    (Replace((), "x"), False, InvalidImage),
    (Add(("",), "x"), False, InvalidImage),
    (Add(("k", "x"), "x"), False, InvalidImage),
    (Add(("tags", "0"), "x"), False, InvalidImage),
    (Replace(("stores",), "x"), False, Forbidden),
    (Add(("locations", "-"), {"url": "x", "metadata": {}}), False, Forbidden),
    (Replace(("locations",), []), False, Forbidden),
    *[(Replace((name,), "x"), False, Forbidden) for name in sorted(READ_ONLY)],
    *[(Add((name,), "x"), False, Forbidden) for name in RESERVED],
    *[(Remove((name,)), False, Forbidden) for name in sorted(READ_ONLY)],
]


class ChangeTests(SynchronousTestCase):
    """
    `Changes.apply`.
    """

    def setUp(self) -> None:
        self.changes = Changes(Values(ImageRules(property_quota=3, tag_quota=2)))

    def apply(self, operations: Iterable[Operation], image: Image = QUEUED, *, strict_add: bool = False) -> Image:
        return self.changes.apply(image, operations, allow, OPEN, strict_add=strict_add)

    def test_outcomes(self) -> None:
        """
        Each operation has the outcome of contract section 2.5.
        """
        for operation, strict_add, outcome in OPERATIONS:
            with self.subTest(operation=operation, strict_add=strict_add):
                if isinstance(outcome, dict):
                    changed = self.apply([operation], strict_add=strict_add)
                    for name, value in {"name": "n", **outcome}.items():
                        self.assertEqual(getattr(changed, name), value)
                else:
                    self.assertRaises(outcome, self.apply, [operation], strict_add=strict_add)

    def test_nothing(self) -> None:
        """
        No operations change nothing.
        """
        self.assertEqual(self.apply([]), QUEUED)

    def test_order(self) -> None:
        """
        Operations see what those before them did.
        """
        changed = self.apply([Add(("m",), "1"), Replace(("m",), "2"), Remove(("k",)), Add(("k",), "again")])
        self.assertEqual(changed.properties, {"m": "2", "l": "w", "k": "again"})
        self.assertRaises(PropertyConflict, self.apply, [Remove(("k",)), Replace(("k",), "x")])
        self.assertRaises(PropertyConflict, self.apply, [Add(("m",), "1"), Add(("m",), "2")], strict_add=True)

    def test_original_is_untouched(self) -> None:
        """
        The image it starts from stays as it was.
        """
        self.apply([Remove(("k",)), Add(("m",), "1")])
        self.assertEqual(QUEUED.properties, {"k": "v", "l": "w"})

    def test_formats_with_data(self) -> None:
        """
        The formats of an image can change only before its data came, or as they come by an import.
        """
        for status in ImageStatus:
            image = Image(id=ID, created_at=NOW, updated_at=NOW, status=status, disk_format="raw")
            with self.subTest(status=status):
                self.apply([Replace(("disk_format",), "raw")], image)
                if status in {ImageStatus.QUEUED, ImageStatus.IMPORTING}:
                    self.assertEqual(self.apply([Replace(("disk_format",), "iso")], image).disk_format, "iso")
                else:
                    self.assertRaises(Forbidden, self.apply, [Replace(("disk_format",), "iso")], image)
                    self.assertRaises(Forbidden, self.apply, [Replace(("container_format",), "ova")], image)

    def test_property_quota(self) -> None:
        """
        Properties are counted after all operations, and only where some were added.
        """
        self.apply([Add(("m",), "1")])
        self.assertRaises(QuotaExceeded, self.apply, [Add(("m",), "1"), Add(("o",), "2")])
        self.apply([Add(("m",), "1"), Add(("o",), "2"), Remove(("k",))])
        crowded = Image(id=ID, created_at=NOW, updated_at=NOW, properties=dict.fromkeys("abcde", ""))
        self.apply([Replace(("a",), "1"), Remove(("b",))], crowded)

    def test_service_properties_do_not_count(self) -> None:
        """
        Properties of the service itself are not counted.
        """
        image = Image(id=ID, created_at=NOW, updated_at=NOW, properties={"os_glance_failed_import": "s"})
        self.apply([Add((name,), "") for name in "abc"], image)

    def test_tag_quota(self) -> None:
        """
        Tags beyond the quota are refused.
        """
        self.apply([Replace(("tags",), ["a", "b", "b"])])
        self.assertRaises(QuotaExceeded, self.apply, [Replace(("tags",), ["a", "b", "c"])])

    def test_permission(self) -> None:
        """
        Every base attribute is set only after its checked value was permitted.
        """
        asked: list[tuple[str, object]] = []

        def permit(name: str, value: object) -> None:
            asked.append((name, value))
            if name == "owner":
                raise Forbidden("no")

        operations = [Replace(("visibility",), "public"), Add(("m",), "1")]
        self.changes.apply(QUEUED, operations, permit, OPEN, strict_add=False)
        self.assertEqual(asked, [("visibility", Visibility.PUBLIC)])
        attempt = [Replace(("owner",), "p2")]
        self.assertRaises(Forbidden, self.changes.apply, QUEUED, attempt, permit, OPEN, strict_add=False)


class StatusTests(SynchronousTestCase):
    """
    The status machine.
    """

    def test_moves(self) -> None:
        """
        An image moves along the ways of contract section 2.8 and no others.
        """
        ways = {
            "queued": "saving uploading importing active deleted",
            "saving": "active killed deleted queued",
            "uploading": "importing queued deleted",
            "importing": "active deleted queued",
            "active": "pending_delete deleted deactivated",
            "deactivated": "active deleted",
            "killed": "deleted",
            "pending_delete": "deleted active",
            "deleted": "",
        }
        for status in ImageStatus:
            found = {to for to in ImageStatus if may_become(status, to)}
            self.assertEqual(found, set(ways[status].split()), status)
