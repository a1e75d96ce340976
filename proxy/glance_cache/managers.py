"""
Who may manage a node.
"""

from __future__ import annotations

from glance_cache.errors import ManagementForbidden
from glance_tx.identity.caller import Caller
from glance_tx.identity.interfaces import IIdentity
from glance_tx.policy.interfaces import IPolicy
from glance_tx.web.callers import Callers
from glance_tx.web.request import Request

__all__ = ["Managers"]


class Managers:
    """
    Who may manage this node: by its own strategy, and never by what the upstream thinks of a caller.

    :param identity: ``None`` where the operator chose no strategy; nobody may then.
    """

    def __init__(self, identity: IIdentity | None, policy: IPolicy) -> None:
        self._callers = None if identity is None else Callers(identity)
        self._policy = policy

    async def identify(self, request: Request) -> Caller:
        """
        Tell who is calling.

        :raises ManagementForbidden: Nobody may manage this node.
        :raises NotAuthenticated: There is no valid token.
        """
        if self._callers is None:
            raise ManagementForbidden("this node has no [auth] strategy, so nobody can manage it")
        return await self._callers.of(request)

    async def require(self, request: Request, rule: str) -> None:
        """
        Insist on a policy rule for whoever is calling.

        :raises ManagementForbidden: It fails, or nobody may manage this node.
        :raises NotAuthenticated: There is no valid token.
        """
        self.insist(rule, await self.identify(request))

    def insist(self, rule: str, caller: Caller) -> None:
        """
        Insist on a policy rule.

        :raises ManagementForbidden: It fails.
        """
        if not self._policy.allows(rule, caller, {}):
            raise ManagementForbidden(f"policy does not allow {rule}")
