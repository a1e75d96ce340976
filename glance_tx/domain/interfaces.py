"""
What the image service needs from the world around it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Literal

from attrs import field, frozen
from zope.interface import Interface

from glance_tx.domain.filters import Condition
from glance_tx.domain.images import Image, ImageStatus, Location, Visibility
from glance_tx.domain.members import Member, MemberStatus

__all__ = [
    "IImageRepository",
    "IMemberRepository",
    "IPresence",
    "ImageQuery",
    "Lease",
    "LeaseOwner",
    "StoredData",
    "Viewer",
]


@frozen
class Viewer:
    """
    Whose images a query may cover.

    :param project_id: The caller's project.
    :param is_admin: Sees the images of all projects.
    """

    project_id: str | None
    is_admin: bool


@frozen
class ImageQuery:
    """
    One page of the image list (contract section 2.7).

    :param viewer: Which images count at all, by the table under 2.7; the catalog fills it in from the caller.
    :param filters: Conditions on base attributes, all of which must be met.
    :param properties: Custom property to the value it must equal.
    :param tags: All of these must be there.
    :param visibility: ``None`` for the default list; ``"all"`` to add other projects' community images.
    :param member_status: Which of the images that others share with the viewer's project count.
    :param sort: Attribute and direction, most significant first. The repository adds ``created_at`` and ``id`` to
        break ties: downwards, unless all others go upwards. Null counts as less than any value, and text is ordered
        by code points, on every database.
    :param limit: Most images to return.
    :param marker: Id of the last image of the page before.
    """

    viewer: Viewer = Viewer(project_id=None, is_admin=False)
    filters: Sequence[Condition] = ()
    properties: Mapping[str, str] = field(factory=dict)
    tags: frozenset[str] = frozenset()
    visibility: Visibility | Literal["all"] | None = None
    member_status: MemberStatus | Literal["all"] = MemberStatus.ACCEPTED
    os_hidden: bool = False
    sort: tuple[tuple[str, Literal["asc", "desc"]], ...] = (("created_at", "desc"),)
    limit: int = 25
    marker: str | None = None


@frozen
class LeaseOwner:
    """
    One process of one node, for as long as it runs.

    :param node: The node's name.
    :param boot_id: Drawn anew whenever a process starts.
    """

    node: str
    boot_id: str


@frozen
class Lease:
    """
    The right to write the data of one image, and what is left to clean up without it.

    :param fence: Greater than that of any earlier lease of the same image.
    :param location: Where the data goes; known before its first byte is written.
    :param heartbeat_at: When the owner last said that it lives.
    :param ended: Nobody writes any more, and the location is still to be cleared.
    """

    image_id: str
    fence: int
    owner: LeaseOwner
    location: Location
    heartbeat_at: datetime
    ended: bool = False


@frozen
class StoredData:
    """
    What is known of an image's data once it is durable.
    """

    size: int
    checksum: str
    os_hash_algo: str
    os_hash_value: str
    virtual_size: int | None = None


class IImageRepository(Interface):
    """
    Images, kept.

    Every method is one transaction. Status changes are compare-and-set: what another process did in between is
    seen, not overwritten. A deleted image is as absent as one that never was, except that its id stays taken. Ids are
    kept in lower case, and the same in any.
    Any method may raise ``CatalogUnavailable``; nothing was changed then, unless the answer to a commit was lost.
    """

    async def add(image: Image) -> None:
        """
        Keep a new image.

        :raises ImageExists: The id is or was in use.
        """

    async def get(image_id: str, *, project_id: str | None = None) -> Image:
        """
        Fetch one image, whoever asks.

        :param project_id: Whose membership the image is to tell by its ``member_id``.
        :raises ImageNotFound: It never was, or is deleted.
        """

    async def list(query: ImageQuery) -> Sequence[Image]:
        """
        Fetch one page. The images tell the membership of the viewer's project.

        :raises InvalidQuery: The marker is not an image that the viewer could see, or what to filter or sort by is no
            attribute.
        """

    async def save(image: Image, *, was: Image) -> Image:
        """
        Write the attributes, properties and tags of a changed image, all or nothing.

        Never touches status, data facts or locations. Last writer wins. The time of the change is the repository's.

        :param was: The image as it was read; its status must still hold.
        :return: The image as kept, with its new ``updated_at``.
        :raises ImageNotFound: It was deleted meanwhile.
        :raises StatusConflict: Its status changed meanwhile.
        """

    async def change_locations(image: Image, *, was: Image) -> tuple[Image, Sequence[Lease]]:
        """
        Write what `save` writes, and with it the status, the facts of the data and the locations.

        Locations that the image loses become ended leases in the same transaction, as when it is deleted.

        :param was: The image as it was read; its status and its locations must still hold.
        :return: The image as kept, with its new ``updated_at``, and those leases, for `forget_lease` once the data is
            gone.
        :raises ImageNotFound: It was deleted meanwhile.
        :raises StatusConflict: Its status or its locations changed meanwhile.
        """

    async def set_status(image_id: str, status: ImageStatus, *, from_status: ImageStatus) -> None:
        """
        Move an image that has data from one status to another, touching nothing else.

        :raises ImageNotFound: It never was, or is deleted.
        :raises StatusConflict: The status is not ``from_status`` any more.
        """

    async def add_tag(image_id: str, tag: str, *, quota: int) -> None:
        """
        Give an image a tag; where it has it, nothing changes but the time of its last change.

        :param quota: Most tags of one image; below 0 for any number. It holds for tags that are added at the same time.
        :raises ImageNotFound: It never was, or is deleted.
        :raises QuotaExceeded: It has as many as it may.
        """

    async def remove_tag(image_id: str, tag: str) -> None:
        """
        Take a tag off an image. Harmless where it has no such tag.

        :raises ImageNotFound: It never was, or is deleted.
        """

    async def delete(image_id: str, *, from_status: ImageStatus) -> Sequence[Lease]:
        """
        Turn an image into a tombstone.

        Its locations become ended leases in the same transaction, so that a crash after it loses none of the
        data that is to be removed. The lease of an upload under way stays as it is, its owner's to end: who still
        writes would otherwise leave data behind where somebody has cleared up already.

        :return: Those leases, for `forget_lease` once the data is gone.
        :raises ImageNotFound: It never was, or was deleted meanwhile.
        :raises StatusConflict: The status is not ``from_status`` any more.
        """

    async def storage_used(owner: str, *, without: Collection[str] = frozenset()) -> int:
        """
        Add up the bytes of a project's images, each counted once for every location. Those that are killed, deleted
        or waiting to be deleted count nothing.

        :param without: Ids, in lower case, of images to leave out.
        """

    async def begin_upload(image_id: str, owner: LeaseOwner, plan: Callable[[int], Location], now: datetime) -> Lease:
        """
        Move an image from queued to saving, under a new lease.

        :param plan: Tells the location for a fence; called within the transaction, so it does not wait.
        :raises ImageNotFound: It never was, or is deleted.
        :raises StatusConflict: It is not queued.
        """

    async def heartbeat(lease: Lease, now: datetime) -> None:
        """
        Say that the owner lives.

        :raises ImageGone: The image was deleted.
        :raises LeaseLost: Somebody else ended the lease.
        """

    async def finish_upload(lease: Lease, data: StoredData, now: datetime) -> Image:
        """
        Move an image from saving to active and drop the lease, if the lease is still the image's.

        :raises ImageGone: The image was deleted; the lease is ended, its location to be cleared by the caller.
        :raises LeaseLost: Somebody else ended the lease; the location is to be cleared by the caller.
        """

    async def end_lease(lease: Lease, now: datetime) -> None:
        """
        Mark a lease as ended and move its image, if still saving under it, back to queued (size cleared).

        Harmless when repeated, and when the lease is gone.
        """

    async def forget_lease(lease: Lease) -> None:
        """
        Drop an ended lease: its location is known to be clear. Harmless when repeated.
        """

    async def leases(*, ended: bool | None = None, silent_since: datetime | None = None) -> Sequence[Lease]:
        """
        List leases.

        :param ended: Only those that are ended, or only those that are not.
        :param silent_since: Only those whose last heartbeat is older.
        """


class IMemberRepository(Interface):
    """
    Which projects images are shared with.

    Every method is one transaction, and looks at living images only. Image ids are the same in any case, project ids
    are not. Any method may raise ``CatalogUnavailable``, as those of `IImageRepository`.
    """

    async def add(image_id: str, member_id: str, *, quota: int) -> Member:
        """
        Share an image with one more project, which is pending then, whatever it was before it was removed.

        :param quota: Most members of one image, also when several are added at once; below 0 for any number.
        :raises ImageNotFound: The image never was, or is deleted.
        :raises MemberExists: It is shared with that project already.
        :raises QuotaExceeded: There would be more than the quota.
        """

    async def list(image_id: str) -> Sequence[Member]:
        """
        List the members of an image, the oldest first.

        :raises ImageNotFound: The image never was, or is deleted.
        """

    async def get(image_id: str, member_id: str) -> Member:
        """
        Fetch one member.

        :raises ImageNotFound: The image never was, or is deleted.
        :raises MemberNotFound: It is not shared with that project.
        """

    async def set_status(image_id: str, member_id: str, status: MemberStatus) -> Member:
        """
        Note what a member says. Last writer wins.

        :return: The member as it is now.
        :raises ImageNotFound: The image never was, or is deleted.
        :raises MemberNotFound: It is not shared with that project, or not any more.
        """

    async def remove(image_id: str, member_id: str) -> Member:
        """
        Share an image with one project less.

        :return: The member as it was, but that its last change is the removal.
        :raises ImageNotFound: The image never was, or is deleted.
        :raises MemberNotFound: It is not shared with that project, or not any more.
        """


class IPresence(Interface):
    """
    Which processes of this node live.
    """

    def is_dead(owner: LeaseOwner) -> bool:
        """
        Tell whether that process is known to have ended. May look at a disk, so it is called in a lane.

        :return: ``False`` where it lives, and where nothing is known of it (another node's, say).
        """
