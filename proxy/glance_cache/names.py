"""
What an entry is called on disk.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

from glance_cache.interfaces import ImageFacts

__all__ = ["EntryName", "is_image_id"]

# Neither may hold a dot or a slash, so that a name cannot leave its folder or pass for another file's.
_IMAGE_ID: Final = re.compile(r"[0-9a-z][0-9a-z_-]{1,63}")
_KEY: Final = re.compile(r"[0-9a-z_]{1,32}-[0-9a-f]{32}|size-[0-9a-f]{1,16}")
_ALGORITHM: Final = re.compile(r"[0-9a-z_]{1,32}")
_HEX: Final = re.compile(r"[0-9a-f]{32,512}")
_KEY_DIGITS: Final = 32
_NO_HASH: Final = "size"


def is_image_id(text: str) -> bool:
    """
    Whether an image service could have given this id, in lower case.
    """
    return _IMAGE_ID.fullmatch(text) is not None


@frozen(order=True)
class EntryName:
    """
    The name of an entry: an image, and which data of it.

    An image's data does not change, as a rule; the key keeps apart what the rule's exceptions (an image service
    restored from a backup, another service behind the same address) would mix up. Two images never share an entry,
    whatever their hashes.

    :param image_id: In lower case.
    :param key: The algorithm and the beginning of the hash, or ``size-`` and the size of an image that has none.
    """

    image_id: str
    key: str

    @classmethod
    def of(cls, facts: ImageFacts) -> EntryName:
        """
        Tell the name of the entry that holds this data.

        :raises ValueError: The id is none that an image service gives.
        """
        if not is_image_id(facts.image_id):
            raise ValueError(f"{facts.image_id!r} is not an image id")
        return cls(facts.image_id, _key(facts))

    @classmethod
    def parse(cls, stem: str) -> EntryName | None:
        """
        Read a name off a file.

        :return: ``None`` when it is not the name of an entry.
        """
        image_id, _, key = stem.rpartition("-")
        image_id, _, algorithm = image_id.rpartition("-")
        key = f"{algorithm}-{key}"
        if not is_image_id(image_id) or _KEY.fullmatch(key) is None:
            return None
        return cls(image_id, key)

    @property
    def stem(self) -> str:
        """
        The file name, less its suffix.
        """
        return f"{self.image_id}-{self.key}"

    @property
    def bucket(self) -> str:
        """
        The folder it lies in.
        """
        return self.image_id[:2]

    @property
    def verified(self) -> bool:
        """
        Whether the data was held against a hash of the image service, and not against its length alone.
        """
        return not self.key.startswith(f"{_NO_HASH}-")


def _key(facts: ImageFacts) -> str:
    # The text comes from another service: what does not look like a hash is not used as one.
    algorithm, value = facts.os_hash_algo, facts.os_hash_value
    if algorithm and value and _ALGORITHM.fullmatch(algorithm) and algorithm != _NO_HASH and _HEX.fullmatch(value):
        return f"{algorithm}-{value[:_KEY_DIGITS]}"
    if facts.checksum and _HEX.fullmatch(facts.checksum):
        return f"md5-{facts.checksum[:_KEY_DIGITS]}"
    return f"{_NO_HASH}-{facts.size:x}"
