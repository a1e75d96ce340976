"""
The caller of a request, as the rest of the program sees it.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import field, frozen


def _lowered(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name.lower() for name in names)


@frozen
class Caller:
    """
    Somebody whose credentials were checked.

    :param user_id: The user; ``None`` where the strategy knows no users.
    :param project_id: The project the credentials are scoped to; owner of what the caller creates.
    :param roles: Names of roles, in lower case.
    :param service_roles: Names of the roles of the service that acts for the user, in lower case; none where no
        service does, or none whose word counts.
    :param expires_at: When the credentials end (seconds since the epoch), where that is known.
    """

    user_id: str | None
    project_id: str | None
    roles: frozenset[str] = field(converter=_lowered)
    expires_at: float | None = None
    service_roles: frozenset[str] = field(converter=_lowered, default=())
