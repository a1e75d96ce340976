"""
What a client says of data that it does not bring itself.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import evolve

from glance_tx.domain.errors import InvalidImage, PropertyConflict
from glance_tx.domain.images import Image, ImageStatus

__all__ = ["Validation"]

_LENGTHS: Final[Mapping[str, int]] = {"checksum": 32, "os_hash_algo": 64, "os_hash_value": 128}
_REQUIRED: Final = ("os_hash_algo", "os_hash_value")
_HEX: Final = re.compile("[0-9a-fA-F]*")
_MD5_DIGITS: Final = 32


class Validation:
    """
    Takes ``validation_data`` of locations over into images (contract section 2.6).

    :param hashing_algorithm: The one that images of this service have their ``os_hash_value`` by.
    """

    def __init__(self, hashing_algorithm: str) -> None:
        self._algorithm = hashing_algorithm

    def apply(self, image: Image, given: Sequence[object]) -> Image:
        """
        Write down what is said of an image's data.

        :param given: The validation data of some locations, as they came in JSON; ``None`` where there are none.
        :raises InvalidImage: They are not what validation data look like.
        :raises PropertyConflict: They contradict each other or the image, come too late, or are of another kind.
        """
        said: dict[str, str] = {}
        for one in given:
            for name, value in _checked(one).items():
                if said.setdefault(name, value) != value:
                    raise PropertyConflict(f"the locations give several values of {name!r}")
        facts: dict[str, Any] = {}
        for name, value in said.items():
            known = getattr(image, name)
            if known is None:
                facts[name] = value
            elif known != value:
                raise PropertyConflict(f"{name!r} of the image is another")
        if facts:
            self._require_new(image, facts)
        return evolve(image, **facts)

    def _require_new(self, image: Image, facts: Mapping[str, str]) -> None:
        if image.status is not ImageStatus.QUEUED:
            raise PropertyConflict("validation data may be given only while the image is queued")
        if facts.get("os_hash_algo", self._algorithm) != self._algorithm:
            raise PropertyConflict(f"'os_hash_algo' must be {self._algorithm!r}")
        digits = {"checksum": _MD5_DIGITS, "os_hash_value": hashlib.new(self._algorithm).digest_size * 2}
        for name in facts.keys() & digits:
            if len(facts[name]) != digits[name] or _HEX.fullmatch(facts[name]) is None:
                raise PropertyConflict(f"{name!r} must be {digits[name]} hexadecimal digits")


def _checked(given: object) -> Mapping[str, str]:
    if given is None:
        return {}
    if not isinstance(given, dict) or not given.keys() <= _LENGTHS.keys():
        raise InvalidImage(f"'validation_data' must be an object of {', '.join(_LENGTHS)}")
    for name in _REQUIRED:
        if name not in given:
            raise InvalidImage(f"'validation_data' must have {name!r}")
    for name, value in given.items():
        if not isinstance(value, str) or len(value) > _LENGTHS[name]:
            raise InvalidImage(f"{name!r} must be a string of at most {_LENGTHS[name]} characters")
    return given
