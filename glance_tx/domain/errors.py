"""
What the image service refuses, and why.
"""

from __future__ import annotations

from attrs import frozen

from glance_tx.errors import FactualError


class DomainError(FactualError):
    """
    The image service did not do as asked.
    """


@frozen
class ImageNotFound(DomainError):
    """
    There is no such image, or the caller may not know of it.
    """

    message = "no image with id {self.image_id!r} was found"
    image_id: str


@frozen
class ImageExists(DomainError):
    """
    The id is taken, or was once.
    """

    message = "an image with id {self.image_id!r} exists, or existed, already"
    image_id: str


@frozen
class MemberNotFound(DomainError):
    """
    The image is not shared with that project, or the caller may not know whether it is.
    """

    message = "image {self.image_id} has no member {self.member_id!r}"
    image_id: str
    member_id: str


@frozen
class MemberExists(DomainError):
    """
    The image is shared with that project already.
    """

    message = "image {self.image_id} has the member {self.member_id!r} already"
    image_id: str
    member_id: str


@frozen
class InvalidMember(DomainError):
    """
    Values that a member cannot have.
    """

    message = "{self.reason}"
    reason: str


@frozen
class Forbidden(DomainError):
    """
    The caller may know of the thing and still not do this to it.
    """

    message = "{self.reason}"
    reason: str


@frozen
class InvalidImage(DomainError):
    """
    Values that an image cannot have.
    """

    message = "{self.reason}"
    reason: str


@frozen
class BadPropertySchema(DomainError):
    """
    An operator's schema of a custom property that cannot be used. No client gets to see it.
    """

    message = "{self.reason}"
    reason: str


@frozen
class InvalidQuery(DomainError):
    """
    Values that a list query cannot have.
    """

    message = "{self.reason}"
    reason: str


@frozen
class PropertyConflict(DomainError):
    """
    A change that does not fit the properties as they are (to replace an absent one, say).
    """

    message = "{self.reason}"
    reason: str


@frozen
class TagNotFound(DomainError):
    """
    The image has no such tag.
    """

    message = "image {self.image_id} has no tag {self.tag!r}"
    image_id: str
    tag: str


@frozen
class StatusConflict(DomainError):
    """
    An image is in a status that does not allow what was asked.
    """

    message = "image {self.image_id} is {self.status}: {self.reason}"
    image_id: str
    status: str
    reason: str


@frozen
class FormatsNotSet(DomainError):
    """
    Data cannot come before both formats are known (contract 2.8).
    """

    message = "set disk_format and container_format of image {self.image_id} before its data"
    image_id: str


@frozen
class ImageGone(DomainError):
    """
    The image was deleted while its data was coming in.
    """

    message = "image {self.image_id} was deleted during the upload"
    image_id: str


@frozen
class LeaseLost(DomainError):
    """
    An upload was given up on (its lease ran out, or was taken) before it finished.
    """

    message = "the upload to image {self.image_id} lost its lease (fence {self.fence})"
    image_id: str
    fence: int


@frozen
class ImageTooLarge(DomainError):
    """
    More bytes than an image may have.
    """

    message = "the image data is larger than the {self.limit} bytes allowed"
    limit: int


@frozen
class QuotaExceeded(DomainError):
    """
    More of something than one image or project may have.
    """

    message = "{self.count} {self.subject} exceed the limit of {self.limit}"
    subject: str
    count: int
    limit: int


@frozen
class StorageQuotaExceeded(DomainError):
    """
    More data than a project may keep.

    :param owner: The project.
    :param left: Bytes that it could add when it was asked.
    """

    message = "the data are more than the {self.left} bytes that project {self.owner} has left of its {self.limit}"
    owner: str
    left: int
    limit: int


@frozen
class SizeMismatch(DomainError):
    """
    The data is not as long as its sender said.

    :param received: How long it is; ``None`` for data that went on past what was declared, and was not read.
    """

    message = "the data is not {self.declared} bytes long, as declared, but {self.found}"
    declared: int
    received: int | None

    @property
    def found(self) -> str:
        """
        What came instead, in words.
        """
        return "longer" if self.received is None else f"{self.received}"


@frozen
class UnknownStore(DomainError):
    """
    A client named a store for its data that there is not.
    """

    message = "there is no store {self.name!r}; image data go into {self.known!r}"
    name: str
    known: str


@frozen
class FormatRefused(DomainError):
    """
    The data are not of the image's disk format, or not safe to use.
    """

    message = "the data do not do for an image with disk_format {self.disk_format}: {self.reason}"
    disk_format: str
    reason: str


@frozen
class NoData(DomainError):
    """
    The image has no data (yet), or its data is missing in the store.
    """

    message = "image {self.image_id} has no data"
    image_id: str


@frozen
class TooManyUploads(DomainError):
    """
    This process takes in as many images at once as it may.
    """

    message = "{self.limit} uploads are under way here already; try again later"
    limit: int


@frozen
class CatalogUnavailable(DomainError):
    """
    The database cannot be reached, or did not answer in time.
    """

    message = "the image catalog is not available: {self.reason}"
    reason: str
