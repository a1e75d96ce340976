"""
Changes to an image: what creating and patching mean for its attributes and properties.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

from attrs import Factory, define, evolve, field, frozen

from glance_tx.domain.errors import Forbidden, InvalidImage, PropertyConflict
from glance_tx.domain.images import Image, ImageStatus
from glance_tx.domain.protections import PropertyAction, PropertyGuard
from glance_tx.domain.values import SETTABLE, Values

__all__ = ["Add", "Changes", "Operation", "Permit", "Remove", "Replace"]

_DROPPED_AT_CREATION: Final = frozenset({"os_hash_algo", "os_hash_value"})
_FORMATS: Final = frozenset({"container_format", "disk_format"})
_WITH_PARTS: Final = frozenset({"locations"})

Permit: TypeAlias = Callable[[str, object], None]
"""Called with each base attribute and the checked value it is about to get; raises `Forbidden` to refuse."""


@frozen
class Add:
    """
    Set an attribute or a property, there or not.

    :param path: The JSON pointer, taken apart and unescaped.
    :param value: As it came in JSON.
    """

    path: tuple[str, ...]
    value: object


@frozen
class Replace:
    """
    Set what is there already.

    :param path: The JSON pointer, taken apart and unescaped.
    :param value: As it came in JSON.
    """

    path: tuple[str, ...]
    value: object


@frozen
class Remove:
    """
    Drop a property.

    :param path: The JSON pointer, taken apart and unescaped.
    """

    path: tuple[str, ...]


Operation: TypeAlias = Add | Replace | Remove


@define
class _Draft:
    image: Image
    permit: Permit
    guard: PropertyGuard
    strict_add: bool
    attributes: dict[str, Any] = field(factory=dict)
    properties: dict[str, str | None] = Factory(lambda self: dict(self.image.properties), takes_self=True)

    def has(self, name: str) -> bool:
        """
        Tell whether there is a property, as far as the caller knows.
        """
        return name in self.properties and self.guard.sees(name)


class Changes:
    """
    Applies what clients ask for, by the rules for single values.

    :param values: The rules.
    """

    def __init__(self, values: Values) -> None:
        self._values = values

    def new_image(self, values: Mapping[str, object], blank: Image, guard: PropertyGuard) -> Image:
        """
        Make a new image of a client's values (contract section 2.4).

        :param values: Names and values as they came in JSON.
        :param blank: The image as it is where the client says nothing.
        :param guard: Says which properties the client may create.
        :raises Forbidden: A name is read-only or reserved, or a property protected.
        :raises InvalidImage: A value cannot be.
        :raises QuotaExceeded: Too many properties or tags.
        """
        attributes: dict[str, Any] = {}
        properties: dict[str, str | None] = {}
        for name, value in values.items():
            if name == "id":
                attributes[name] = self._values.image_id(value)
            elif name in _DROPPED_AT_CREATION:
                continue  # as stock does, which lets clients send back what they were shown
            elif name in SETTABLE:
                attributes[name] = self._values.attribute(name, value)
            else:
                self._values.require_settable(name)
                guard.require(PropertyAction.CREATE, name)
                properties[name] = self._values.custom(name, value)
        self._values.require_complete(values)
        image = evolve(blank, properties=properties, **attributes)
        self._values.require_property_quota(image.properties)
        self._values.require_tag_quota(image.tags)
        return image

    def apply(
        self,
        image: Image,
        operations: Iterable[Operation],
        permit: Permit,
        guard: PropertyGuard,
        *,
        strict_add: bool,
    ) -> Image:
        """
        Apply operations one after another (contract section 2.5).

        :param permit: Asked before a base attribute is set.
        :param guard: Says which properties the caller may see and change. What it does not see is absent to it.
        :param strict_add: `Add` may not overwrite, as in the older of the two media types.
        :return: The changed image; equal to ``image`` where nothing changed.
        :raises Forbidden: An attribute may not be set, not by this caller, or not in this status.
        :raises InvalidImage: A path or a value cannot be.
        :raises PropertyConflict: A property is absent, or present, that should not be.
        :raises QuotaExceeded: Too many properties or tags would be there.
        """
        draft = _Draft(image, permit, guard, strict_add)
        for operation in operations:
            name = self._name(operation)
            if name in SETTABLE:
                self._set_attribute(draft, name, operation)
            elif isinstance(operation, Remove):
                self._require_present(draft, name)
                guard.require(PropertyAction.DELETE, name)
                del draft.properties[name]
            else:
                self._set_property(draft, name, operation)
        if not draft.properties.keys() <= image.properties.keys():
            self._values.require_property_quota(draft.properties)
        if removed := image.properties.keys() - draft.properties:
            self._values.require_kept(removed)
        changed = evolve(image, properties=draft.properties, **draft.attributes)
        if "tags" in draft.attributes:
            self._values.require_tag_quota(changed.tags)
        return changed

    def _name(self, operation: Operation) -> str:
        if not operation.path or not operation.path[0]:
            raise InvalidImage("a path must name an attribute")
        name = operation.path[0]
        # Of what has parts, a client may set none.
        if len(operation.path) > 1 and name not in _WITH_PARTS:
            raise InvalidImage(f"attribute {name!r} has no parts")
        self._values.require_settable(name)
        return name

    def _set_attribute(self, draft: _Draft, name: str, operation: Operation) -> None:
        if isinstance(operation, Remove):
            raise Forbidden(f"attribute {name!r} cannot be removed")
        if isinstance(operation, Add) and draft.strict_add:
            raise PropertyConflict(f"attribute {name!r} is there already")
        value = self._values.attribute(name, operation.value)
        queued = draft.image.status in {ImageStatus.QUEUED, ImageStatus.IMPORTING}
        if name in _FORMATS and not queued and value != getattr(draft.image, name):
            raise Forbidden(f"attribute {name!r} cannot change once there are data")
        draft.permit(name, value)
        draft.attributes[name] = value

    def _set_property(self, draft: _Draft, name: str, operation: Add | Replace) -> None:
        if isinstance(operation, Replace):
            self._require_present(draft, name)
        elif draft.strict_add and draft.has(name):
            raise PropertyConflict(f"property {name!r} is there already")
        draft.guard.require(PropertyAction.UPDATE if draft.has(name) else PropertyAction.CREATE, name)
        draft.properties[name] = self._values.custom(name, operation.value)

    @staticmethod
    def _require_present(draft: _Draft, name: str) -> None:
        if not draft.has(name):
            raise PropertyConflict(f"there is no property {name!r}")
