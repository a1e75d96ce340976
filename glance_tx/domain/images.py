"""
The image: a record with a status that moves along known ways.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from attrs import field, frozen

__all__ = ["TRANSITIONS", "Image", "ImageStatus", "Location", "Visibility", "may_become"]


class ImageStatus(StrEnum):
    """
    The status words of contract section 2.1.
    """

    QUEUED = "queued"
    SAVING = "saving"
    ACTIVE = "active"
    KILLED = "killed"
    DELETED = "deleted"
    UPLOADING = "uploading"
    IMPORTING = "importing"
    PENDING_DELETE = "pending_delete"
    DEACTIVATED = "deactivated"


class Visibility(StrEnum):
    """
    Who may see an image (contract section 4.1).
    """

    PUBLIC = "public"
    COMMUNITY = "community"
    SHARED = "shared"
    PRIVATE = "private"


_S = ImageStatus

TRANSITIONS: Final[Mapping[ImageStatus, frozenset[ImageStatus]]] = {
    _S.QUEUED: frozenset({_S.SAVING, _S.UPLOADING, _S.IMPORTING, _S.ACTIVE, _S.DELETED}),
    _S.SAVING: frozenset({_S.ACTIVE, _S.KILLED, _S.DELETED, _S.QUEUED}),
    _S.UPLOADING: frozenset({_S.IMPORTING, _S.QUEUED, _S.DELETED}),
    _S.IMPORTING: frozenset({_S.ACTIVE, _S.DELETED, _S.QUEUED}),
    _S.ACTIVE: frozenset({_S.PENDING_DELETE, _S.DELETED, _S.DEACTIVATED}),
    _S.DEACTIVATED: frozenset({_S.ACTIVE, _S.DELETED}),
    _S.KILLED: frozenset({_S.DELETED}),
    _S.PENDING_DELETE: frozenset({_S.DELETED, _S.ACTIVE}),
    _S.DELETED: frozenset(),
}
"""Where an image may go from each status (contract section 2.8)."""


def may_become(status: ImageStatus, to: ImageStatus) -> bool:
    """
    Tell whether an image may go from one status to another in one step.
    """
    return to in TRANSITIONS[status]


@frozen
class Location:
    """
    Where an image's data lies.

    :param store: Name of the store.
    :param url: The store's location. May carry credentials, so it is never shown in a text.
    :param metadata: What is said of it: JSON.
    """

    store: str
    url: str = field(repr=False)
    metadata: Mapping[str, Any] = field(factory=dict, repr=False)


@frozen
class Image:
    """
    One image, as the database has it.

    Sizes are in bytes, ``min_ram`` in MiB, ``min_disk`` in GiB, times in UTC with whole seconds or better.
    ``checksum`` is the MD5 of the data, ``os_hash_value`` its digest by ``os_hash_algo``; both in hex.
    ``member_id`` is no fact of the image: it is the project that the image was fetched for, where others share the
    image with that project.
    """

    id: str
    created_at: datetime
    updated_at: datetime
    owner: str | None = None
    name: str | None = None
    status: ImageStatus = ImageStatus.QUEUED
    visibility: Visibility = Visibility.SHARED
    protected: bool = False
    os_hidden: bool = False
    checksum: str | None = None
    os_hash_algo: str | None = None
    os_hash_value: str | None = None
    size: int | None = None
    virtual_size: int | None = None
    container_format: str | None = None
    disk_format: str | None = None
    min_ram: int = 0
    min_disk: int = 0
    tags: frozenset[str] = frozenset()
    properties: Mapping[str, str | None] = field(factory=dict)
    locations: tuple[Location, ...] = ()
    member_id: str | None = None

    @property
    def formats_set(self) -> bool:
        """
        Whether both formats are known, without which an image takes no data.
        """
        return self.disk_format is not None and self.container_format is not None

    @property
    def has_data(self) -> bool:
        """
        Whether the status says that there are data to read.
        """
        return self.status in {ImageStatus.ACTIVE, ImageStatus.DEACTIVATED}

    def is_shared_with(self, project_id: str | None) -> bool:
        """
        Tell whether an image that was fetched for a project is shared, and with that one.
        """
        return self.visibility is Visibility.SHARED and self.member_id is not None and self.member_id == project_id
