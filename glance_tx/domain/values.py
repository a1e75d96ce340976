"""
What an image's attributes and properties may be, whoever sets them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from attrs import field, frozen

from glance_tx.domain.errors import Forbidden, InvalidImage, QuotaExceeded
from glance_tx.domain.images import Visibility
from glance_tx.domain.operator_properties import SHIPPED_PROPERTIES, OperatorProperty

__all__ = [
    "READ_ONLY",
    "SETTABLE",
    "STOCK_CONTAINER_FORMATS",
    "STOCK_DISK_FORMATS",
    "ImageRules",
    "Values",
    "flaw_of_text",
    "is_image_id",
    "is_reserved",
]

STOCK_DISK_FORMATS: Final = ("ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop")
STOCK_CONTAINER_FORMATS: Final = ("ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed")

SETTABLE: Final = frozenset(
    {
        "container_format",
        "disk_format",
        "min_disk",
        "min_ram",
        "name",
        "os_hidden",
        "owner",
        "protected",
        "tags",
        "visibility",
    }
)
"""Base attributes that a client may set at creation and change later."""

READ_ONLY: Final = frozenset(
    {
        "checksum",
        "created_at",
        "direct_url",
        "file",
        "id",
        "os_hash_algo",
        "os_hash_value",
        "schema",
        "self",
        "size",
        "status",
        "stores",
        "updated_at",
        "virtual_size",
    }
)
"""Base attributes that no client may change."""

_RESERVED: Final = frozenset({"deleted", "deleted_at", "location", "locations"})
_RESERVED_PREFIX: Final = "os_glance"
_NAME_LENGTH: Final = 255
_PROPERTY_BYTES: Final = 65_535  # what a TEXT column of MariaDB and MySQL holds
_GREATEST_MINIMUM: Final = 2**31 - 1
_UUID: Final = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
_IMAGE_ID: Final = re.compile(_UUID)
# NUL is no text to PostgreSQL, a lone surrogate none to UTF-8.
_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")
_FOUR_BYTES: Final = re.compile("[\U00010000-\U0010ffff]")


def is_image_id(text: str) -> bool:
    """
    Tell whether a text has the form of an image id: a UUID in its canonical layout, in any case.
    """
    return _IMAGE_ID.fullmatch(text) is not None


def is_reserved(name: str) -> bool:
    """
    Tell whether a name belongs to the service, so that no client may use it for a property.
    """
    return name in _RESERVED or name.startswith(_RESERVED_PREFIX)


def flaw_of_text(text: str) -> str | None:
    """
    Say why a text cannot be kept, or looked for; ``None`` where it can.
    """
    if _UNSTORABLE.search(text):
        return "holds a character that cannot be kept"
    return None


@frozen
class ImageRules:
    """
    What an operator allows of images. Quotas below 0 mean no limit.

    :param property_quota: Most custom properties; those of the service itself do not count.
    :param tag_quota: Most tags.
    :param operator_properties: Custom properties that may not have just any text.
    :param required: What an image must have, of attributes and custom properties that clients set.
    """

    container_formats: tuple[str, ...] = STOCK_CONTAINER_FORMATS
    disk_formats: tuple[str, ...] = STOCK_DISK_FORMATS
    property_quota: int = 128
    tag_quota: int = 128
    operator_properties: Mapping[str, OperatorProperty] = field(default=SHIPPED_PROPERTIES)
    required: frozenset[str] = frozenset()


class Values:
    """
    Checks single values by an operator's rules (contract sections 2.1 and 2.3).

    :param rules: The rules.
    """

    def __init__(self, rules: ImageRules) -> None:
        self._rules = rules
        self._checks: Mapping[str, Callable[[str, object], object]] = {
            "container_format": self._format(rules.container_formats),
            "disk_format": self._format(rules.disk_formats),
            "min_disk": _minimum,
            "min_ram": _minimum,
            "name": _name,
            "os_hidden": _flag,
            "owner": _name,
            "protected": _flag,
            "tags": _tags,
            "visibility": _visibility,
        }

    @property
    def tag_quota(self) -> int:
        """
        Most tags of one image; below 0 for any number.
        """
        return self._rules.tag_quota

    def require_settable(self, name: str) -> None:
        """
        Refuse names that are not the client's to set.

        :raises Forbidden: It is read-only or reserved.
        """
        if name in READ_ONLY:
            raise Forbidden(f"attribute {name!r} is read-only")
        if is_reserved(name):
            raise Forbidden(f"attribute {name!r} is reserved")

    def attribute(self, name: str, value: object) -> Any:
        """
        Check the value of a settable base attribute.

        :param name: One of `SETTABLE`.
        :return: What an `Image` holds for it.
        :raises InvalidImage: The value is of another type, too long, or not one of those allowed.
        """
        return self._checks[name](name, value)

    def image_id(self, value: object) -> str:
        """
        Check an id that a client chose, and put it into lower case.

        :return: The id in lower case: whatever its letters, a UUID is one and the same.
        :raises InvalidImage: It is not a UUID.
        """
        if not isinstance(value, str) or not is_image_id(value):
            raise InvalidImage("attribute 'id' must be a UUID")
        return value.lower()

    def custom(self, name: str, value: object) -> str | None:
        """
        Check a custom property, name and value.

        :raises InvalidImage: The name is too long or empty, or the value is not a text that can be kept.
        """
        if not name:
            raise InvalidImage("a property must have a name")
        _text("the name of a property", name, _NAME_LENGTH)
        subject = f"property {name!r}"
        rule = self._rules.operator_properties.get(name)
        if value is None and rule is not None and rule.flaw(None) is None:
            return None
        text = _text(subject, value, _PROPERTY_BYTES)
        if len(text.encode()) > _PROPERTY_BYTES:
            raise InvalidImage(f"{subject} is longer than {_PROPERTY_BYTES} bytes")
        flaw = None if rule is None else rule.flaw(text)
        if flaw is not None:
            raise InvalidImage(f"{subject} {flaw}")
        return text

    def require_complete(self, names: Collection[str]) -> None:
        """
        Insist on everything that the operator wants every image to have.

        :param names: What it has.
        :raises InvalidImage: Something is missing.
        """
        missing = sorted(self._rules.required.difference(names))
        if missing:
            raise InvalidImage(f"an image must have {', '.join(map(repr, missing))} here")

    def tag(self, value: object) -> str:
        """
        Check one tag.

        :raises InvalidImage: It is no text, too long, or has a character that cannot be kept.
        """
        return _tag(value)

    def require_kept(self, names: Collection[str]) -> None:
        """
        Keep an image from losing what the operator wants every image to have.

        :param names: What it is about to lose.
        :raises InvalidImage: One of them is required.
        """
        lost = sorted(self._rules.required.intersection(names))
        if lost:
            raise InvalidImage(f"an image must keep {', '.join(map(repr, lost))} here")

    def require_property_quota(self, names: Collection[str]) -> None:
        """
        Refuse too many custom properties.

        :raises QuotaExceeded: There are more than the quota.
        """
        count = sum(not name.startswith(_RESERVED_PREFIX) for name in names)
        if 0 <= self._rules.property_quota < count:
            raise QuotaExceeded("properties", count, self._rules.property_quota)

    def require_tag_quota(self, tags: Collection[str]) -> None:
        """
        Refuse too many tags.

        :raises QuotaExceeded: There are more than the quota.
        """
        if 0 <= self._rules.tag_quota < len(tags):
            raise QuotaExceeded("tags", len(tags), self._rules.tag_quota)

    @staticmethod
    def _format(allowed: tuple[str, ...]) -> Callable[[str, object], object]:
        def check(name: str, value: object) -> object:
            if value is not None and value not in allowed:
                raise InvalidImage(f"attribute {name!r} must be null or one of {', '.join(allowed)}")
            return value

        return check


def _text(subject: str, value: object, longest: int) -> str:
    if not isinstance(value, str):
        raise InvalidImage(f"{subject} must be a string")
    if len(value) > longest:
        raise InvalidImage(f"{subject} is longer than {longest} characters")
    flaw = flaw_of_text(value)
    if flaw is None and _FOUR_BYTES.search(value):
        flaw = "holds a character outside the Basic Multilingual Plane (an emoji, say), which is not kept here"
    if flaw is not None:
        raise InvalidImage(f"{subject} {flaw}")
    return value


def _name(name: str, value: object) -> str | None:
    return None if value is None else _text(f"attribute {name!r}", value, _NAME_LENGTH)


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidImage(f"attribute {name!r} must be true or false")
    return value


def _minimum(name: str, value: object) -> int:
    # JSON's true is an int to Python.
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _GREATEST_MINIMUM:
        raise InvalidImage(f"attribute {name!r} must be an integer from 0 to {_GREATEST_MINIMUM}")
    return value


def _tags(name: str, value: object) -> frozenset[str]:
    if not isinstance(value, list | tuple):
        raise InvalidImage(f"attribute {name!r} must be a list of strings")
    return frozenset(map(_tag, value))


def _tag(value: object) -> str:
    return _text("a tag", value, _NAME_LENGTH)


def _visibility(name: str, value: object) -> Visibility:
    if not isinstance(value, str) or value not in frozenset(Visibility):
        raise InvalidImage(f"attribute {name!r} must be one of {', '.join(Visibility)}")
    return Visibility(value)
