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
    :param expires_at: When the credentials end (seconds since the epoch), where that is known.
    :param service_roles: Names of the roles of the service that acts for the user, in lower case; none where no
        service does, or none whose word counts.
    :param user_domain_id: The domain that the user belongs to.
    :param project_domain_id: The domain that the project belongs to.
    :param domain_id: The domain the credentials are scoped to, in place of a project.
    :param system_scope: ``all`` where they are scoped to the whole cloud, in place of a project.
    :param is_admin_project: Whether the project is the one whose administrators are the cloud's, where the identity
        service distinguishes such a one; ``True`` otherwise.
    """

    user_id: str | None
    project_id: str | None
    roles: frozenset[str] = field(converter=_lowered)
    expires_at: float | None = None
    service_roles: frozenset[str] = field(converter=_lowered, default=(), kw_only=True)
    user_domain_id: str | None = field(default=None, kw_only=True)
    project_domain_id: str | None = field(default=None, kw_only=True)
    domain_id: str | None = field(default=None, kw_only=True)
    system_scope: str | None = field(default=None, kw_only=True)
    is_admin_project: bool = field(default=True, kw_only=True)

    @property
    def is_outside_projects(self) -> bool:
        """
        Whether the credentials are for a domain or for the cloud as such, where roles mean something else than in a
        project: the administrator of a domain is not that of the image service.
        """
        return self.domain_id is not None or self.system_scope is not None
