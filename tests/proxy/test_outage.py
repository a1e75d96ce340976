"""
Tests of what a node knows by itself while nobody can be asked.
"""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from glance_cache.interfaces import UpstreamCredentials
from glance_cache.outage import TokenExpiry, Uptime
from glance_tx.identity.caller import Caller
from glance_tx.identity.errors import IdentityUnavailable
from glance_tx.identity.interfaces import Credentials, IIdentity


@implementer(IIdentity)
class Identity:
    """
    Knows what a test says.
    """

    expires_at: float | None = None
    failure: Exception | None = None

    def __init__(self) -> None:
        self.asked: list[Credentials] = []

    async def identify(self, credentials: Credentials) -> Caller:
        self.asked.append(credentials)
        if self.failure is not None:
            raise self.failure
        return Caller("u", "p", ("member",), self.expires_at)


class TokenExpiryTests(SynchronousTestCase):
    """
    `TokenExpiry` tells what the node's own strategy knows.
    """

    def setUp(self) -> None:
        self.identity = Identity()
        self.expiry = TokenExpiry(self.identity, lambda: 1000.0)

    def left(self, credentials: UpstreamCredentials) -> float | None:
        return self.successResultOf(Deferred.fromCoroutine(self.expiry.seconds_left(credentials)))

    def test_seconds_left(self) -> None:
        """
        What is left of a token is told, from now on; nothing for one that has no end.
        """
        alice = UpstreamCredentials(auth_token="alice", service_token="nova")
        self.assertIsNone(self.left(alice))
        self.identity.expires_at = 1100.0
        self.assertEqual(self.left(alice), 100.0)
        self.assertEqual(self.identity.asked, [Credentials("alice", "nova")] * 2)

    def test_storage_token(self) -> None:
        """
        The other name of a token counts where the first is not there.
        """
        self.left(UpstreamCredentials(storage_token="alice"))
        self.assertEqual(self.identity.asked, [Credentials("alice", None)])

    def test_unavailable(self) -> None:
        """
        That it cannot be found out now is said.
        """
        self.identity.failure = IdentityUnavailable("away")
        asking = Deferred.fromCoroutine(self.expiry.seconds_left(UpstreamCredentials(auth_token="alice")))
        self.failureResultOf(asking, IdentityUnavailable)


class UptimeTests(SynchronousTestCase):
    """
    `Uptime` is that of the machine.
    """

    def test_of_the_machine(self) -> None:
        """
        It is what the system says.
        """
        before = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
        now = Uptime().seconds()
        after = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
        self.assertTrue(before <= now <= after + 0.01, (before, now, after))
