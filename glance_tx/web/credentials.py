"""
What a request brings along to prove who sent it, and what it must not be believed.
"""

from __future__ import annotations

import re
from typing import Final

from twisted.web.http_headers import Headers

from glance_tx.identity.errors import NotAuthenticated
from glance_tx.identity.interfaces import Credentials
from glance_tx.web.errors import BadRequest

__all__ = ["CREDENTIAL_HEADERS", "IDENTITY_HEADERS", "credentials_of", "strip_identity_headers"]

CREDENTIAL_HEADERS: Final = ("X-Auth-Token", "X-Storage-Token", "X-Service-Token")
"""
Every header that says who is calling: two names for the user's token, and the service's.
"""

IDENTITY_HEADERS: Final = frozenset(
    {
        "x-identity-status",
        "x-service-identity-status",
        "x-user",
        "x-user-id",
        "x-user-name",
        "x-user-domain-id",
        "x-user-domain-name",
        "x-project-id",
        "x-project-name",
        "x-project-domain-id",
        "x-project-domain-name",
        "x-tenant",
        "x-tenant-id",
        "x-tenant-name",
        "x-domain-id",
        "x-domain-name",
        "x-role",
        "x-roles",
        "x-service-catalog",
        "x-service-user-id",
        "x-service-user-name",
        "x-service-user-domain-id",
        "x-service-user-domain-name",
        "x-service-project-id",
        "x-service-project-name",
        "x-service-project-domain-id",
        "x-service-project-domain-name",
        "x-service-domain-id",
        "x-service-domain-name",
        "x-service-roles",
        "x-is-admin-project",
        "openstack-system-scope",
    }
)
"""
Headers that a token filter sets for the service behind it, in lower case. From outside they are lies.
"""

# Fernet tokens have some 250 characters; signed ones with a catalog inside some thousands.
_TOKEN: Final = re.compile(rb"[\x21-\x7e]{1,8192}")


def credentials_of(headers: Headers) -> Credentials:
    """
    Read the credentials of a request.

    An empty header counts as none. ``X-Auth-Token`` goes before ``X-Storage-Token``.

    :raises BadRequest: A credential header is there twice: whoever checks one may forward the other.
    :raises NotAuthenticated: A token is longer than 8 KiB, or has characters that no token has.
    """
    user, storage, service = (_token(headers, name) for name in CREDENTIAL_HEADERS)
    return Credentials(token=storage if user is None else user, service_token=service)


def strip_identity_headers(headers: Headers) -> None:
    """
    Remove from a request what only a token filter may set.

    Also where it is spelled with underscores, which a WSGI server behind us could not tell from dashes.
    """
    for name in [name for name, _ in headers.getAllRawHeaders()]:
        if name.decode("latin-1").lower().replace("_", "-") in IDENTITY_HEADERS:
            headers.removeHeader(name)


def _token(headers: Headers, name: str) -> str | None:
    values = headers.getRawHeaders(name.encode("ascii"), [])
    if len(values) > 1:
        raise BadRequest(f"the header {name} must not be repeated")
    if not values or not values[0]:
        return None
    if _TOKEN.fullmatch(values[0]) is None:
        raise NotAuthenticated("the token is malformed")
    return str(values[0], "ascii")
