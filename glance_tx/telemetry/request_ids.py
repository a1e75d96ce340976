"""
The name of a request, in answers and in the log.
"""

from __future__ import annotations

import re
import uuid
from typing import Final

from attrs import frozen

__all__ = ["MAX_REQUEST_ID_LENGTH", "RequestIds", "request_ids"]

MAX_REQUEST_ID_LENGTH: Final = 64
_PREFIX: Final = "req-"
_FOREIGN: Final = re.compile(r"[^A-Za-z0-9._-]")


@frozen
class RequestIds:
    """
    What a request is called.

    :param request_id: The value of ``x-openstack-request-id`` in the answer, and in every log line.
    :param inbound: Whether the client chose it: such an id proves nothing, and two requests may share it.
    """

    request_id: str
    inbound: bool


def request_ids(inbound: str | None) -> RequestIds:
    """
    Name a request.

    As stock Glance does, an id that the client sent is used, with ``req-`` put before it where that is missing.
    Unlike there, only letters, digits and ``._-`` of it are kept, and 64 characters in all: stock answers a longer
    one with 500.

    :param inbound: The request's ``X-OpenStack-Request-ID``.
    """
    # Bounded first, so that a huge header costs nothing.
    kept = _FOREIGN.sub("", inbound[: 4 * MAX_REQUEST_ID_LENGTH]) if inbound else ""
    if not kept.removeprefix(_PREFIX):
        return RequestIds(f"{_PREFIX}{uuid.uuid4()}", inbound=False)
    named = kept if kept.startswith(_PREFIX) else f"{_PREFIX}{kept}"
    return RequestIds(named[:MAX_REQUEST_ID_LENGTH], inbound=True)
