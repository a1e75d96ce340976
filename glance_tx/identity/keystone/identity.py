"""
Callers by their tokens, and services that act for them.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import evolve
from zope.interface import implementer

from glance_tx.identity.caller import Caller
from glance_tx.identity.errors import NotAuthenticated
from glance_tx.identity.interfaces import Credentials, IIdentity, ITokens

__all__ = ["KeystoneIdentity"]


@implementer(IIdentity)
class KeystoneIdentity:
    """
    Knows callers by the user's token; a service's token adds to it.

    A service token that is not valid counts as none, as in stock Glance: what may be done is decided by the user's
    token, and the service's roles are for policy rules that name them.

    :param service_roles: A service token with one of these vouches for a user's token that has expired.
    :param roles_required: Count a service token without any of them as none.
    """

    def __init__(self, tokens: ITokens, service_roles: Iterable[str], *, roles_required: bool) -> None:
        self._tokens = tokens
        self._service_roles = frozenset(role.lower() for role in service_roles)
        self._roles_required = roles_required

    async def identify(self, credentials: Credentials) -> Caller:
        """
        See `IIdentity.identify`.
        """
        if not credentials.token:
            raise NotAuthenticated("there is none")
        roles = await self._roles_of_service(credentials.service_token)
        vouched = bool(roles & self._service_roles)
        caller = await self._tokens.find(credentials.token, allow_expired=vouched)
        if self._roles_required and not vouched:
            return caller
        return evolve(caller, service_roles=roles)

    async def _roles_of_service(self, token: str | None) -> frozenset[str]:
        if not token:
            return frozenset()
        try:
            return (await self._tokens.find(token)).roles
        except NotAuthenticated:
            return frozenset()
