"""
Who is calling, found out once for each request.
"""

from __future__ import annotations

from glance_tx.identity.caller import Caller
from glance_tx.identity.interfaces import IIdentity
from glance_tx.web.credentials import credentials_of
from glance_tx.web.request import Request

__all__ = ["Callers"]


class Callers:
    """
    Knows callers by the credentials in their requests, and by nothing else that a request says.
    """

    def __init__(self, identity: IIdentity) -> None:
        self._identity = identity

    async def of(self, request: Request) -> Caller:
        """
        Tell who sent a request, and note the project for the access log.

        :raises NotAuthenticated: There is no valid token.
        :raises BadRequest: The credentials are ambiguous.
        :raises IdentityUnavailable: It cannot be found out now.
        """
        caller = await self._identity.identify(credentials_of(request.requestHeaders))
        request.notes.project_id = caller.project_id
        return caller
