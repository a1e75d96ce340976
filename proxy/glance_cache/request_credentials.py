"""
The credentials in a request.
"""

from __future__ import annotations

import re
from typing import Final

from glance_cache.interfaces import UpstreamCredentials
from glance_tx.web.errors import BadRequest
from glance_tx.web.request import Request

__all__ = ["credentials_of"]

# What else comes in such a header is no credential, and could be taken for another one once it was decoded.
_CREDENTIAL: Final = re.compile(r"[\x20-\x7e]*")


def credentials_of(request: Request) -> UpstreamCredentials:
    """
    Read the credential headers, each as it came.

    :raises BadRequest: One is there twice: this node and the upstream might each believe another one. Or it has
        characters that no credential has.
    """
    return UpstreamCredentials(
        auth_token=_credential(request, "X-Auth-Token"),
        storage_token=_credential(request, "X-Storage-Token"),
        service_token=_credential(request, "X-Service-Token"),
    )


def _credential(request: Request, name: str) -> str | None:
    value = request.single_header(name)
    if value is not None and _CREDENTIAL.fullmatch(value) is None:
        raise BadRequest(f"the header {name} is malformed")
    return value
