"""
The member: a project that an image is shared with, and what it says to that.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from attrs import frozen

__all__ = ["Member", "MemberStatus"]


class MemberStatus(StrEnum):
    """
    Whether a member wants the image in its default list. It may read the image all the same (contract section 4.1).
    """

    PENDING = "pending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


@frozen
class Member:
    """
    One membership.

    :param member_id: The project. Nobody checks that there is one of that name.
    """

    image_id: str
    member_id: str
    status: MemberStatus
    created_at: datetime
    updated_at: datetime
