"""
Who may manage a node, and as whom it reads images itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from attrs import frozen

from glance_cache.interfaces import IOwnCredentials, UpstreamCredentials
from glance_cache.own import FixedCredentials, KeystoneCredentials
from glance_cache.prefetch_options import PrefetchSettings
from glance_tx.identity.keystone.account import Account
from glance_tx.identity.options import AuthSettings
from glance_tx.identity.strategies import Strategy
from glance_tx.settings import Problem, Settings
from glance_tx.settings.watch import Source

__all__ = ["NodeIdentity"]


@frozen
class NodeIdentity:
    """
    Who may manage the node, and as whom it reads images itself.
    """

    strategy: Strategy | None
    account: Account | None

    def warnings(self) -> Iterator[Problem]:
        """
        Say what an operator may not have meant.
        """
        if self.strategy is not None:
            yield from self.strategy.warnings
        if self.account is not None:
            yield from self.account.warnings()

    def watched(self) -> Sequence[Source[Any]]:
        """
        List the files that are read again when they change.
        """
        return () if self.strategy is None else self.strategy.watched

    async def stop(self) -> None:
        """
        Let go of what it was asked with.
        """
        if self.strategy is not None:
            await self.strategy.stop()
        if self.account is not None:
            await self.account.stop()

    def own_credentials(self, settings: Settings) -> IOwnCredentials | None:
        """
        Tell in whose name the node itself reads images; ``None`` where it has none.
        """
        if self.account is not None:
            return KeystoneCredentials(self.account.token)
        token = settings[PrefetchSettings].token
        # Where nobody has to prove who he is, neither has this node.
        if token is None and settings[AuthSettings].strategy != "none":
            return None
        return FixedCredentials(UpstreamCredentials(auth_token=token))
