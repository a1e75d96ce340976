"""
Strategy ``keystone``.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import TestCase

from glance_tx.identity.caching import RememberedTokens
from glance_tx.identity.caller import Caller
from glance_tx.identity.errors import NotAuthenticated
from glance_tx.identity.interfaces import Credentials, IIdentity
from glance_tx.identity.keystone.identity import KeystoneIdentity
from tests.contracts.identity import IdentityContract
from tests.identity.keystones import NOW, KeystoneTestCase


class KeystoneIdentityTests(IdentityContract, KeystoneTestCase, TestCase):
    """
    `KeystoneIdentity` keeps the contract, with Keystone behind it.
    """

    roles_required = False

    def make_identity(self) -> IIdentity:
        self.alice = self.keystone.issue("alice", "red", "member", "reader")
        self.bob = self.keystone.issue("bob", "blue")
        remembered = RememberedTokens(self.tokens, self.clock, 300, b"key")
        return KeystoneIdentity(remembered, ["service", "Helper"], roles_required=self.roles_required)

    def caller(
        self, user: str, project: str, *roles: str, seconds: float = 3600, service: Sequence[str] = ()
    ) -> Caller:
        return Caller(
            user,
            project,
            roles,
            NOW + seconds,
            user_domain_id="default",
            project_domain_id="default",
            service_roles=service,
        )

    def known(self) -> Sequence[tuple[Credentials, Caller]]:
        return [
            (Credentials(self.alice), self.caller("alice", "red", "member", "reader")),
            (Credentials(self.bob), self.caller("bob", "blue")),
        ]

    def unknown(self) -> Sequence[Credentials]:
        return [
            Credentials(),
            Credentials(""),
            Credentials("secret"),
            Credentials("secret-\udcff"),
            Credentials("secret" * 10_000),
            Credentials(self.alice[:-1]),
            Credentials(f"{self.alice}x"),
            Credentials(None, self.alice),
            Credentials("", self.alice),
            Credentials("secret", self.alice),
        ]

    async def test_service_roles(self) -> None:
        """
        The roles of a service's token are known apart from the user's.
        """
        identity = self.make_identity()
        nova = self.keystone.issue("nova", "service", "Service", "admin")
        found = await identity.identify(Credentials(self.alice, nova))
        self.assertEqual(found, self.caller("alice", "red", "member", "reader", service=("service", "admin")))

    async def test_expired(self) -> None:
        """
        A user's token that has expired counts with a service's that has one of the roles, and with no other.
        """
        identity = self.make_identity()
        old = self.keystone.issue("carol", "red", "member", seconds=-60)
        for role, counts in (("service", True), ("helper", True), ("admin", False)):
            service = self.keystone.issue("nova", "service", role)
            if counts:
                self.assertEqual((await identity.identify(Credentials(old, service))).user_id, "carol")
            else:
                with self.assertRaises(NotAuthenticated):
                    await identity.identify(Credentials(old, service))
        expired = self.keystone.issue("nova", "service", "service", seconds=-1)
        for service_token in (None, expired, old):
            with self.assertRaises(NotAuthenticated):
                await identity.identify(Credentials(old, service_token))

    async def test_asked_once(self) -> None:
        """
        A service's token is validated once, for however many users it comes with.
        """
        identity = self.make_identity()
        nova = self.keystone.issue("nova", "service", "service")
        for token in (self.alice, self.bob, self.alice):
            await identity.identify(Credentials(token, nova))
        self.assertEqual(self.keystone.count("GET"), 3)


class RolesRequiredTests(KeystoneIdentityTests):
    """
    The same, with ``service_token_roles_required``.
    """

    roles_required = True

    async def test_roles_that_do_not_count(self) -> None:
        """
        A service's token without one of the roles counts as none.
        """
        identity = self.make_identity()
        other = self.keystone.issue("nova", "service", "admin")
        found = await identity.identify(Credentials(self.alice, other))
        self.assertEqual(found, self.caller("alice", "red", "member", "reader"))
