"""
What it takes to know a caller.
"""

from __future__ import annotations

from attrs import field, frozen
from zope.interface import Interface

from glance_tx.identity.caller import Caller

__all__ = ["Credentials", "IIdentity"]


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
