"""
What is told of images (contract section 7.6).
"""

from __future__ import annotations

from datetime import UTC, datetime

from attrs import frozen

from glance_tx.domain.images import Image, Visibility
from glance_tx.domain.members import Member
from glance_tx.identity.caller import Caller
from glance_tx.notify.interfaces import Event, INotifier
from glance_tx.notify.sends import Sent, send_event

__all__ = ["Events", "image_payload"]


@frozen
class Events:
    """
    Tells of what callers did.

    :param notifier: Who is told.
    """

    _notifier: INotifier

    def image(self, what: str, caller: Caller, image: Image) -> None:
        """
        Tell that something was done to an image.

        :param what: ``create``, ``prepare``, ``upload``, ``activate`` or ``update``.
        """
        self._tell(f"image.{what}", caller, image_payload(image))

    def deleted(self, caller: Caller, image: Image, at: datetime) -> None:
        """
        Tell that an image was deleted.
        """
        facts = {"status": "deleted", "deleted": True, "deleted_at": _time(at)}
        self._tell("image.delete", caller, {**image_payload(image), **facts})

    def member(self, what: str, caller: Caller, member: Member) -> None:
        """
        Tell that an image is shared with a project from now on, or that the member says something else.

        :param what: ``create`` or ``update``.
        """
        self._tell(f"image.member.{what}", caller, _member_payload(member))

    def member_removed(self, caller: Caller, member: Member) -> None:
        """
        Tell that an image is not shared with a project any more.

        :param member: As it was, last changed by its removal.
        """
        facts = {"deleted": True, "deleted_at": _time(member.updated_at)}
        self._tell("image.member.delete", caller, {**_member_payload(member), **facts})

    def failed(self, what: str, caller: Caller, reason: str) -> None:
        """
        Tell that something could not be done, in words.

        :param what: ``prepare`` or ``upload``.
        """
        self._notifier.notify(Event(f"image.{what}", reason, "ERROR", caller.user_id, caller.project_id))

    def sent(self, caller: Caller, sent: Sent) -> None:
        """
        Tell that a download ended, whole or not.
        """
        self._notifier.notify(send_event(sent, caller.user_id, caller.project_id))

    def _tell(self, event_type: str, caller: Caller, payload: dict[str, object]) -> None:
        self._notifier.notify(Event(event_type, payload, "INFO", caller.user_id, caller.project_id))


def image_payload(image: Image) -> dict[str, object]:
    """
    Say of an image what notifications say of it. Where its data lie is not among it.
    """
    return {
        "id": image.id,
        "name": image.name,
        "status": image.status.value,
        "created_at": _time(image.created_at),
        "updated_at": _time(image.updated_at),
        "min_disk": image.min_disk,
        "min_ram": image.min_ram,
        "protected": image.protected,
        "checksum": image.checksum,
        "owner": image.owner,
        "disk_format": image.disk_format,
        "container_format": image.container_format,
        "size": image.size,
        "virtual_size": image.virtual_size,
        "is_public": image.visibility is Visibility.PUBLIC,
        "visibility": image.visibility.value,
        "properties": dict(image.properties),
        "tags": sorted(image.tags),
        "deleted": False,
        "deleted_at": None,
    }


def _member_payload(member: Member) -> dict[str, object]:
    return {
        "image_id": member.image_id,
        "member_id": member.member_id,
        "status": member.status.value,
        "created_at": _time(member.created_at),
        "updated_at": _time(member.updated_at),
        "deleted": False,
        "deleted_at": None,
    }


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
