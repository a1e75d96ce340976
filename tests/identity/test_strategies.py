"""
Strategies by name.
"""

from __future__ import annotations

from pathlib import Path

from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from glance_tx.identity.none import NoneIdentity
from glance_tx.identity.options import AuthSettings
from glance_tx.identity.strategies import STRATEGIES, make_identity
from glance_tx.identity.tokens import TokensIdentity
from glance_tx.settings import SettingsError


class StrategyTests(SynchronousTestCase):
    """
    `make_identity`.
    """

    def test_unset(self) -> None:
        """
        Without a strategy there is no identity, and no default of one.
        """
        self.assertIsNone(make_identity(AuthSettings()))

    def test_none(self) -> None:
        """
        ``none`` believes everybody.
        """
        self.assertIsInstance(make_identity(AuthSettings(strategy="none")), NoneIdentity)

    def test_tokens(self) -> None:
        """
        ``tokens`` reads its file.
        """
        path = Path(self.mktemp())
        path.write_text("- {token: x, user_id: a, project_id: p, roles: []}")
        self.assertIsInstance(make_identity(AuthSettings(strategy="tokens", tokens_file=path)), TokensIdentity)

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
            make_identity(AuthSettings(strategy="tokens", tokens_file=path))
            warned = [event for event in events if "can be read by others" in (formatEvent(event) or "")]
            self.assertEqual(len(warned), warnings)

    def test_unusable(self) -> None:
        """
        ``tokens`` without a file, and ``keystone``, are refused.
        """
        self.assertRaises(SettingsError, make_identity, AuthSettings(strategy="tokens"))
        error = self.assertRaises(SettingsError, make_identity, AuthSettings(strategy="keystone"))
        self.assertEqual(str(error), "[auth] strategy: keystone is not supported yet")

    def test_table(self) -> None:
        """
        The table holds the strategies that can be used.
        """
        self.assertEqual(set(STRATEGIES), {"none", "tokens"})
