"""
The node's own credentials, for images that it fetches on its own account.
"""

from __future__ import annotations

from zope.interface import implementer

from glance_cache.interfaces import IOwnCredentials, UpstreamCredentials
from glance_tx.identity.keystone.own import OwnToken

__all__ = ["FixedCredentials", "KeystoneCredentials"]


@implementer(IOwnCredentials)
class FixedCredentials:
    """
    Credentials that stay as they are.
    """

    def __init__(self, credentials: UpstreamCredentials) -> None:
        self._credentials = credentials

    async def get(self) -> UpstreamCredentials:
        """
        See `IOwnCredentials.get`.
        """
        return self._credentials

    def reject(self, credentials: UpstreamCredentials) -> bool:
        """
        See `IOwnCredentials.reject`. There are no others.
        """
        return False


@implementer(IOwnCredentials)
class KeystoneCredentials:
    """
    The token of an account at a Keystone.
    """

    def __init__(self, token: OwnToken) -> None:
        self._token = token

    async def get(self) -> UpstreamCredentials:
        """
        See `IOwnCredentials.get`.
        """
        return UpstreamCredentials(auth_token=await self._token.get())

    def reject(self, credentials: UpstreamCredentials) -> bool:
        """
        See `IOwnCredentials.reject`.
        """
        if credentials.auth_token is not None:
            self._token.reject(credentials.auth_token)
        return True
