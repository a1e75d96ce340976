"""
Custom properties that not everybody may see or change.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Final

from attrs import evolve, field, frozen

from glance_tx.domain.errors import Forbidden
from glance_tx.domain.images import Image
from glance_tx.identity.caller import Caller

__all__ = ["PropertyAction", "PropertyGuard", "Protection", "Protections"]


class PropertyAction(StrEnum):
    """
    What is done to a property.
    """

    CREATE = "create"
    READ = "read"
    UPDATE = "update"
    DELETE = "delete"


# The service's own: everybody sees them, no client changes them, whatever an operator says.
_SERVICE: Final = re.compile("^os_glance_.*")


@frozen
class Protection:
    """
    What an operator says of some properties.

    :param pattern: Found in the names of these.
    :param permits: Who may do what; nobody may do what is missing.
    """

    pattern: re.Pattern[str]
    permits: Mapping[PropertyAction, Callable[[Caller], bool]]

    def allows(self, action: PropertyAction, caller: Caller) -> bool:
        """
        Tell whether a caller may do that.
        """
        permit = self.permits.get(action)
        return permit is not None and permit(caller)


@frozen
class Protections:
    """
    Who may do what to which property (contract section 5.5). Nobody is special, administrators included.

    :param sections: The first whose pattern is found in a name decides, and where there is none nobody may do
        anything; ``None`` where nothing is protected.
    """

    sections: Sequence[Protection] | None = None

    def guard(self, caller: Caller) -> PropertyGuard:
        """
        Ask for one caller from now on.
        """
        return PropertyGuard(self, caller)

    def allows(self, action: PropertyAction, name: str, caller: Caller) -> bool:
        """
        Tell whether a caller may do something to a property.
        """
        if _SERVICE.search(name):
            return action is PropertyAction.READ
        if self.sections is None:
            return True
        for section in self.sections:
            if section.pattern.search(name):
                return section.allows(action, caller)
        return False


@frozen
class PropertyGuard:
    """
    What one caller may do to properties. Made for one request, it remembers what it was told.
    """

    _protections: Protections
    _caller: Caller
    _known: dict[tuple[PropertyAction, str], bool] = field(factory=dict, init=False, eq=False)

    def allows(self, action: PropertyAction, name: str) -> bool:
        """
        Tell whether the caller may do something to a property.
        """
        key = action, name
        if key not in self._known:
            self._known[key] = self._protections.allows(action, name, self._caller)
        return self._known[key]

    def require(self, action: PropertyAction, name: str) -> None:
        """
        Insist on it.

        :raises Forbidden: The caller may not.
        """
        if not self.allows(action, name):
            raise Forbidden(f"property {name!r} is protected: you may not {action} it")

    def sees(self, name: str) -> bool:
        """
        Tell whether the caller may read a property.
        """
        return self.allows(PropertyAction.READ, name)

    def shown(self, image: Image) -> Image:
        """
        Leave out what the caller may not read.
        """
        if self._protections.sections is None:
            return image
        properties = {name: value for name, value in image.properties.items() if self.sees(name)}
        return image if len(properties) == len(image.properties) else evolve(image, properties=properties)
