"""
What every `IIdentity` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import evolve
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from glance_tx.identity.caller import Caller
from glance_tx.identity.errors import NotAuthenticated
from glance_tx.identity.interfaces import Credentials, IIdentity

_Base = TestCase if TYPE_CHECKING else object


class IdentityContract(_Base):
    """
    The contract. A subclass says whom its identity knows.
    """

    def make_identity(self) -> IIdentity:
        """
        Make the identity to test.
        """
        raise NotImplementedError

    def known(self) -> Sequence[tuple[Credentials, Caller]]:
        """
        Credentials that are good, and whose they are.
        """
        raise NotImplementedError

    def unknown(self) -> Sequence[Credentials]:
        """
        Credentials that are not. Their tokens contain ``secret``.
        """
        raise NotImplementedError

    def test_interface(self) -> None:
        """
        It provides the interface.
        """
        verifyObject(IIdentity, self.make_identity())

    async def test_known(self) -> None:
        """
        Good credentials give their holder, every time, in any order.
        """
        identity = self.make_identity()
        for credentials, caller in [*self.known(), *reversed(self.known())]:
            self.assertEqual(await identity.identify(credentials), caller)

    async def test_service_token_alone_changes_nothing(self) -> None:
        """
        A service's token, good or bad, neither changes what the user's token is worth nor spoils it. Whoever it is
        of is told apart.
        """
        identity = self.make_identity()
        for credentials, caller in self.known():
            for service_token in ("no-such-token", credentials.token):
                both = Credentials(credentials.token, service_token)
                self.assertEqual(evolve(await identity.identify(both), service_roles=()), caller)

    async def test_unknown(self) -> None:
        """
        Other credentials are refused, without repeating them.
        """
        identity = self.make_identity()
        for credentials in self.unknown():
            with self.assertRaises(NotAuthenticated) as caught:
                await identity.identify(credentials)
            self.assertNotIn("secret", f"{caught.exception} {caught.exception!r}")
