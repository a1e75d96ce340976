"""
Strategies by name.
"""

from __future__ import annotations

from pathlib import Path

from twisted.internet import reactor
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase

from glance_tx.identity.errors import IdentityUnavailable
from glance_tx.identity.interfaces import Credentials, IIdentity
from glance_tx.identity.keystone.identity import KeystoneIdentity
from glance_tx.identity.keystone.options import KeystoneSettings
from glance_tx.identity.none import NoneIdentity
from glance_tx.identity.options import AuthSettings
from glance_tx.identity.strategies import STRATEGIES, challenge, make_strategy
from glance_tx.identity.tokens import TokensIdentity
from glance_tx.settings import Settings, SettingsError


class StrategyTests(TestCase):
    """
    `make_strategy`.
    """

    def make(self, auth: AuthSettings, keystone: KeystoneSettings = KeystoneSettings()) -> IIdentity:  # noqa: B008
        strategy = make_strategy(Settings((auth, keystone)), reactor)
        assert strategy is not None
        self.addCleanup(strategy.stop)
        return strategy.identity

    def test_unset(self) -> None:
        """
        Without a strategy there is no identity, and no default of one.
        """
        self.assertIsNone(make_strategy(Settings((AuthSettings(),)), reactor))

    def test_none(self) -> None:
        """
        ``none`` believes everybody.
        """
        self.assertIsInstance(self.make(AuthSettings(strategy="none")), NoneIdentity)

    def test_tokens(self) -> None:
        """
        ``tokens`` reads its file.
        """
        path = Path(self.mktemp())
        path.write_text("- {token: x, user_id: a, project_id: p, roles: []}")
        self.assertIsInstance(self.make(AuthSettings(strategy="tokens", tokens_file=path)), TokensIdentity)

    def test_readable_tokens(self) -> None:
        """
        A tokens file that others can read is warned of; one that only its owner can read is not.
        """
        path = Path(self.mktemp())
        path.write_text("- {token: x, user_id: a, project_id: p, roles: []}")
        events: list[LogEvent] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        for mode, warnings in ((0o600, 0), (0o640, 1), (0o604, 2)):
            path.chmod(mode)
            self.make(AuthSettings(strategy="tokens", tokens_file=path))
            warned = [event for event in events if "can be read by others" in (formatEvent(event) or "")]
            self.assertEqual(len(warned), warnings)

    def test_unusable(self) -> None:
        """
        ``tokens`` without a file is refused.
        """
        self.assertRaises(SettingsError, self.make, AuthSettings(strategy="tokens"))

    async def test_keystone(self) -> None:
        """
        ``keystone`` asks the service that the operator named.
        """
        keystone = KeystoneSettings(
            auth_url="http://127.0.0.1:1", username="u", password="p", project_name="s", retries=0
        )
        identity = self.make(AuthSettings(strategy="keystone"), keystone)
        self.assertIsInstance(identity, KeystoneIdentity)
        with self.assertRaises(IdentityUnavailable):
            await identity.identify(Credentials("token"))

    def test_insecure(self) -> None:
        """
        That no certificate of Keystone is checked is said at start; where there is none to check it is not.
        """
        for url, said in (("https://k", ["insecure"]), ("http://k", [])):
            keystone = KeystoneSettings(auth_url=url, insecure=True)
            strategy = make_strategy(Settings((AuthSettings(strategy="keystone"), keystone)), reactor)
            assert strategy is not None
            self.assertEqual([problem.option for problem in strategy.warnings], said)

    def test_challenge(self) -> None:
        """
        Who is not known is told where to find Keystone, as clients find it; without one there is no address.
        """
        keystone = KeystoneSettings(auth_url="http://inside:5000")
        for auth, known, text in (
            (AuthSettings(), keystone, "Keystone"),
            (AuthSettings(strategy="none"), keystone, "Keystone"),
            (AuthSettings(strategy="keystone"), keystone, 'Keystone uri="http://inside:5000"'),
            (
                AuthSettings(strategy="keystone"),
                KeystoneSettings(auth_url="http://inside:5000", www_authenticate_uri="https://outside/identity"),
                'Keystone uri="https://outside/identity"',
            ),
        ):
            self.assertEqual(challenge(Settings((auth, known))), text)

    def test_table(self) -> None:
        """
        The table holds the strategies that can be chosen.
        """
        self.assertEqual(set(STRATEGIES), {"keystone", "none", "tokens"})
