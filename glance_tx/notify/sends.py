"""
The event of a download that ended, from whichever daemon the bytes came.
"""

from __future__ import annotations

from attrs import frozen

from glance_tx.notify.interfaces import Event

__all__ = ["Sent", "send_event"]


@frozen
class Sent:
    """
    A download that ended.

    :param image_id: Of the image.
    :param owner_id: Its owner, where that is known.
    :param bytes_sent: Of the body, on their way to the client when it ended.
    :param length: Bytes that the answer announced.
    :param destination: Address of the client.
    """

    image_id: str
    owner_id: str | None
    bytes_sent: int
    length: int
    destination: str | None


def send_event(sent: Sent, user_id: str | None, project_id: str | None) -> Event:
    """
    Make the event ``image.send`` (contract section 7.6): an error where fewer bytes went out than were announced.

    :param user_id: Who downloads, and for which project (``project_id``), where that is known.
    """
    payload = {
        "bytes_sent": sent.bytes_sent,
        "image_id": sent.image_id,
        "owner_id": sent.owner_id,
        "receiver_tenant_id": project_id,
        "receiver_user_id": user_id,
        "destination_ip": sent.destination,
    }
    whole = sent.bytes_sent >= sent.length
    return Event("image.send", payload, "INFO" if whole else "ERROR", user_id, project_id)
