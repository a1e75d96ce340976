"""
What it takes to know a caller.
"""

from __future__ import annotations

from attrs import field, frozen
from zope.interface import Interface

from glance_tx.identity.caller import Caller

__all__ = ["Credentials", "IIdentity", "ITokens"]


@frozen
class Credentials:
    """
    What a request brought to prove who sent it. Its text never shows a token.

    :param token: The user's token.
    :param service_token: The token of a service that acts for the user.
    """

    token: str | None = field(default=None, repr=False)
    service_token: str | None = field(default=None, repr=False)


class IIdentity(Interface):
    """
    Tells who holds some credentials.
    """

    async def identify(credentials: Credentials) -> Caller:
        """
        Check credentials.

        :raises NotAuthenticated: There is no token, or it is unknown, malformed, expired or revoked.
        :raises IdentityUnavailable: It cannot be found out now.
        """


class ITokens(Interface):
    """
    Tells what is known of one token.
    """

    async def find(token: str, *, allow_expired: bool = False) -> Caller:
        """
        Look a token up.

        :param allow_expired: Whether a token that has expired, not long ago, still counts: a service vouches that
            it did not when its user's request began.
        :return: Its holder, without ``service_roles``.
        :raises NotAuthenticated: It is unknown, malformed, expired or revoked.
        :raises IdentityUnavailable: It cannot be found out now.
        """
