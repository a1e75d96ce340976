"""
No identity at all: everybody is an administrator.
"""

from __future__ import annotations

from typing import Final

from zope.interface import implementer

from glance_tx.identity.caller import Caller
from glance_tx.identity.interfaces import Credentials, IIdentity

__all__ = ["NoneIdentity"]

_ANYBODY: Final = Caller(user_id=None, project_id=None, roles=("admin", "member", "reader"))


@implementer(IIdentity)
class NoneIdentity:
    """
    Believes everybody. The configuration allows it at loopback addresses only.

    The caller has neither user nor project, as in the unauthenticated context of a stock Glance without a flavor: an
    image created so has no owner unless the request names one.
    """

    async def identify(self, credentials: Credentials) -> Caller:
        """
        Take anybody for an administrator, whatever token there is.
        """
        return _ANYBODY
